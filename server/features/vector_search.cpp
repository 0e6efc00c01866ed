#include "features/vector_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"
#include "base/json.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr int64_t kMaxTopK = 10'000;

// $1: view, $2: the vector's slot, $3: the query, $4: how many.
#define CAIRN_NEAREST(operator) \
  "SELECT l.entity_key, l.event_time, l.doubles, l.integers, l.texts,"                                        \
  " (l.texts[$2::bigint::int]::vector " operator " $3::text::vector)::float8 AS distance FROM features.latest l" \
  " JOIN features.feature_views v USING (view_id) WHERE l.view_id = $1::bigint::int"                          \
  " AND l.texts[$2::bigint::int] IS NOT NULL AND (v.ttl = '0' OR l.event_time >= now() - v.ttl)"              \
  " ORDER BY distance, l.entity_key LIMIT $4"
const std::map<std::string, Statement, std::less<>> kNearest = {
    {"cosine", {"nearest_features_cosine", CAIRN_NEAREST("<=>")}},
    {"l2", {"nearest_features_l2", CAIRN_NEAREST("<->")}},
    {"inner_product", {"nearest_features_inner_product", CAIRN_NEAREST("<#>")}}};

// The join keys' values as JSON, from the key as it is stored.
std::vector<std::string> key_values(const FeatureView& view, const std::string& key) {
  const auto quoted = [](const Entity& entity) { return entity.value_type == "string" || entity.value_type == "uuid"; };
  if (view.entities.size() == 1) return {quoted(view.entities[0]) ? json::quote(key) : key};
  std::vector<std::string> values;
  const json::Document document(key);
  for (const auto value : document.root().get_array()) values.push_back(simdjson::minify(value));
  return values;
}

// A column of the answer.
struct Column {
  std::string name;
  std::vector<std::string> values;  // JSON
  std::vector<std::string> times;
};

template <class Values, class Write>
void write_list(json::Writer& out, std::string_view name, const Values& values, Write write) {
  out.key(name);
  out.begin_array();
  for (const auto& value : values) write(value);
  out.end_array();
}

std::string answer_of(const std::vector<Column>& columns) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("metadata");
  out.begin_object();
  write_list(out, "feature_names", columns, [&](const Column& column) { out.string(column.name); });
  out.end_object();
  out.key("results");
  out.begin_array();
  for (const Column& column : columns) {
    out.begin_object();
    write_list(out, "values", column.values, [&](const std::string& value) { out.raw(value); });
    write_list(out, "statuses", column.values,
               [&](const std::string& value) { out.string(value == "null" ? "NULL_VALUE" : "PRESENT"); });
    write_list(out, "event_timestamps", column.times, [&](const std::string& time) { out.string(time); });
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

}  // namespace

VectorSearch vector_search_of(std::vector<Reference> references, simdjson::dom::element query,
                              const std::optional<std::string>& metric, int64_t top_k) {
  VectorSearch search;
  if (references.empty()) throw invalid("name features of a feature view that has a vector");
  const FeatureView* view = references.front().view;
  for (const Reference& reference : references)
    if (reference.view != view) throw invalid("a search is of one feature view");
  for (const Reference& reference : references)
    if (search.vector == nullptr && reference.feature->type == ValueType::kVector) search.vector = reference.feature;
  for (const Feature& feature : view->features)
    if (search.vector == nullptr && feature.type == ValueType::kVector) search.vector = &feature;
  if (search.vector == nullptr) throw invalid("feature view " + view->name + " has no feature of the type vector");
  const auto [vector, length] = std::pair(search.vector->name, search.vector->vector_length);
  array_element(ValueType::kVector, query);  // refuses what is no list of numbers
  simdjson::dom::array numbers;
  if (query.get_array().get(numbers) != simdjson::SUCCESS || std::distance(numbers.begin(), numbers.end()) != length)
    throw invalid(fmt::format("query must be a list of {} numbers, as feature {} has", length, vector));
  search.metric = metric.value_or(search.vector->vector_search_metric);
  // Feast's client says L2 by default, its examples COSINE.
  for (char& c : search.metric) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (!kNearest.contains(search.metric))
    throw invalid("distance_metric must be cosine, l2 or inner_product, not " + search.metric);
  if (top_k < 1 || top_k > kMaxTopK) throw invalid(fmt::format("top_k must be between 1 and {}", kMaxTopK));
  search.query = simdjson::minify(query);
  search.top_k = top_k;
  search.references = std::move(references);
  return search;
}

task<std::string> search_vectors(db::Pool& pool, VectorSearch search) {
  const FeatureView& view = *search.references.front().view;
  std::vector<Column> columns;
  for (const Entity& entity : view.entities) columns.push_back({entity.join_key, {}, {}});
  for (const Reference& reference : search.references) columns.push_back({reference.feature->name, {}, {}});
  columns.push_back({"distance", {}, {}});
  const size_t keys = view.entities.size();
  try {
    Params params = Params::of(int64_t{view.id}, int64_t{search.vector->slot}, search.query, search.top_k);
    const Rows rows = co_await pool.query(kNearest.find(search.metric)->second, std::move(params));
    for (int i = 0; i < rows.size(); ++i) {
      const std::vector<std::string> key = key_values(view, rows.text(i, 0));
      for (size_t k = 0; k < keys; ++k) columns[k].values.push_back(key[k]);
      const StoredValues stored{rows.optional_numbers(i, 2), rows.optional_integers(i, 3), rows.optional_texts(i, 4)};
      for (size_t f = 0; f < search.references.size(); ++f)
        columns[keys + f].values.push_back(stored_json(*search.references[f].feature, stored).value_or("null"));
      std::string distance;
      json::Writer(distance).number(rows.number(i, 5));
      columns.back().values.push_back(distance);
      const std::string time = shown_time(rows.timestamp_us(i, 1));
      for (size_t c = 0; c < columns.size(); ++c) columns[c].times.push_back(c < keys ? "1970-01-01T00:00:00Z" : time);
    }
  } catch (const db::DbError& error) {
    if (error.sqlstate() != "42704" && error.sqlstate() != "42883") throw;
    throw Error(
        ErrorCode::kInvalidState,
        "the database has no extension vector, which a search needs: run CREATE EXTENSION vector as a superuser");
  }
  co_return answer_of(columns);
}

}  // namespace cairn::features
