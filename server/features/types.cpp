#include "features/types.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

namespace cairn::features {
namespace {

using simdjson::dom::element;

struct Named {
  ValueType type;
  std::string_view name;
  Slots slots;
  ValueType item;  // of a list; otherwise the type itself
};

using enum ValueType;
constexpr std::array kTypes = {
    Named{kBytes, "bytes", Slots::kTexts, kBytes},
    Named{kString, "string", Slots::kTexts, kString},
    Named{kInt32, "int32", Slots::kIntegers, kInt32},
    Named{kInt64, "int64", Slots::kIntegers, kInt64},
    Named{kDouble, "double", Slots::kDoubles, kDouble},
    Named{kFloat, "float", Slots::kDoubles, kFloat},
    Named{kBool, "bool", Slots::kIntegers, kBool},
    Named{kUnixTimestamp, "unix_timestamp", Slots::kIntegers, kUnixTimestamp},
    Named{kUuid, "uuid", Slots::kTexts, kUuid},
    Named{kJson, "json", Slots::kTexts, kJson},
    Named{kBytesList, "bytes_list", Slots::kTexts, kBytes},
    Named{kStringList, "string_list", Slots::kTexts, kString},
    Named{kInt32List, "int32_list", Slots::kTexts, kInt32},
    Named{kInt64List, "int64_list", Slots::kTexts, kInt64},
    Named{kDoubleList, "double_list", Slots::kTexts, kDouble},
    Named{kFloatList, "float_list", Slots::kTexts, kFloat},
    Named{kBoolList, "bool_list", Slots::kTexts, kBool},
    Named{kUnixTimestampList, "unix_timestamp_list", Slots::kTexts, kUnixTimestamp},
    Named{kVector, "vector", Slots::kTexts, kFloat},
};

const Named& named(ValueType type) { return kTypes[static_cast<size_t>(type)]; }

Error unfit(ValueType type, element value) {
  std::string text = simdjson::minify(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return invalid(std::string(type_name(type)) + " was expected, not " + text);
}

template <class Number>
void append_digits(std::string& out, Number value) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (std::isnan(value)) return void(out += "NaN");
    if (std::isinf(value)) return void(out += value > 0 ? "Infinity" : "-Infinity");
  }
  char text[64];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

template <class Number>
std::string digits(Number value) {
  std::string text;
  append_digits(text, value);
  return text;
}

// The double that a float's shortest decimal form names: 0.1 stays 0.1.
double shortest(float value) {
  if (!std::isfinite(value)) return value;
  char text[64];
  const char* end = std::to_chars(text, text + sizeof text, value).ptr;
  double number = 0;
  std::from_chars(text, end, number);
  return number;
}

bool fits(ValueType type, double number) {
  // What is nearer to the largest float than to what would be the next one: 3.4028235e38, as we write the largest, is a
  // little more than it.
  constexpr double kEndOfFloats = 0x1.ffffffp127;
  return type != kFloat || !std::isfinite(number) || std::abs(number) < kEndOfFloats;
}

bool fits(ValueType type, int64_t number) { return type != kInt32 || (number >= INT32_MIN && number <= INT32_MAX); }

double double_of(ValueType type, element value) {
  double number = 0;
  std::string_view word;
  if (value.get_double().get(number) == simdjson::SUCCESS) {
    if (fits(type, number)) return number;
  } else if (value.get_string().get(word) == simdjson::SUCCESS) {
    if (word == "NaN") return std::nan("");
    if (word == "Infinity" || word == "-Infinity") return word[0] == '-' ? -HUGE_VAL : HUGE_VAL;
  }
  throw unfit(type, value);
}

int64_t integer_of(ValueType type, element value) {
  bool truth = false;
  if (type == kBool) {
    if (value.get_bool().get(truth) == simdjson::SUCCESS) return truth ? 1 : 0;
    throw unfit(type, value);
  }
  int64_t number = 0;
  double whole = 0;
  if (value.get_int64().get(number) != simdjson::SUCCESS) {
    // A column with a gap comes as 3.0.
    if (!value.is_double() || value.get_double().get(whole) != simdjson::SUCCESS || whole != std::trunc(whole) ||
        std::abs(whole) > 0x1p53)
      throw unfit(type, value);
    number = static_cast<int64_t>(whole);
  }
  if (!fits(type, number)) throw unfit(type, value);
  return number;
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

bool is_base64(std::string_view text) {
  size_t padding = 0;
  while (padding < 2 && text.size() > padding && text[text.size() - 1 - padding] == '=') ++padding;
  text.remove_suffix(padding);
  return (text.size() + padding) % 4 == 0 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '/'; });
}

bool fits(ValueType type, std::string_view text) {
  return text.find('\0') == std::string_view::npos && (type != kUuid || is_uuid(text)) &&
         (type != kBytes || is_base64(text));
}

std::string string_of(ValueType type, element value) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS || !fits(type, text)) throw unfit(type, value);
  return std::string(text);
}

