// The types of features, and how their values come in (JSON), lie in the database (a slot of one of a row's three
// arrays) and go out (JSON). Names are Feast's, in lower case.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::features {

enum class ValueType {
  kBytes,
  kString,
  kInt32,
  kInt64,
  kDouble,
  kFloat,
  kBool,
  kUnixTimestamp,  // seconds since 1970
  kUuid,
  kJson,  // any JSON, maps too
  kBytesList,
  kStringList,
  kInt32List,
  kInt64List,
  kDoubleList,
  kFloatList,
  kBoolList,
  kUnixTimestampList,
  kVector,  // a list of floats, all of the feature's length and finite
};

// Which array of the row holds it; lists and JSON are texts.
enum class Slots { kDoubles, kIntegers, kTexts };

std::string_view type_name(ValueType type);
// Of any case. Throws Error(kInvalidParameterValue) for an unknown one, with those that there are.
ValueType value_type(std::string_view name);
Slots slots_of(ValueType type);
std::string_view slots_name(Slots slots);
std::vector<std::string_view> type_names();

// A value as its slot holds it; nothing for null. The type is one of those slots. Throws Error(kInvalidParameterValue)
// that says what was expected, without saying where.
std::optional<double> slot_double(ValueType type, simdjson::dom::element value);
std::optional<int64_t> slot_integer(ValueType type, simdjson::dom::element value);
std::optional<std::string> slot_text(ValueType type, simdjson::dom::element value);

// Likewise, as an element of PostgreSQL's text form of an array; NULL for null.
std::string array_element(ValueType type, simdjson::dom::element value);

// Likewise, of a field of CSV, or of the binary form that PostgreSQL has for the type: float4 and float8, int2, int4
// and int8, bool, uuid; bytea for bytes; text (JSON where it is a list) for the rest.
std::string array_element_of_text(ValueType type, std::string_view text);
std::string array_element_of_binary(ValueType type, std::string_view bytes);

// Text as an element of PostgreSQL's text form of an array.
std::string quoted_element(std::string_view text);

// Whether a join key can be of the type of that name.
bool is_key_type(std::string_view name);

// Appends the JSON of what lies in a slot.
void append_json_of_double(std::string& out, ValueType type, double value);
void append_json_of_integer(std::string& out, ValueType type, int64_t value);
void append_json_of_text(std::string& out, ValueType type, std::string_view value);

}  // namespace cairn::features
