// A request's columns, and rows of a view made of them.
#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "features/values.h"

namespace cairn::features {
namespace {

using simdjson::dom::element;

const simdjson::dom::array& require_column(const FeatureView& view, const Columns& columns, const std::string& name,
                                           const char* what) {
  const auto found = columns.find(name);
  if (found == columns.end())
    throw invalid(fmt::format("feature view {} has the {} {}: there is no such column", view.name, what, name));
  return found->second;
}

// The value as text, and as JSON for keys of several columns.
struct KeyPart {
  std::string text, json;
};

KeyPart key_part(const Entity& entity, element value, size_t row) {
  const auto unfit = [&] {
    return invalid(fmt::format("join key {}: row {} is {}, and {} is expected", entity.join_key, row + 1,
                               simdjson::minify(value), entity.value_type));
  };
  std::string_view text;
  if (entity.value_type == "string" || entity.value_type == "uuid") {
    if (entity.value_type == "string" && value.is_int64()) {
      const std::string digits = simdjson::minify(value);
      return {digits, json::quote(digits)};
    }
    if (value.get_string().get(text) != simdjson::SUCCESS || text.find('\0') != std::string_view::npos) throw unfit();
    return {std::string(text), json::quote(text)};
  }
  try {
    // As Feast's server has it, a number's text is that number.
    std::optional<json::Document> read;
    const bool is_text = value.get_string().get(text) == simdjson::SUCCESS;
    const element number = is_text ? read.emplace(text).root() : value;
    const std::string digits = array_element(value_type(entity.value_type), number);
    if (digits != "NULL") return {digits, digits};
  } catch (const Error&) {
  }
  throw unfit();
}

// PostgreSQL also reads "infinity", which no later event would ever overwrite, and words as "tomorrow".
bool is_moment(std::string_view text) {
  return text.find('\0') == std::string_view::npos && text.find_first_of("0123456789") != std::string_view::npos;
}

void check_length(const Feature& feature, element value) {
  simdjson::dom::array numbers;
  if (feature.type != ValueType::kVector || value.get_array().get(numbers) != simdjson::SUCCESS) return;
  const auto length = static_cast<int>(std::distance(numbers.begin(), numbers.end()));
  if (length != feature.vector_length)
    throw invalid(fmt::format("{} numbers were expected, not {}", feature.vector_length, length));
}

}  // namespace

Columns columns_of(element object) {
  simdjson::dom::object fields;
  if (object.get_object().get(fields) != simdjson::SUCCESS)
    throw invalid("columns are expected: an object with a list of values for each name");
  Columns columns;
  std::optional<size_t> rows;
  for (const auto [name, value] : fields) {
    simdjson::dom::array values;
    // Feast's own protobuf-shaped form {"val": […]} is a list, too.
    if (value.get_array().get(values) != simdjson::SUCCESS && value["val"].get_array().get(values) != simdjson::SUCCESS)
      throw invalid("column " + std::string(name) + " must be a list of values");
    const auto count = static_cast<size_t>(std::distance(values.begin(), values.end()));
    if (rows && *rows != count)
      throw invalid(fmt::format("columns must be of one length: {} has {} values, others have {}", name, count, *rows));
    rows = count;
    columns.insert_or_assign(std::string(name), values);
  }
  return columns;
}

size_t row_count(const Columns& columns) {
  if (columns.empty()) return 0;
  const simdjson::dom::array& values = columns.begin()->second;
  return static_cast<size_t>(std::distance(values.begin(), values.end()));
}

std::vector<std::string> entity_keys(const FeatureView& view, const Columns& columns) {
  std::vector<std::string> keys(row_count(columns));
  const bool single = view.entities.size() == 1;
  for (const Entity& entity : view.entities) {
    size_t row = 0;
    for (const element value : require_column(view, columns, entity.join_key, "join key")) {
      const KeyPart part = key_part(entity, value, row);
      keys[row] += single ? part.text : (keys[row].empty() ? "[" : ",") + part.json;
      ++row;
    }
  }
  if (!single)
    for (std::string& key : keys) key += "]";
  return keys;
}

std::vector<std::optional<std::string>> times_of(const Columns& columns, const char* name, size_t rows) {
  const auto found = columns.find(name);
  if (found == columns.end()) return std::vector<std::optional<std::string>>(rows);
  std::vector<std::optional<std::string>> times;
  for (const element value : found->second) {
    std::string_view text;
    if (value.is_null())
      times.emplace_back();
    else if (value.get_string().get(text) == simdjson::SUCCESS && is_moment(text))
      times.emplace_back(text);
    else
      throw invalid(fmt::format("column {}: row {} is {}, and a time such as \"2026-01-31T12:00:00Z\" is expected",
                                name, times.size() + 1, simdjson::minify(value)));
  }
  return times;
}

GivenRows given_rows(const FeatureView& view, const Columns& columns) {
  GivenRows rows;
  rows.keys = entity_keys(view, columns);
  const size_t count = rows.keys.size();
  rows.event_times = times_of(columns, "event_timestamp", count);
  rows.created = times_of(columns, "created", count);
  const auto slots = [&view](Slots kind) { return static_cast<size_t>(view.slot_counts[static_cast<size_t>(kind)]); };
  StoredValues empty;
  empty.doubles.resize(slots(Slots::kDoubles));
  empty.integers.resize(slots(Slots::kIntegers));
  empty.texts.resize(slots(Slots::kTexts));
  rows.values.assign(count, empty);
  for (const Feature& feature : view.features) {
    const auto slot = static_cast<size_t>(feature.slot - 1);
    size_t row = 0;
    for (const element value : require_column(view, columns, feature.name, "feature")) {
      StoredValues& stored = rows.values[row++];
      try {
        check_length(feature, value);
        switch (slots_of(feature.type)) {
          case Slots::kDoubles:
            stored.doubles[slot] = slot_double(feature.type, value);
            break;
          case Slots::kIntegers:
            stored.integers[slot] = slot_integer(feature.type, value);
            break;
          case Slots::kTexts:
            stored.texts[slot] = slot_text(feature.type, value);
            break;
        }
      } catch (const Error& error) {
        throw invalid(fmt::format("column {}, row {}: {}", feature.name, row, error.what()));
      }
    }
  }
  return rows;
}

}  // namespace cairn::features
