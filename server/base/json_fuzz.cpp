// needs: base/error.cpp base/json.cpp
// The JSON readers: whatever the bytes, a document is refused with an Error or read, field by field and nested; what
// was read is written and read back the same. The fields' names are those that the input itself uses.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "base/json.h"

namespace {

using namespace cairn;

constexpr int kMaxDepth = 64;

// The value, or nothing where it is refused.
template <class Read>
auto tried(Read read) -> decltype(read()) {
  try {
    return read();
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue || error.code() == ErrorCode::kBadRequest);
    fuzz::require(std::string_view(error.what()).size() < 4096 &&
                  simdjson::validate_utf8(std::string_view(error.what())));
  }
  return {};
}

template <class Value>
std::string written(std::string_view name, const Value& value) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field(name, value);
  writer.end_object();
  return text;
}

void check_scalars(const json::Fields& fields, const std::string& name) {
  if (const auto text = tried([&] { return fields.string(name); })) {
    fuzz::require(text->find('\0') == text->npos);
    const std::string again = written(name, *text);
    const json::Document document(again);
    fuzz::require(json::root_fields(document).string(name) == *text);
  }
  if (const auto number = tried([&] { return fields.number(name); })) {
    const std::string again = written(name, *number);
    const json::Document document(again);
    const double back = *json::root_fields(document).number(name);
    fuzz::require(std::isnan(*number) ? std::isnan(back)
                                      : std::bit_cast<uint64_t>(back) == std::bit_cast<uint64_t>(*number));
  }
  if (const auto integer = tried([&] { return fields.integer(name); })) {
    const std::string again = written(name, *integer);
    const json::Document document(again);
    fuzz::require(json::root_fields(document).integer(name) == *integer);
  }
  tried([&] { return fields.boolean(name); });
  tried([&] { return fields.strings(name); });
  if (const auto raw = tried([&] { return fields.raw(name); })) json::Document document(*raw);
}

void check_object(const json::Fields& fields, simdjson::dom::object object, int depth) {
  fuzz::require(depth <= kMaxDepth);
  int seen = 0;
  for (const auto [key, value] : object) {
    if (++seen > 32) return;
    const std::string name(key);
    fields.has(name);
    check_scalars(fields, name);
    // Of a name that is there twice the first counts.
    simdjson::dom::element first;
    if (object.at_key(name).get(first)) continue;
    simdjson::dom::object inner;
    if (const auto nested = tried([&] { return fields.object(name); }); nested && !first.get(inner))
      check_object(*nested, inner, depth + 1);
    simdjson::dom::array items;
    const auto listed = tried([&] { return fields.objects(name); });
    if (listed.empty() || first.get(items)) continue;
    fuzz::require(listed.size() == items.size());
    if (!items.at(0).get(inner)) check_object(listed[0], inner, depth + 1);
  }
}

void check_document(std::string_view text) {
  const json::Document document(text);
  fuzz::require(simdjson::validate_utf8(text));
  const json::Fields fields = json::root_fields(document);
  simdjson::dom::object object;
  fuzz::require(!document.root().get(object));
  check_object(fields, object, 1);
}

// As the value of a query's argument.
void check_argument(std::string_view text) {
  const json::Fields::Arguments arguments{{"a", std::string(text)}};
  const json::Fields fields(arguments);
  if (simdjson::validate_utf8(text)) check_scalars(fields, "a");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check_document(text);
  } catch (const Error& error) {
    fuzz::require(http_status(error.code()) == 400);
  }
  check_argument(text);
  const std::string quoted = json::quote(text);
  const json::Document document("[" + quoted + "]");
  return 0;
}
