#include "features/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <span>

namespace cairn::features {
namespace {

constexpr const char* kNoTime = "1970-01-01T00:00:00Z";
constexpr const char* kStateNames[] = {"NOT_FOUND", "OUTSIDE_MAX_AGE", "PRESENT"};
constexpr const char* kPresent = kStateNames[size_t(FoundState::kPresent)];

using OfView = std::span<const Found>;

// The rows of one of the query's views.
OfView found_of(const FeatureQuery& query, size_t view, const std::vector<Found>& found) {
  const size_t rows = query.views.empty() ? 0 : found.size() / query.views.size();
  return {found.data() + view * rows, rows};
}

const char* state_name(const Found& found) { return kStateNames[static_cast<size_t>(found.state)]; }

// Calls use(value) with the feature's number or text. Whether there is one.
template <class Use>
bool use_stored(const Feature& feature, const StoredValues& stored, Use use) {
  const auto slot = static_cast<size_t>(feature.slot - 1);
  const auto use_of = [&](const auto& values) {
    if (slot >= values.size() || !values[slot]) return false;
    use(*values[slot]);
    return true;
  };
  switch (slots_of(feature.type)) {
    case Slots::kDoubles:
      return use_of(stored.doubles);
    case Slots::kIntegers:
      return use_of(stored.integers);
    case Slots::kTexts:
      return use_of(stored.texts);
  }
  return false;
}

void append_json(std::string& out, ValueType type, double value) { append_json_of_double(out, type, value); }
void append_json(std::string& out, ValueType type, int64_t value) { append_json_of_integer(out, type, value); }
void append_json(std::string& out, ValueType type, std::string_view value) { append_json_of_text(out, type, value); }

bool append_stored(std::string& out, const Feature& feature, const StoredValues& stored) {
  return use_stored(feature, stored, [&](const auto& value) { append_json(out, feature.type, value); });
}

// [a,b,…] of what write_one(i) appends.
template <class Write>
void append_list(std::string& out, const char* before, size_t count, Write write_one) {
  out += before;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    write_one(i);
  }
  out += ']';
}

void append_quoted(std::string& out, std::string_view text) { (out += '"').append(text) += '"'; }

// The values of a given column, as they came.
void append_given(std::string& out, const char* before, const Columns& columns, const std::string& name) {
  auto value = columns.find(name)->second.begin();
  append_list(out, before, row_count(columns), [&](size_t) { out += simdjson::minify(*value), ++value; });
}

// -- Feast's -----------------------------------------------------------------------------------------------------

// What all features of a view say alike: a list of states where each row that was found has a value, and of times.
struct SaidOfView {
  std::string statuses, times;
};

SaidOfView said_of(OfView found) {
  SaidOfView said;
  append_list(said.statuses, R"(,"statuses":[)", found.size(),
              [&](size_t row) { append_quoted(said.statuses, state_name(found[row])); });
  append_list(said.times, R"(,"event_timestamps":[)", found.size(), [&](size_t row) {
    const Found& one = found[row];
    append_quoted(said.times, one.state == FoundState::kNotFound ? kNoTime : shown_time(one.event_us));
  });
  said.times += "},";
  return said;
}

// The values of a feature, and the state of each.
void append_column(std::string& out, const Feature& feature, OfView found, const SaidOfView& said) {
  bool nulls = false;
  const auto is_null = [&](const Found& one) {
    return one.state == FoundState::kPresent && !use_stored(feature, one.values, [](const auto&) {});
  };
  append_list(out, R"({"values":[)", found.size(), [&](size_t row) {
    if (append_stored(out, feature, found[row].values)) return;
    out += "null";
    nulls = nulls || found[row].state == FoundState::kPresent;
  });
  if (nulls)
    append_list(out, R"(,"statuses":[)", found.size(),
                [&](size_t row) { append_quoted(out, is_null(found[row]) ? "NULL_VALUE" : state_name(found[row])); });
  else
    out += said.statuses;
  out += said.times;
}

std::string feast_answer(const FeatureQuery& query, const Columns& columns, const std::vector<Found>& found) {
  const size_t rows = row_count(columns);
  std::string out;
  out.reserve(64 * (rows + 1) * query.names.size());
  append_list(out, R"({"metadata":{"feature_names":[)", query.names.size(),
              [&](size_t i) { out += json::quote(query.names[i]); });
  out += R"(},"results":[)";
  for (const std::string& given : query.given) {
    append_given(out, R"({"values":[)", columns, given);
    append_list(out, R"(,"statuses":[)", rows, [&](size_t) { append_quoted(out, kPresent); });
    append_list(out, R"(,"event_timestamps":[)", rows, [&](size_t) { append_quoted(out, kNoTime); });
    out += "},";
  }
  std::vector<SaidOfView> said;
  for (size_t view = 0; view < query.views.size(); ++view) said.push_back(said_of(found_of(query, view, found)));
  for (size_t i = 0; i < query.references.size(); ++i) {
    const size_t view = query.view_of[i];
    append_column(out, *query.references[i].feature, found_of(query, view, found), said[view]);
  }
  out.back() = ']';
  out += '}';
  return out;
}

// -- columns -----------------------------------------------------------------------------------------------------

std::string columns_answer(const FeatureQuery& query, const Columns& columns, const std::vector<Found>& found) {
  std::string out = R"({"columns":{)";
  for (size_t i = 0; i < query.names.size(); ++i) {
    if (i > 0) out += ',';
    out += json::quote(query.names[i]);
    if (i < query.given.size()) {
      append_given(out, ":[", columns, query.given[i]);
      continue;
    }
    const size_t reference = i - query.given.size();
    const OfView rows = found_of(query, query.view_of[reference], found);
    append_list(out, ":[", rows.size(), [&](size_t row) {
      if (!append_stored(out, *query.references[reference].feature, rows[row].values)) out += "null";
    });
  }
  out += R"(},"views":{)";
  for (size_t v = 0; v < query.views.size(); ++v) {
    if (v > 0) out += ',';
    out += json::quote(query.views[v]->name);
    const OfView rows = found_of(query, v, found);
    append_list(out, R"(:{"statuses":[)", rows.size(), [&](size_t row) { append_quoted(out, state_name(rows[row])); });
    const auto append_where_found = [&](const char* name, auto append) {
      append_list(out, name, rows.size(), [&](size_t row) {
        if (rows[row].state == FoundState::kNotFound)
          out += "null";
        else
          append(rows[row]);
      });
    };
    append_where_found(R"(,"event_timestamps":[)",
                       [&](const Found& one) { append_quoted(out, shown_time(one.event_us)); });
    append_where_found(R"(,"ages_s":[)", [&](const Found& one) {
      fmt::format_to(std::back_inserter(out), "{:.6f}", double(one.age_us) / 1e6);
    });
    out += '}';
  }
  return out + "}}";
}

// -- binary ------------------------------------------------------------------------------------------------------

static_assert(std::endian::native == std::endian::little);

template <class Number>
void put(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint16_t>(text.size()));
  out += text;
}

