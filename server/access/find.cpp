#include "access/find.h"

#include <charconv>

#include "base/error.h"
#include "http/mlflow.h"

namespace cairn::access {
namespace {

using db::Params;
using db::Statement;

// "05" is the experiment 5 to its handler, too.
std::string canonical(const std::string& text) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() ? std::to_string(id) : text;
}

void add(std::vector<std::string>& values, std::optional<std::string> value) {
  if (value && !value->empty()) values.push_back(std::move(*value));
}

// The part of "view:feature", or "view@latest:feature", that names the view.
std::string view_of(const std::string& feature) {
  const std::string view = feature.substr(0, feature.find(':'));
  return view.substr(0, view.find('@'));
}

// The model of models:/NAME/VERSION and models:/NAME@ALIAS. A name holds no slash, but may hold an @.
std::vector<std::string> model_of_source(const std::string& source) {
  constexpr std::string_view kScheme = "models:";
  if (!source.starts_with(kScheme)) return {};
  std::string name = source.substr(std::min(source.find_first_not_of('/', kScheme.size()), source.size()));
  const size_t slash = name.find('/');
  return {name.substr(0, slash == name.npos ? name.rfind('@') : slash)};
}

std::vector<std::string> declared_views(const json::Fields& fields) {
  std::vector<std::string> names;
  const auto given = fields.find("feature_views");
  simdjson::dom::array items;
  if (!given || given->get(items)) return names;
  for (const auto item : items) {
    std::string_view name;
    if (item.get(name) && item["name"].get(name)) continue;
    names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> named(const Rule& rule, const json::Fields& fields) {
  std::vector<std::string> values;
  switch (rule.find) {
    case Find::kRun:
      add(values, fields.string("run_id"));
      add(values, fields.string("run_uuid"));
      break;
    case Find::kNames:
    case Find::kRuns:
      values = fields.strings(rule.field);
      break;
    case Find::kFeatures:
      for (const std::string& feature : fields.strings("features")) values.push_back(view_of(feature));
      // A service, told from the views by what none of these has.
      if (const auto service = fields.string("feature_service")) values.push_back(":" + *service);
      break;
    case Find::kViews:
      values = declared_views(fields);
      break;
    case Find::kCreates:
      if (rule.kind == Kind::kView) return declared_views(fields);
      if (rule.kind != Kind::kExperiment) add(values, fields.string(rule.field));
      break;
    case Find::kSource:
      values = model_of_source(fields.string(rule.field).value_or(""));
      break;
    case Find::kArtifact:
      // No path is the root; no URI is none.
      values.push_back(fields.string(rule.field).value_or(""));
      if (rule.field != "path" && !values[0].starts_with("mlflow-artifacts:")) values.clear();
      break;
    default:
      add(values, fields.string(rule.field));
  }
  return values;
}

constexpr Statement kExperimentsByName{"access_experiments_by_name",
                                       "SELECT coalesce(array_agg(experiment_id::text), '{}') FROM tracking.experiments"
                                       " WHERE name = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kExperimentsOfRuns{
    "access_experiments_of_runs",
    "SELECT coalesce(array_agg(DISTINCT experiment_id::text), '{}') FROM tracking.training_runs"
    " WHERE run_id = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kExperimentsOfLoggedModels{
    "access_experiments_of_logged_models",
    "SELECT coalesce(array_agg(DISTINCT experiment_id::text), '{}') FROM tracking.logged_models"
    " WHERE model_id = ANY((SELECT $1::text[])::text[])"};
// The experiments that have their files at the path, above it, or below it: what removes a directory removes all of it.
#define CAIRN_ARTIFACT_PATH(uri) "rtrim(regexp_replace(" uri ", '^mlflow-artifacts:(//[^/]*)?/*', ''), '/')"
constexpr Statement kExperimentsAtPath{
    "access_experiments_at_path",
    "SELECT coalesce(array_agg(DISTINCT e.id), '{}') FROM (SELECT experiment_id::text AS id, " CAIRN_ARTIFACT_PATH(
        "coalesce(nullif(artifact_location, ''), 'mlflow-artifacts:/' || experiment_id)") " AS place"
    " FROM tracking.experiments) e, (SELECT " CAIRN_ARTIFACT_PATH("p") " AS path FROM unnest($1::text[]) p) p"
    " WHERE path = '' OR place = '' OR starts_with(path || '/', place || '/') OR starts_with(place || '/', path || '/')"};
constexpr Statement kViewsOfSources{"access_views_of_sources",
                                    "SELECT coalesce(array_agg(name), '{}') FROM features.feature_views"
                                    " WHERE push_source = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kViewsAndThoseOfServices{
    "access_views_and_those_of_services",
    "SELECT $1::text[] || coalesce(array_agg(DISTINCT v.name), '{}') FROM features.service_features s"
    " JOIN features.view_features f USING (feature_id) JOIN features.feature_views v USING (view_id)"
    " WHERE ':' || s.service = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kModelsOfDeployments{
    "access_models_of_deployments",
    "SELECT coalesce(array_agg(DISTINCT m.model_name), '{}') FROM registry.deployments d JOIN registry.models m"
    " USING (model_id) WHERE d.deployment_id::text = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kModelsOfApprovals{
    "access_models_of_approvals",
    "SELECT coalesce(array_agg(DISTINCT m.model_name), '{}') FROM registry.approvals a JOIN registry.model_versions v"
    " USING (version_id) JOIN registry.models m USING (model_id)"
    " WHERE a.approval_id::text = ANY((SELECT $1::text[])::text[])"};
constexpr Statement kExistingViews{
    "access_existing_views",
    "SELECT coalesce(array_agg(name), '{}') FROM features.feature_views WHERE name = ANY((SELECT $1::text[])::text[])"};

// Null where the values are the objects' names already.
const Statement* statement_of(Find find) {
  switch (find) {
    case Find::kExperimentName:
      return &kExperimentsByName;
    case Find::kRun:
    case Find::kRuns:
      return &kExperimentsOfRuns;
    case Find::kLoggedModel:
      return &kExperimentsOfLoggedModels;
    case Find::kArtifact:
      return &kExperimentsAtPath;
    case Find::kPushSource:
      return &kViewsOfSources;
    case Find::kFeatures:
      return &kViewsAndThoseOfServices;
    case Find::kDeployment:
      return &kModelsOfDeployments;
    case Find::kApproval:
      return &kModelsOfApprovals;
    default:
      return nullptr;
  }
}

}  // namespace

std::vector<std::string> values_of(const Rule& rule, const http::Request& request) {
  std::vector<std::string> values;
  if (rule.field.starts_with('{')) {
    const auto captured = request.captures.find(rule.field.substr(1, rule.field.size() - 2));
    if (captured != request.captures.end()) values.push_back(captured->second);
  } else {
    values = named(rule, *http::Arguments(request));
  }
  const bool by_number = rule.find == Find::kDeployment || rule.find == Find::kApproval ||
                         (rule.kind == Kind::kExperiment && (rule.find == Find::kName || rule.find == Find::kNames));
  if (by_number)
    for (std::string& value : values) value = canonical(value);
  return values;
}

task<std::vector<std::string>> find_objects(db::Pool& pool, const Rule& rule, std::vector<std::string> values) {
  const Statement* statement = statement_of(rule.find);
  if (statement == nullptr || values.empty()) co_return values;
  const db::Rows rows = co_await pool.query(*statement, Params::of(values));
  co_return rows.texts(0, 0);
}

task<std::vector<std::string>> existing_views(db::Pool& pool, std::vector<std::string> names) {
  const db::Rows rows = co_await pool.query(kExistingViews, Params::of(names));
  co_return rows.texts(0, 0);
}

}  // namespace cairn::access
