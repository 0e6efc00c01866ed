// MLflow's routes of the registry: reads the arguments, checks them, calls the store.
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "registry/api.h"
#include "registry/deployment_http.h"
#include "registry/search.h"
#include "registry/store.h"
#include "registry/validate.h"

namespace cairn::registry {
namespace {

using http::Arguments;
using http::Request;

Caller caller_of(const Request& request) { return {request.user, request.request_id}; }
std::string wrap(const char* name, const std::string& document) {
  return document.empty() ? "{}" : "{\"" + std::string(name) + "\":" + document + "}";
}
std::string as_model(const std::string& document) { return wrap("registered_model", document); }
std::string as_version(const std::string& document) { return wrap("model_version", document); }

VersionKey version_key(const Arguments& arguments) {
  VersionKey key{arguments->required_string("name"), arguments->required_string("version")};
  check_version(key.version);
  return key;
}

std::vector<Tag> tags_of(const Arguments& arguments, size_t max_value) {
  std::vector<Tag> tags;
  for (const json::Fields& fields : arguments->objects("tags")) {
    tags.push_back({fields.required_string("key"), fields.string("value").value_or("")});
    check_tag(tags.back(), max_value);
  }
  return tags;
}

std::string description_of(const Arguments& arguments) {
  std::string description = arguments->string("description").value_or("");
  check_description(description);
  return description;
}

Tag tag_of(const Arguments& arguments, size_t max_value) {
  Tag tag{arguments->required_string("key"), arguments->string("value").value_or("")};
  check_tag(tag, max_value);
  return tag;
}

task<std::string> on_create_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("name");
  check_model_name(name);
  const Caller caller = caller_of(request);
  co_return as_model(
      co_await create_model(pool, caller, name, description_of(arguments), tags_of(arguments, kMaxModelTagValue)));
}

task<std::string> on_get_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return as_model(co_await read_model(pool, arguments->required_string("name")));
}

task<std::string> on_update_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  co_return as_model(co_await update_model(pool, caller, name, description_of(arguments)));
}

task<std::string> on_rename_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  const std::string new_name = arguments->required_string("new_name");
  check_model_name(new_name);
  co_return as_model(co_await rename_model(pool, caller, name, new_name));
}

task<std::string> on_delete_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  co_await delete_model(pool, caller, arguments->required_string("name"));
  co_return "{}";
}

task<std::string> on_set_model_tag(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  const Tag tag = tag_of(arguments, kMaxModelTagValue);
  co_await set_model_tag(pool, caller, name, tag.key, tag.value);
  co_return "{}";
}

task<std::string> on_delete_model_tag(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  co_await set_model_tag(pool, caller, name, arguments->required_string("key"), std::nullopt);
  co_return "{}";
}

task<std::string> on_latest_versions(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("name");
  std::vector<std::string> stages = arguments->strings("stages");
  for (std::string& stage : stages) stage = check_stage(stage);
  co_return wrap("model_versions", co_await latest_versions(pool, name, stages));
}

task<std::string> on_set_alias(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  const std::string alias = arguments->required_string("alias");
  const VersionKey key = version_key(arguments);
  check_alias(alias);
  co_await set_alias(pool, caller, key, alias);
  co_return "{}";
}

task<std::string> on_delete_alias(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  co_await delete_alias(pool, caller, name, arguments->required_string("alias"));
  co_return "{}";
}

task<std::string> on_get_by_alias(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("name");
  co_return as_version(co_await version_by_alias(pool, name, arguments->required_string("alias")));
}

task<std::string> on_create_version(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  NewVersion version;
  version.name = arguments->required_string("name");
  version.source = arguments->required_string("source");
  version.run_id = arguments->string("run_id").value_or("");
  version.run_link = arguments->string("run_link").value_or("");
  version.description = description_of(arguments);
  version.logged_model_id = arguments->string("model_id").value_or("");
  version.tags = tags_of(arguments, kMaxVersionTagValue);
  co_return as_version(co_await create_version(pool, caller, version));
}

task<std::string> on_get_version(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return as_version(co_await read_version(pool, version_key(arguments)));
}

task<std::string> on_update_version(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const VersionKey key = version_key(arguments);
  co_return as_version(co_await update_version(pool, caller, key, description_of(arguments)));
}