void pad(std::string& out) { out.resize((out.size() + 7) / 8 * 8); }

// Bytes a value; 0: they differ in length.
uint32_t width_of(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return 1;
    case ValueType::kFloat:
    case ValueType::kInt32:
      return 4;
    case ValueType::kDouble:
    case ValueType::kInt64:
    case ValueType::kUnixTimestamp:
      return 8;
    default:
      return 0;
  }
}

void put_value(std::string& out, ValueType type, double value) {
  if (type == ValueType::kFloat)
    put(out, static_cast<float>(value));
  else
    put(out, value);
}
void put_value(std::string& out, ValueType type, int64_t value) {
  // Little-endian: its lowest bytes are the narrower number.
  out.append(reinterpret_cast<const char*>(&value), width_of(type));
}
void put_value(std::string& out, ValueType, std::string_view value) { out += value; }

void put_column(std::string& out, const Feature& feature, OfView rows) {
  const uint32_t width = width_of(feature.type);
  std::string there(rows.size(), '\0'), values;
  std::vector<uint32_t> ends;
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto put_one = [&](const auto& value) { put_value(values, feature.type, value); };
    there[row] = static_cast<char>(use_stored(feature, rows[row].values, put_one));
    if (there[row] == 0) values.append(width, '\0');
    ends.push_back(static_cast<uint32_t>(values.size()));
  }
  out += there;
  pad(out);
  if (width == 0) {
    for (const uint32_t end : ends) put(out, end);
    pad(out);
  }
  out += values;
  pad(out);
}

std::string binary_answer(const FeatureQuery& query, const Columns& columns, const std::vector<Found>& found) {
  std::string out = "CFC1";
  put(out, static_cast<uint32_t>(row_count(columns)));
  put(out, static_cast<uint32_t>(query.views.size()));
  put(out, static_cast<uint32_t>(query.references.size()));
  for (size_t v = 0; v < query.views.size(); ++v) {
    const OfView rows = found_of(query, v, found);
    put_text(out, query.views[v]->name);
    pad(out);
    for (const Found& one : rows) put(out, one.state == FoundState::kNotFound ? int64_t{0} : one.event_us);
    for (const Found& one : rows) put(out, one.age_us);
    for (const Found& one : rows) put(out, static_cast<uint8_t>(one.state));
    pad(out);
  }
  for (size_t i = 0; i < query.references.size(); ++i) {
    const Feature& feature = *query.references[i].feature;
    put_text(out, query.names[query.given.size() + i]);
    put_text(out, type_name(feature.type));
    put(out, static_cast<uint32_t>(query.view_of[i]));
    pad(out);
    put_column(out, feature, found_of(query, query.view_of[i], found));
  }
  return out;
}

}  // namespace

std::optional<std::string> stored_json(const Feature& feature, const StoredValues& stored) {
  std::string text;
  if (!append_stored(text, feature, stored)) return std::nullopt;
  return text;
}

std::string shown_time(int64_t micros) {
  const int64_t second = micros >= 0 ? micros / 1000000 : -((-micros + 999999) / 1000000);
  const int64_t rest = micros - second * 1000000;
  const time_t whole = second;
  std::tm parts{};
  gmtime_r(&whole, &parts);
  char text[40];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string shown(text, length);
  if (rest % 1000 != 0)
    shown += fmt::format(".{:06}", rest);
  else if (rest != 0)
    shown += fmt::format(".{:03}", rest / 1000);
  return shown + "Z";
}

FeatureQuery::FeatureQuery(std::shared_ptr<const Definitions> all, std::vector<Reference> asked,
                           std::vector<std::string> columns, bool full_names)
    : definitions(std::move(all)),
      references(std::move(asked)),
      given(std::move(columns)),
      views(views_of(references)),
      names(result_names(given, references, full_names)) {
  for (const auto& [view, feature] : references)
    view_of.push_back(static_cast<size_t>(std::ranges::find(views, view) - views.begin()));
}

std::string answer_of(AnswerForm form, const FeatureQuery& query, const Columns& columns,
                      const std::vector<Found>& found) {
  switch (form) {
    case AnswerForm::kFeast:
      return feast_answer(query, columns, found);
    case AnswerForm::kColumns:
      return columns_answer(query, columns, found);
    case AnswerForm::kBinary:
      return binary_answer(query, columns, found);
  }
  return {};
}

}  // namespace cairn::features
