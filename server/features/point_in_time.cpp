#include "features/point_in_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_set>

#include "base/error.h"
#include "db/statement.h"

namespace cairn::features {
namespace {

using db::quote_identifier;

size_t column_of(const TrainingSetQuery& query, const std::string& name) {
  const auto found = std::ranges::find(query.columns, name, &SpineColumn::name);
  if (found == query.columns.end())
    throw invalid("the spine has no column " + name + ": it is a join key of the features");
  return static_cast<size_t>(found - query.columns.begin()) + 1;
}

// The entity's key as values.h's entity_keys() makes it.
std::string key_sql(const TrainingSetQuery& query, const FeatureView& view) {
  std::vector<std::string> parts;
  for (const Entity& entity : view.entities) {
    const size_t column = column_of(query, entity.join_key);
    const bool text = entity.value_type == "string" || entity.value_type == "uuid";
    const std::string& type = query.columns[column - 1].type;
    if (!text && type != "smallint" && type != "integer" && type != "bigint" && type != "text" &&
        !type.starts_with("character varying"))
      throw invalid(fmt::format("the spine's column {} is {}, and the join key is {}: cast it to bigint",
                                entity.join_key, type, entity.value_type));
    // Digits have one form: " 07" is 7.
    parts.push_back(text ? fmt::format("columns[{}]", column) : fmt::format("columns[{}]::int8::text", column));
    if (view.entities.size() > 1 && text) parts.back() = fmt::format("to_json({})::text", parts.back());
  }
  if (parts.size() == 1) return parts.front();
  return fmt::format("'[' || {} || ']'", fmt::join(parts, " || ',' || "));
}

std::string value_sql(const Feature& feature, size_t view) {
  const std::string slot = fmt::format("v{}.{}[{}]", view, slots_name(slots_of(feature.type)), feature.slot);
  switch (feature.type) {
    case ValueType::kBool:
      return fmt::format("({} <> 0)", slot);
    case ValueType::kInt32:
      return slot + "::int4";
    case ValueType::kUuid:
      return slot + "::uuid";
    default:
      return feature.type >= ValueType::kJson && feature.type <= ValueType::kVector ? slot + "::json" : slot;
  }
}

std::string conditions_of(const TrainingSetQuery& query, const FeatureView& view) {
  // A subquery without references to a row is computed once.
  std::string conditions;
  if (query.known_by)
    conditions += fmt::format(" AND h.created <= (SELECT current_setting('{}')::timestamptz)", kKnownBySetting);
  if (query.snapshot)
    conditions += fmt::format(" AND pg_visible_in_snapshot(h.written, (SELECT current_setting('{}')::pg_snapshot))",
                              kSnapshotSetting);
  if (!query.late_too) conditions += " AND h.created <= s.at";
  if (view.ttl_s > 0) conditions += fmt::format(" AND h.event_time >= s.at - make_interval(secs => {})", view.ttl_s);
  return conditions;
}

// The same, of times that are after, in and before the months apart. Over the months alone PostgreSQL reads partition
// after partition from the newest on and ends at the first row; where the default partition may hold rows of any time,
// it looks into every partition first.
std::string event_by_months(const TrainingSetQuery& query, const FeatureView& view, const std::string& key) {
  const std::string id = std::to_string(view.id), conditions = conditions_of(query, view);
  if (!query.months) return event_at_time(id, key, "s.at", conditions);
  const Months& months = *query.months;
  const auto part = [&](const std::string& range) { return event_at_time(id, key, "s.at", conditions + range); };
  const std::string in =
      fmt::format(" AND h.event_time >= timestamptz '{}' AND h.event_time < timestamptz '{}'", months.from, months.to);
  if (months.are_all) return part(in);
  const std::string after = fmt::format(" AND h.event_time >= timestamptz '{}'", months.to);
  const std::string before = fmt::format(" AND h.event_time < timestamptz '{}'", months.from);
  return fmt::format(
      "SELECT u.* FROM (({}) UNION ALL ({}) UNION ALL ({})) u ORDER BY u.event_time DESC, u.created DESC LIMIT 1",
      part(after), part(in), part(before));
}

}  // namespace

std::string event_at_time(const std::string& view, const std::string& key, const std::string& at,
                          const std::string& conditions) {
  return fmt::format(
      "SELECT h.event_time, h.created, h.doubles, h.integers, h.texts FROM features.history h WHERE h.view_id = {}"
      " AND h.entity_key = {} AND h.event_time <= {}{} ORDER BY h.event_time DESC, h.created DESC LIMIT 1",
      view, key, at, conditions);
}

std::vector<const FeatureView*> views_of(const std::vector<Reference>& references) {
  std::vector<const FeatureView*> views;
  for (const Reference& reference : references)
    if (std::ranges::find(views, reference.view) == views.end()) views.push_back(reference.view);
  return views;
}

std::vector<std::string> result_names(std::vector<std::string> given, const std::vector<Reference>& references,
                                      bool full_names) {
  for (const Reference& reference : references)
    given.push_back(full_names ? reference.view->name + "__" + reference.feature->name : reference.feature->name);
  std::unordered_set<std::string_view> seen;
  for (const std::string& name : given)
    if (!seen.insert(name).second)
      throw invalid("the feature name " + name + " is there more than once: ask for full_feature_names");
  return given;
}

std::string check_keys_sql(const TrainingSetQuery& query, const std::string& spine) {
  std::vector<std::string> counts;
  for (const FeatureView* view : views_of(query.references)) counts.push_back("count(" + key_sql(query, *view) + ")");
  return fmt::format("SELECT {} FROM {}", fmt::join(counts, ", "), spine);
}

namespace {

// The staged rows s, and of each view the event that counts, v0, v1, ….
std::string from_sql(const TrainingSetQuery& query, const std::string& spine) {
  const std::vector<const FeatureView*> views = views_of(query.references);
  // In order already where it is joined: an outer sort would be of the wide rows.
  std::string sql = " FROM (SELECT number, at, columns";
  for (size_t v = 0; v < views.size(); ++v) sql += fmt::format(", {} AS k{}", key_sql(query, *views[v]), v);
  sql += " FROM " + spine + " ORDER BY number) s";
  for (size_t v = 0; v < views.size(); ++v)
    sql += fmt::format(" LEFT JOIN LATERAL ({}) v{} ON true",
                       event_by_months(query, *views[v], fmt::format("s.k{}", v)), v);
  return sql + " ORDER BY s.number";
}

size_t view_of(const std::vector<const FeatureView*>& views, const Reference& reference) {
  return static_cast<size_t>(std::ranges::find(views, reference.view) - views.begin());
}

// The slots of one kind of one view that are asked for.
struct AskedSlots {
  std::vector<int> slots;
  size_t array = 0;
  bool whole = false;
};

}  // namespace

std::string training_table_sql(const TrainingSetQuery& query, const std::string& spine) {
  std::string sql = "SELECT ";
  for (size_t i = 0; i < query.columns.size(); ++i)
    sql += fmt::format("{}s.columns[{}]::{} AS {}", i > 0 ? ", " : "", i + 1, query.columns[i].type,
                       quote_identifier(query.names[i]));
  const std::vector<const FeatureView*> views = views_of(query.references);
  for (size_t i = 0; i < query.references.size(); ++i) {
    const Reference& reference = query.references[i];
    sql += fmt::format(", {} AS {}", value_sql(*reference.feature, view_of(views, reference)),
                       quote_identifier(query.names[query.columns.size() + i]));
  }
  return sql + from_sql(query, spine);
}

PackedSet packed_set_sql(const TrainingSetQuery& query, const std::string& spine) {
  const std::vector<const FeatureView*> views = views_of(query.references);
  std::map<std::pair<size_t, Slots>, AskedSlots> asked;
  for (const Reference& reference : query.references)
    asked[{view_of(views, reference), slots_of(reference.feature->type)}].slots.push_back(reference.feature->slot);
  PackedSet packed;
  packed.sql = "SELECT s.columns";
  for (auto& [of, some] : asked) {
    const auto& [view, kind] = of;
    const std::string name = fmt::format("v{}.{}", view, slots_name(kind));
    some.array = ++packed.arrays;
    // A large row is stored apart, and read anew for each element that is named: once is better where most are.
    some.whole = 2 * some.slots.size() >= static_cast<size_t>(views[view]->slot_counts[static_cast<size_t>(kind)]);
    if (some.whole) {
      packed.sql += ", " + name;
      continue;
    }
    std::vector<std::string> elements;
    for (const int slot : some.slots) elements.push_back(fmt::format("{}[{}]", name, slot));
    packed.sql += fmt::format(", ARRAY[{}]", fmt::join(elements, ", "));
  }
  std::map<std::pair<size_t, Slots>, size_t> passed;
  for (const Reference& reference : query.references) {
    const std::pair of{view_of(views, reference), slots_of(reference.feature->type)};
    const AskedSlots& some = asked[of];
    packed.places.push_back({some.array, some.whole ? static_cast<size_t>(reference.feature->slot) : ++passed[of]});
  }
  packed.sql += from_sql(query, spine);
  return packed;
}

}  // namespace cairn::features
