#include "registry/deployment_http.h"

#include "http/json_routes.h"
#include "http/mlflow.h"
#include "registry/deployment_store.h"
#include "registry/validate.h"

namespace cairn::registry {
namespace {

using http::Arguments;
using http::path_id;
using http::Request;

Caller caller_of(const Request& request) { return {request.user, request.request_id}; }
std::string wrap(const char* name, const std::string& document) {
  return "{\"" + std::string(name) + "\":" + document + "}";
}

VersionKey version_key(const Arguments& arguments) {
  VersionKey key{arguments->required_string("model"), arguments->required_string("version")};
  check_version(key.version);
  return key;
}

Listing listing_of(const Arguments& arguments, const Request& request) {
  Listing listing;
  listing.hidden = request.hidden;
  listing.model = arguments->string("model");
  listing.environment = arguments->string("environment");
  listing.status = arguments->string("status");
  listing.object_type = arguments->string("object_type");
  listing.object_id = arguments->string("object_id");
  listing.actor = arguments->string("actor");
  listing.before = arguments->integer("before");
  listing.limit = arguments->integer("limit").value_or(listing.limit);
  if (listing.limit < 1 || listing.limit > 1000)
    throw invalid("Parameter 'limit' must be between 1 and 1000, got " + std::to_string(listing.limit) + ".");
  return listing;
}

task<std::string> on_patch_model(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const auto required = arguments->boolean("requires_approval");
  if (!required) throw invalid("Missing value for required parameter 'requires_approval'.");
  const std::string name = request.captures.find("name")->second;
  co_return wrap("registered_model", co_await require_approval(pool, caller, name, *required));
}

task<std::string> on_list_environments(db::Pool& pool, Request&) {
  co_return wrap("environments", co_await list_environments(pool));
}

task<std::string> on_create_environment(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string name = arguments->required_string("name");
  check_model_name(name);
  const bool requires_approval = arguments->boolean("requires_approval").value_or(false);
  co_return wrap("environment", co_await create_environment(pool, caller, name, requires_approval));
}

task<std::string> on_list_deployments(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return wrap("deployments", co_await list_deployments(pool, listing_of(arguments, request)));
}

task<std::string> on_get_deployment(db::Pool& pool, Request& request) {
  co_return wrap("deployment", co_await read_deployment(pool, path_id(request)));
}

task<std::string> on_deploy(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  NewDeployment deployment;
  deployment.version = version_key(arguments);
  deployment.environment = arguments->required_string("environment");
  const int64_t replicas = arguments->integer("replicas").value_or(1);
  if (replicas < 0 || replicas > 10000)
    throw invalid("Parameter 'replicas' must be between 0 and 10000, got " + std::to_string(replicas) + ".");
  deployment.replicas = static_cast<int32_t>(replicas);
  if (arguments->object("config")) deployment.config = arguments->raw("config").value_or("{}");
  co_return wrap("deployment", co_await deploy(pool, caller, deployment));
}

task<std::string> on_roll_back(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const std::string model = arguments->required_string("model");
  co_return wrap("deployment", co_await roll_back(pool, caller, model, arguments->required_string("environment")));
}

task<std::string> on_list_approvals(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return wrap("approvals", co_await list_approvals(pool, listing_of(arguments, request)));
}

task<std::string> on_request_approval(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const VersionKey key = version_key(arguments);
  const std::string target = arguments->string("target").value_or("Production");
  const std::string comment = arguments->string("comment").value_or("");
  check_description(comment);
  co_return wrap("approval", co_await request_approval(pool, caller, key, target, comment));
}

template <bool kApprove>
task<std::string> on_decide(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Caller caller = caller_of(request);
  const Decision decision{path_id(request), kApprove, arguments->string("comment").value_or("")};
  check_description(decision.comment);
  co_return wrap("approval", co_await decide_approval(pool, caller, decision));
}

task<std::string> on_list_events(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  co_return wrap("events", co_await list_events(pool, listing_of(arguments, request)));
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"PATCH", "/api/v1/models/{name}", on_patch_model},
    {"GET", "/api/v1/environments", on_list_environments},
    {"POST", "/api/v1/environments", on_create_environment},
    {"GET", "/api/v1/deployments", on_list_deployments},
    {"POST", "/api/v1/deployments", on_deploy},
    {"GET", "/api/v1/deployments/{id}", on_get_deployment},
    {"POST", "/api/v1/deployments/rollback", on_roll_back},
    {"GET", "/api/v1/approvals", on_list_approvals},
    {"POST", "/api/v1/approvals", on_request_approval},
    {"POST", "/api/v1/approvals/{id}/approve", on_decide<true>},
    {"POST", "/api/v1/approvals/{id}/reject", on_decide<false>},
    {"GET", "/api/v1/audit", on_list_events},
};

}  // namespace

void register_deployment_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
}

}  // namespace cairn::registry
