// Reads the arguments, checks that the caller may, calls the store, and has the directory look.
#include "access/api.h"
#include "access/store.h"
#include "base/error.h"
#include "base/reactor.h"
#include "http/json_routes.h"
#include "http/mlflow.h"

namespace cairn::access {
namespace {

using http::Arguments;
using http::Request;

std::string wrap(std::string_view name, const std::string& document) {
  return "{\"" + std::string(name) + "\":" + document + "}";
}

// -- users ---------------------------------------------------------------------------------------------------------

constexpr size_t kMaxName = 255, kMaxPassword = 1024;

// Of an admin, or of the user itself.
void check_self(const Directory& directory, const Request& request, const std::string& username) {
  if (request.user != username && directory.caller(request).role != http::Role::kAdmin)
    throw Error(ErrorCode::kPermissionDenied, "Only admins may ask for another user than themselves");
}

task<std::string> hash_of(const Arguments& arguments) {
  std::string password = arguments->required_string("password");
  if (password.empty() || password.size() > kMaxPassword)
    throw invalid("A password has 1 to " + std::to_string(kMaxPassword) + " bytes.");
  auto work = [password = std::move(password)] { return http::hash_password(password); };
  auto hashing = offload(std::move(work));
  co_return co_await hashing;
}

task<std::string> on_create_user(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("username");
  // The name and the password are joined by a colon in a request's header.
  if (name.empty() || name.size() > kMaxName || name.find(':') != name.npos)
    throw invalid("A username has 1 to " + std::to_string(kMaxName) + " bytes, and no colon.");
  const std::string role = arguments->string("role").value_or("writer");
  role_of(role);
  if (directory.is_configured(name))
    throw Error(ErrorCode::kResourceAlreadyExists, "User (username=" + name + ") is in the credentials file already.");
  const std::string hash = co_await hash_of(arguments);
  const std::string user = co_await create_user(directory.pool(), name, hash, role);
  co_await directory.refresh();
  co_return wrap("user", user);
}

task<std::string> on_get_user(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("username");
  check_self(directory, request, name);
  co_return wrap("user", co_await read_user(directory.pool(), name));
}

task<std::string> on_list_users(Directory& directory, Request&) {
  co_return wrap("users", co_await list_users(directory.pool()));
}

task<std::string> on_update_password(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("username");
  check_self(directory, request, name);
  const std::string hash = co_await hash_of(arguments);
  co_await set_password(directory.pool(), name, hash);
  co_await directory.refresh();
  co_return "{}";
}

task<std::string> on_update_admin(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const std::string name = arguments->required_string("username");
  const auto is_admin = arguments->boolean("is_admin");
  if (!is_admin) throw invalid("Missing value for required parameter 'is_admin'.");
  co_await set_admin(directory.pool(), name, *is_admin);
  co_await directory.refresh();
  co_return "{}";
}

task<std::string> on_update_role(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const std::string name = request.captures.find("name")->second;
  const std::string role = arguments->required_string("role");
  role_of(role);
  co_await set_role(directory.pool(), name, role);
  co_await directory.refresh();
  co_return wrap("user", co_await read_user(directory.pool(), name));
}

task<std::string> on_delete_user(Directory& directory, Request& request) {
  const Arguments arguments(request);
  co_await delete_user(directory.pool(), arguments->required_string("username"));
  co_await directory.refresh();
  co_return "{}";
}

// -- permissions ---------------------------------------------------------------------------------------------------

// Admins may, and who manages the object.
void check_manages(const Directory& directory, const Request& request, const std::string& object_type,
                   const std::string& object_id) {
  const http::Caller caller = directory.caller(request);
  if (caller.role == http::Role::kAdmin) return;
  if (caller.account) {
    const auto kind = caller.account->permissions.find(object_type);
    if (kind != caller.account->permissions.end() && kind->second.find(object_id) == http::Permission::kManage) return;
  }
  throw Error(ErrorCode::kPermissionDenied, "Who may do what with " + object_type + " '" + object_id +
                                                "' is for admins and for those who have MANAGE on it");
}

// The two kinds that MLflow knows, as its routes name them.
struct Kind {
  const char* route;
  const char* object_type;
  const char* field;
  const char* answer;
};
constexpr Kind kExperiment{"/mlflow/experiments", "experiment", "experiment_id", "experiment_permission"};
constexpr Kind kModel{"/mlflow/registered-models", "registered_model", "name", "registered_model_permission"};

Grant grant_of(const Arguments& arguments, const Kind& kind) {
  return {arguments->required_string("username"), kind.object_type, arguments->required_string(kind.field)};
}

// As MLflow's later clients ask, of objects of every kind.
Grant resource_of(const Arguments& arguments) {
  return {arguments->required_string("username"), arguments->required_string("resource_type"),
          arguments->required_string("resource_id")};
}

std::string permission_argument(const Arguments& arguments) {
  std::string permission = arguments->required_string("permission");
  if (permission == "DENY") permission = "NO_PERMISSIONS";  // its later name
  permission_of(permission);
  return permission;
}

template <const Kind& kind>
task<std::string> on_create_permission(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = grant_of(arguments, kind);
  const std::string permission = permission_argument(arguments);
  check_manages(directory, request, grant.object_type, grant.object_id);
  const std::string made = co_await create_permission(directory.pool(), grant, permission);
  co_await directory.refresh();
  co_return wrap(kind.answer, made);
}

template <const Kind& kind>
task<std::string> on_get_permission(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = grant_of(arguments, kind);
  if (request.user != grant.username) check_manages(directory, request, grant.object_type, grant.object_id);
  co_return wrap(kind.answer, co_await read_permission(directory.pool(), grant));
}

template <const Kind& kind>
task<std::string> on_update_permission(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = grant_of(arguments, kind);
  const std::string permission = permission_argument(arguments);
  check_manages(directory, request, grant.object_type, grant.object_id);
  co_await update_permission(directory.pool(), grant, permission);
  co_await directory.refresh();
  co_return "{}";
}

template <const Kind& kind>
task<std::string> on_delete_permission(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = grant_of(arguments, kind);
  check_manages(directory, request, grant.object_type, grant.object_id);
  co_await delete_permission(directory.pool(), grant);
  co_await directory.refresh();
  co_return "{}";
}

task<std::string> on_grant(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = resource_of(arguments);
  const std::string permission = permission_argument(arguments);
  check_manages(directory, request, grant.object_type, grant.object_id);
  co_await put_permission(directory.pool(), grant, permission);
  co_await directory.refresh();
  co_return "{}";
}

task<std::string> on_revoke(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = resource_of(arguments);
  check_manages(directory, request, grant.object_type, grant.object_id);
  co_await delete_permission(directory.pool(), grant);
  co_await directory.refresh();
  co_return "{}";
}

// What a request of the user would meet: their own permission, or else their role's.
task<std::string> on_get_effective(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const Grant grant = resource_of(arguments);
  if (request.user != grant.username) check_manages(directory, request, grant.object_type, grant.object_id);
  const std::string permission = co_await effective_permission(directory.pool(), grant);
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("allowed", permission != "NO_PERMISSIONS");
  out.field("permission", permission);
  out.end_object();
  co_return text;
}

task<std::string> on_list_permissions(Directory& directory, Request& request) {
  const Arguments arguments(request);
  const auto username = arguments->string("username");
  const auto type = arguments->string("object_type"), id = arguments->string("object_id");
  const bool own = username && *username == request.user;
  if (!own) check_manages(directory, request, type.value_or(""), id.value_or(""));
  co_return wrap("permissions", co_await list_permissions(directory.pool(), username, type, id));
}

using JsonRoute = http::JsonRoute<Directory>;

constexpr JsonRoute kUserRoutes[] = {
    {"POST", "/mlflow/users/create", on_create_user},
    {"GET", "/mlflow/users/get", on_get_user},
    {"GET", "/mlflow/users/list", on_list_users},
    {"PATCH", "/mlflow/users/update-password", on_update_password},
    {"PATCH", "/mlflow/users/update-admin", on_update_admin},
    {"DELETE", "/mlflow/users/delete", on_delete_user},
};

constexpr JsonRoute kOwnRoutes[] = {
    {"GET", "/api/v1/access/users", on_list_users},
    {"PATCH", "/api/v1/access/users/{name}", on_update_role},
    {"GET", "/api/v1/access/permissions", on_list_permissions},
};

constexpr JsonRoute kResourceRoutes[] = {
    {"POST", "/mlflow/users/permissions/grant", on_grant},
    {"POST", "/mlflow/users/permissions/revoke", on_revoke},
    {"GET", "/mlflow/users/permissions/get", on_get_effective},
};

template <const Kind& kind>
void add_permission_routes(http::Router& router, Directory& directory) {
  const JsonRoute routes[] = {
      {"POST", "/permissions/create", on_create_permission<kind>},
      {"GET", "/permissions/get", on_get_permission<kind>},
      {"PATCH", "/permissions/update", on_update_permission<kind>},
      {"DELETE", "/permissions/delete", on_delete_permission<kind>},
  };
  for (const JsonRoute& route : routes)
    http::add_mlflow_route(router, route.method, std::string(kind.route) + route.path, route.handler(directory));
}

}  // namespace

void register_routes(http::Router& router, Directory& directory) {
  for (const JsonRoute& route : kUserRoutes)
    http::add_mlflow_route(router, route.method, route.path, route.handler(directory));
  for (const JsonRoute& route : kResourceRoutes)
    http::add_mlflow_route(router, route.method, route.path, route.handler(directory), {}, "3.0");
  for (const JsonRoute& route : kOwnRoutes) router.add(route.method, route.path, route.handler(directory));
  add_permission_routes<kExperiment>(router, directory);
  add_permission_routes<kModel>(router, directory);
}

}  // namespace cairn::access
