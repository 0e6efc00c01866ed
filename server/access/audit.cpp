#include <algorithm>

#include "access/api.h"
#include "access/find.h"
#include "base/error.h"
#include "base/json.h"

namespace cairn::access {
namespace {

// The registry's, in the transaction that makes the change.
constexpr std::string_view kOwnEvents[] = {
    "/mlflow/registered-models/", "/mlflow/model-versions/", "/api/v1/models/",
    "/api/v1/environments",       "/api/v1/deployments",     "/api/v1/approvals"};

std::string type_of(const Rule& rule) {
  switch (rule.find) {
    case Find::kRun:
      return "run";
    case Find::kLoggedModel:
      return "logged_model";
    case Find::kArtifact:
      return "artifact";
    case Find::kPushSource:
      return "push_source";
    default:
      return std::string(object_type(rule.kind));
  }
}

std::vector<std::string> names_of(const Rule& rule, const http::Request& request, const http::Response& response) {
  if (rule.find != Find::kCreates || rule.kind != Kind::kExperiment) return values_of(rule, request);
  const json::Document document(response.body);
  return {json::root_fields(document).required_string(rule.field)};
}

// Users and permissions: whom they are about.
std::string username_of(const http::Request& request) {
  const auto name = request.captures.find("name");
  if (name != request.captures.end()) return name->second;
  const json::Document document(request.body);
  return json::root_fields(document).string("username").value_or("");
}

}  // namespace

bool writes_own_events(std::string_view pattern) {
  if (pattern.find("/permissions/") != pattern.npos) return false;
  return std::ranges::any_of(kOwnEvents, [&](std::string_view own) { return pattern.find(own) != pattern.npos; });
}

std::pair<std::string, std::string> changed_object(const http::Route& route, const http::Request& request,
                                                   const http::Response& response) {
  try {
    if (route.pattern.find("/mlflow/users/") != route.pattern.npos ||
        route.pattern.find("/permissions/") != route.pattern.npos ||
        route.pattern.find("/access/users") != route.pattern.npos)
      return {"user", username_of(request)};
    for (const Rule& rule : rules_of(route.method, route.pattern)) {
      if (rule.kind == Kind::kNone) continue;
      std::string names;
      for (const std::string& name : names_of(rule, request, response)) names += (names.empty() ? "" : ", ") + name;
      if (!names.empty()) return {type_of(rule), names};
    }
  } catch (const Error&) {
    // Its handler has understood it in another way.
  }
  return {"route", route.pattern};
}

}  // namespace cairn::access
