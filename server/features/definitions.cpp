#include "features/definitions.h"

#include <algorithm>

#include "base/error.h"

namespace cairn::features {
namespace {

using db::Rows;
using db::Statement;
using db::Transaction;

// One statement, so that it is of one moment.
constexpr Statement kRead{
    "feature_definitions",
    "SELECT d.version, (SELECT coalesce(jsonb_agg(jsonb_build_object('id', v.view_id, 'name', v.name, 'ttl_s',"
    " extract(epoch FROM v.ttl)::float8, 'rollup_s', v.rollup_s, 'push_source', v.push_source,"
    " 'entities', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', e.name, 'join_key', e.join_key, 'value_type',"
    " e.value_type) ORDER BY ve.ordinal), '[]') FROM features.view_entities ve JOIN features.entities e ON e.name ="
    " ve.entity WHERE ve.view_id = v.view_id),"
    " 'features', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', f.name, 'value_type', f.value_type, 'slot',"
    " f.slot, 'vector_length', coalesce(f.vector_length, 0), 'vector_search_metric', f.vector_search_metric, "
    "'removed', f.removed) ORDER BY f.ordinal), '[]') FROM "
    "features.view_features f"
    " WHERE f.view_id = v.view_id)) ORDER BY v.view_id), '[]') FROM features.feature_views v),"
    " (SELECT coalesce(jsonb_agg(jsonb_build_array(sf.service, v.name, f.name) ORDER BY sf.service, sf.ordinal), '[]')"
    " FROM features.service_features sf JOIN features.view_features f USING (feature_id)"
    " JOIN features.feature_views v USING (view_id) WHERE NOT f.removed)"
    " FROM features.definitions d"};

std::string text_of(simdjson::dom::element object, std::string_view key) {
  std::string_view text;
  if (object[key].get_string().get(text) != simdjson::SUCCESS) return "";
  return std::string(text);
}

std::shared_ptr<const Definitions> definitions_of(const Rows& rows) {
  auto definitions = std::make_shared<Definitions>();
  definitions->version = rows.integer(0, 0);
  const json::Document views(rows.view(0, 1)), services(rows.view(0, 2));
  for (const auto view : views.root().get_array()) definitions->views.push_back(view_of(view));
  for (const auto entry : services.root().get_array()) {
    const auto part = [&](size_t i) { return std::string(entry.at(i).get_string().value()); };
    definitions->services[part(0)].emplace_back(part(1), part(2));
  }
  return definitions;
}

}  // namespace

FeatureView view_of(simdjson::dom::element object) {
  FeatureView view;
  view.id = static_cast<int32_t>(object["id"].get_int64().value());
  view.name = text_of(object, "name");
  view.ttl_s = object["ttl_s"].get_double().value();
  if (object["rollup_s"].get_int64().get(view.rollup_s) != simdjson::SUCCESS) view.rollup_s = 0;
  if (std::string source = text_of(object, "push_source"); !source.empty()) view.push_source = std::move(source);
  for (const auto entity : object["entities"].get_array())
    view.entities.push_back({text_of(entity, "name"), text_of(entity, "join_key"), text_of(entity, "value_type")});
  for (const auto stored : object["features"].get_array()) {
    const ValueType type = value_type(text_of(stored, "value_type"));
    const int slot = static_cast<int>(stored["slot"].get_int64().value());
    int& count = view.slot_counts[static_cast<size_t>(slots_of(type))];
    count = std::max(count, slot);
    if (stored["removed"].get_bool().value()) continue;
    view.features.push_back({text_of(stored, "name"), type, slot,
                             static_cast<int>(stored["vector_length"].get_int64().value()),
                             text_of(stored, "vector_search_metric")});
    view.by_name.emplace(view.features.back().name, view.features.size() - 1);
  }
  return view;
}

std::string view_json(const FeatureView& view) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("id", int64_t{view.id});
  out.field("name", view.name);
  out.field("ttl_s", view.ttl_s);
  out.key("entities");
  out.begin_array();
  for (const Entity& entity : view.entities) {
    out.begin_object();
    out.field("name", entity.name);
    out.field("join_key", entity.join_key);
    out.field("value_type", entity.value_type);
    out.end_object();
  }
  out.end_array();
  out.key("features");
  out.begin_array();
  for (const Feature& feature : view.features) {
    out.begin_object();
    out.field("name", feature.name);
    out.field("value_type", type_name(feature.type));
    out.field("slot", feature.slot);
    out.field("vector_length", feature.vector_length);
    out.field("removed", false);
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

const Feature* FeatureView::find(std::string_view feature) const {
  const auto found = by_name.find(feature);
  return found == by_name.end() ? nullptr : &features[found->second];
}

const FeatureView* Definitions::find(std::string_view view) const {
  const auto found = std::ranges::find(views, view, &FeatureView::name);
  return found == views.end() ? nullptr : &*found;
}

const FeatureView& require_view(const Definitions& definitions, const std::string& name) {
  const FeatureView* view = definitions.find(name);
  if (view == nullptr) throw not_found("FeatureViewNotFoundException: Feature view " + name + " does not exist");
  return *view;
}

std::vector<Reference> references_of(const Definitions& definitions, const std::vector<std::string>& names) {
  std::vector<Reference> references;
  for (const std::string& name : names) {
    const size_t colon = name.find(':');
    if (colon == std::string::npos || colon == 0)
      throw invalid("'" + name + "' is no feature: write feature_view:feature");
    const std::string view_name = name.substr(0, colon);
    if (const size_t at = view_name.find('@'); at != std::string::npos && view_name.substr(at) != "@latest")
      throw invalid("'" + name + "' names a version of a feature view; only the latest is kept");
    const FeatureView& view = require_view(definitions, view_name.substr(0, view_name.find('@')));
    const Feature* feature = view.find(std::string_view(name).substr(colon + 1));
    if (feature == nullptr)
      throw not_found("FeatureNotFoundException: Feature " + name.substr(colon + 1) +
                      " does not exist in feature view " + view.name);
    references.push_back({&view, feature});
  }
  return references;
}

std::vector<Reference> references_of_service(const Definitions& definitions, const std::string& service) {
  const auto found = definitions.services.find(service);
  if (found == definitions.services.end())
    throw not_found("FeatureServiceNotFoundException: Feature service " + service + " does not exist");
  std::vector<Reference> references;
  for (const auto& [view_name, feature] : found->second) {
    const FeatureView& view = require_view(definitions, view_name);
    references.push_back({&view, view.find(feature)});
  }
  return references;
}

task<std::shared_ptr<const Definitions>> DefinitionStore::read() {
  const Rows rows = co_await pool_.query(kRead);
  definitions_ = definitions_of(rows);
  co_return definitions_;
}

task<std::shared_ptr<const Definitions>> DefinitionStore::read_in(Transaction& transaction) {
  const Rows rows = co_await transaction.query(kRead);
  co_return definitions_of(rows);
}

task<std::shared_ptr<const Definitions>> DefinitionStore::remembered() {
  if (definitions_ == nullptr) co_await read();
  co_return definitions_;
}

constexpr Statement kAll{
    "all_feature_definitions",
    "SELECT jsonb_build_object('entities', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'join_key', "
    "join_key,"
    " 'value_type', value_type, 'description', description, 'tags', tags) ORDER BY name), '[]') FROM "
    "features.entities),"
    " 'feature_views', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', v.name, 'ttl_s', extract(epoch FROM "
    "v.ttl)::float8,"
    " 'rollup_s', coalesce(v.rollup_s, 0), 'push_source', v.push_source, 'description', v.description, 'tags', v.tags,"
    " 'entities', (SELECT jsonb_agg(entity ORDER BY ordinal) FROM features.view_entities e WHERE e.view_id = "
    "v.view_id),"
    " 'features', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', f.name, 'value_type', f.value_type, "
    "'description',"
    " f.description, 'tags', f.tags) || CASE WHEN f.vector_length IS NULL THEN '{}' ELSE"
    " jsonb_build_object('vector_length', f.vector_length, 'vector_search_metric', f.vector_search_metric) END"
    " ORDER BY f.ordinal), '[]') FROM features.view_features f WHERE f.view_id = "
    "v.view_id"
    " AND NOT f.removed)) ORDER BY v.name), '[]') FROM features.feature_views v),"
    " 'feature_services', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'description', s.description, "
    "'tags',"
    " s.tags, 'features', (SELECT coalesce(jsonb_agg(v.name || ':' || f.name ORDER BY sf.ordinal), '[]')"
    " FROM features.service_features sf JOIN features.view_features f USING (feature_id) JOIN features.feature_views v"
    " USING (view_id) WHERE sf.service = s.name AND NOT f.removed)) ORDER BY s.name), '[]') FROM features.services "
    "s))::text"};

task<std::string> DefinitionStore::as_json() {
  const Rows rows = co_await pool_.query(kAll);
  co_return rows.text(0, 0);
}

}  // namespace cairn::features