// JSON comes as itself or, from Feast's client, as a string that holds it.
std::string json_text_of(element value) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return simdjson::minify(value);
  try {
    const json::Document document(text);
    if (text.find("\\u0000") == std::string_view::npos) return std::string(text);
  } catch (const Error&) {
  }
  throw unfit(kJson, value);
}

void append_scalar(std::string& out, ValueType type, element value) {
  switch (named(type).slots) {
    case Slots::kDoubles:
      return append_json_of_double(out, type, double_of(type, value));
    case Slots::kIntegers:
      return append_json_of_integer(out, type, integer_of(type, value));
    case Slots::kTexts:
      return append_json_of_text(out, type, string_of(type, value));
  }
}

std::string list_json(ValueType type, element value) {
  simdjson::dom::array items;
  if (value.get_array().get(items) != simdjson::SUCCESS) throw unfit(type, value);
  std::string text = "[";
  for (const element item : items) {
    if (type == kVector && item.is_string()) throw unfit(type, value);  // NaN and the infinities
    if (text.size() > 1) text += ',';
    append_scalar(text, named(type).item, item);
  }
  return text + "]";
}

}  // namespace

std::string_view type_name(ValueType type) { return named(type).name; }

Slots slots_of(ValueType type) { return named(type).slots; }

std::string_view slots_name(Slots slots) {
  return slots == Slots::kDoubles ? "doubles" : slots == Slots::kIntegers ? "integers" : "texts";
}

std::vector<std::string_view> type_names() {
  std::vector<std::string_view> names;
  for (const Named& type : kTypes) names.push_back(type.name);
  return names;
}

ValueType value_type(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string all;
  for (const Named& type : kTypes) {
    if (type.name == lower) return type.type;
    all += (all.empty() ? "" : ", ") + std::string(type.name);
  }
  throw invalid("the type '" + std::string(name) + "' is unknown; there are " + all);
}

std::string quoted_element(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::optional<double> slot_double(ValueType type, element value) {
  if (value.is_null()) return std::nullopt;
  const double number = double_of(type, value);
  return type == kFloat ? shortest(static_cast<float>(number)) : number;
}

std::optional<int64_t> slot_integer(ValueType type, element value) {
  if (value.is_null()) return std::nullopt;
  return integer_of(type, value);
}

std::optional<std::string> slot_text(ValueType type, element value) {
  if (value.is_null()) return std::nullopt;
  if (type == kJson) return json_text_of(value);
  return named(type).item != type ? list_json(type, value) : string_of(type, value);
}

std::string array_element(ValueType type, element value) {
  if (value.is_null()) return "NULL";
  switch (named(type).slots) {
    case Slots::kDoubles:
      return digits(*slot_double(type, value));
    case Slots::kIntegers:
      return digits(*slot_integer(type, value));
    case Slots::kTexts:
      break;
  }
  return quoted_element(*slot_text(type, value));
}

namespace {

Error unfit_text(ValueType type, std::string_view text) {
  std::string shown(text.substr(0, 60));
  if (!simdjson::validate_utf8(shown)) shown = std::to_string(text.size()) + " bytes";
  return invalid(std::string(type_name(type)) + " was expected, not " + json::quote(shown));
}

std::string element_of(ValueType type, double number) {
  return type == kFloat ? digits(static_cast<float>(number)) : digits(number);
}

// Any number that the whole text is.
template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<int64_t> integer_of_text(ValueType type, std::string_view text) {
  if (type == kBool) {
    std::string lower(text.substr(0, 8));
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == "true" || lower == "t" || lower == "1") return 1;
    if (lower == "false" || lower == "f" || lower == "0") return 0;
    return std::nullopt;
  }
  if (const auto number = number_of<int64_t>(text)) return number;
  // A column with a gap comes as 3.0.
  const auto whole = number_of<double>(text);
  if (!whole || *whole != std::trunc(*whole) || std::abs(*whole) > 0x1p53) return std::nullopt;
  return static_cast<int64_t>(*whole);
}

// Big-endian, as wide as `bytes` are; nothing where that is no width of an integer.
std::optional<int64_t> big_endian(std::string_view bytes) {
  if (bytes.size() != 1 && bytes.size() != 2 && bytes.size() != 4 && bytes.size() != 8) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  const auto unused = static_cast<int>(64 - 8 * bytes.size());
  return static_cast<int64_t>(value << unused) >> unused;
}

std::string uuid_text(std::string_view bytes) {
  std::string text = to_hex(bytes);
  for (const size_t dash : {8, 13, 18, 23}) text.insert(dash, "-");
  return text;
}

}  // namespace