task<std::string> on_transition(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const VersionKey key = version_key(arguments);
  Transition transition{check_stage(arguments->required_string("stage")),
                        arguments->boolean("archive_existing_versions").value_or(false)};
  if (transition.archive_others && transition.stage != "Staging" && transition.stage != "Production")
    throw invalid("Model version transition cannot archive existing model versions because '" + transition.stage +
                  "' is not an Active stage. Valid stages are ['Staging', 'Production']");
  co_return as_version(co_await transition_version(pool, caller, key, transition));
}

task<std::string> on_delete_version(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  co_await delete_version(pool, caller, version_key(arguments));
  co_return "{}";
}

task<std::string> on_set_version_tag(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const VersionKey key = version_key(arguments);
  const Tag tag = tag_of(arguments, kMaxVersionTagValue);
  co_await set_version_tag(pool, caller, key, tag.key, tag.value);
  co_return "{}";
}

task<std::string> on_delete_version_tag(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const VersionKey key = version_key(arguments);
  co_await set_version_tag(pool, caller, key, arguments->required_string("key"), std::nullopt);
  co_return "{}";
}

task<std::string> on_download_uri(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const VersionKey key = version_key(arguments);
  co_return wrap("artifact_uri", json::quote(co_await download_uri(pool, key)));
}

Search search_of(const Arguments& arguments, int64_t default_results, int64_t max_results) {
  Search search;
  search.filter = arguments->string("filter").value_or("");
  search.order_by = arguments->strings("order_by");
  search.max_results = arguments->integer("max_results").value_or(default_results);
  search.page_token = arguments->string("page_token").value_or("");
  if (search.max_results > max_results)
    throw invalid("Invalid value \"" + std::to_string(search.max_results) +
                  "\" for parameter 'max_results' supplied:  Hint: Value was of type 'str'. See the API docs for more "
                  "information about request parameters.");
  return search;
}

task<std::string> on_search_models(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  Search search = search_of(arguments, 100, 1000);
  if (search.max_results < 0) search.max_results = 0;  // MLflow gives an empty page for these
  search.hidden = request.hidden;
  co_return co_await search_models(pool, search);
}

task<std::string> on_search_versions(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  Search search = search_of(arguments, 10000, 200000);
  if (search.max_results < 1)
    throw invalid("Invalid value for max_results. It must be a positive integer, but got " +
                  std::to_string(search.max_results));
  search.hidden = request.hidden;
  co_return co_await search_versions(pool, search);
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"POST", "/registered-models/create", on_create_model},
    {"GET", "/registered-models/get", on_get_model},
    {"PATCH", "/registered-models/update", on_update_model},
    {"POST", "/registered-models/rename", on_rename_model},
    {"DELETE", "/registered-models/delete", on_delete_model},
    {"GET", "/registered-models/search", on_search_models},
    {"POST", "/registered-models/set-tag", on_set_model_tag},
    {"DELETE", "/registered-models/delete-tag", on_delete_model_tag},
    {"POST", "/registered-models/get-latest-versions", on_latest_versions},
    {"GET", "/registered-models/get-latest-versions", on_latest_versions},
    {"POST", "/registered-models/alias", on_set_alias},
    {"DELETE", "/registered-models/alias", on_delete_alias},
    {"GET", "/registered-models/alias", on_get_by_alias},
    {"POST", "/model-versions/create", on_create_version},
    {"GET", "/model-versions/get", on_get_version},
    {"PATCH", "/model-versions/update", on_update_version},
    {"POST", "/model-versions/transition-stage", on_transition},
    {"DELETE", "/model-versions/delete", on_delete_version},
    {"GET", "/model-versions/search", on_search_versions},
    {"POST", "/model-versions/set-tag", on_set_version_tag},
    {"DELETE", "/model-versions/delete-tag", on_delete_version_tag},
    {"GET", "/model-versions/get-download-uri", on_download_uri},
};

}  // namespace

void register_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) {
    http::add_mlflow_route(router, route.method, std::string("/mlflow") + route.path, route.handler(pool));
  }
  register_deployment_routes(router, pool);
}

}  // namespace cairn::registry