std::string array_element_of_text(ValueType type, std::string_view text) {
  if (type == kJson || named(type).item != type) {
    try {
      const json::Document document(text);
      return array_element(type, document.root());
    } catch (const Error&) {
      throw unfit_text(type, text);
    }
  }
  switch (named(type).slots) {
    case Slots::kDoubles:
      if (const auto number = number_of<double>(text); number && fits(type, *number)) return element_of(type, *number);
      break;
    case Slots::kIntegers:
      if (const auto number = integer_of_text(type, text); number && fits(type, *number)) return digits(*number);
      break;
    case Slots::kTexts:
      if (fits(type, text)) return quoted_element(text);
      break;
  }
  throw unfit_text(type, text);
}

std::string array_element_of_binary(ValueType type, std::string_view bytes) {
  const auto bits = big_endian(bytes);
  switch (named(type).slots) {
    case Slots::kDoubles: {
      if (bytes.size() != 4 && bytes.size() != 8) break;
      const double number =
          bytes.size() == 8 ? std::bit_cast<double>(*bits) : std::bit_cast<float>(static_cast<uint32_t>(*bits));
      if (fits(type, number)) return element_of(type, number);
      break;
    }
    case Slots::kIntegers:
      if (!bits || (type == kBool) != (bytes.size() == 1) || !fits(type, *bits)) break;
      return digits(type == kBool ? int64_t{*bits != 0} : *bits);
    case Slots::kTexts:
      if (type == kUuid && bytes.size() == 16) return quoted_element(uuid_text(bytes));
      if (type == kBytes) return quoted_element(base64(bytes));
      if (!simdjson::validate_utf8(bytes)) break;
      // jsonb has a version in front.
      if (bytes.starts_with('\1') && type != kString) bytes.remove_prefix(1);
      return array_element_of_text(type, bytes);
  }
  throw invalid(std::string(type_name(type)) + " was expected, not " + std::to_string(bytes.size()) +
                " bytes of another type");
}

bool is_key_type(std::string_view name) {
  return name == "string" || name == "int32" || name == "int64" || name == "uuid";
}

// A whole number has its ".0": Feast's client tells a type by the look of each value, and takes 1 for an integer.
void append_json_of_double(std::string& out, ValueType type, double value) {
  const bool quoted = !std::isfinite(value);
  const size_t begin = out.size();
  if (quoted) out += '"';
  if (type == kFloat)
    append_digits(out, static_cast<float>(value));
  else
    append_digits(out, value);
  if (quoted)
    out += '"';
  else if (out.find_first_of(".e", begin) == out.npos)
    out += ".0";
}

void append_json_of_integer(std::string& out, ValueType type, int64_t value) {
  if (type == kBool)
    out += value != 0 ? "true" : "false";
  else
    append_digits(out, value);
}

void append_json_of_text(std::string& out, ValueType type, std::string_view value) {
  if (named(type).item != type)
    out += value;
  else
    out += json::quote(value);
}

}  // namespace cairn::features
