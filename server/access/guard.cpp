#include "access/guard.h"

#include <algorithm>

#include "access/answer.h"
#include "access/find.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace cairn::access {
namespace {

using http::Permission;
using http::Permissions;
using http::Request;
using http::Response;
using http::Role;

// What a role allows with every object.
Permission permission_of_role(Role role) { return role == Role::kReader ? Permission::kRead : Permission::kManage; }

Error denied(const http::Account& account, const Rule& rule) {
  constexpr std::string_view kNames[] = {"nothing", "READ", "EDIT", "MANAGE"};
  std::string what = rule.kind == Kind::kNone ? "this" : "this " + std::string(object_type(rule.kind));
  if (rule.find == Find::kEverything) what = "all that this would show";
  return Error(ErrorCode::kPermissionDenied,
               account.name + " has no permission to " + std::string(kNames[size_t(rule.needs)]) + " " + what);
}

// Names of the objects that may not be read: a role reads all the others.
std::vector<std::string> unreadable(const Permissions& permissions) {
  std::vector<std::string> names;
  for (const auto& [name, permission] : permissions.objects)
    if (permission == Permission::kNone) names.push_back(name);
  return names;
}

bool makes(std::span<const Rule> rules) {
  return std::ranges::any_of(rules, [](const Rule& rule) { return rule.find == Find::kCreates; });
}

// Whether any object of any kind is hidden from the account.
bool something_is_hidden(const http::Account& account) {
  return std::ranges::any_of(account.permissions,
                             [](const auto& kind) { return kind.second.least < Permission::kRead; });
}

const Permissions* find_permissions(const http::Account& account, Kind kind) {
  const auto found = account.permissions.find(object_type(kind));
  return found == account.permissions.end() ? nullptr : &found->second;
}

}  // namespace

ObjectGuard::ObjectGuard(http::Router& router, Directory& directory) : directory_(directory) {
  for (const auto& route : router.routes()) {
    const auto guarded = std::make_shared<Guarded>(Guarded{*route, rules_of(route->method, route->pattern),
                                                           http::required_role(route->method, route->pattern),
                                                           std::move(route->handler)});
    route->handler = [this, guarded](Request& request) { return serve(*guarded, request); };
  }
}

// The account may be another than the one that was let in, while the body was on its way: its role counts here too.
task<Response> ObjectGuard::serve(const Guarded& guarded, Request& request) {
  Account account = directory_.account(request.user);
  if (!account) {
    if (!guarded.route.options.open && !directory_.is_configured(request.user))
      throw Error(ErrorCode::kUnauthenticated, "User " + request.user + " is not there any more");
    return guarded.handler(request);
  }
  const bool plain = account->permissions.empty() || account->role == Role::kAdmin;
  if (plain && account->role < guarded.needed)
    throw Error(ErrorCode::kPermissionDenied, account->name + " may read here, but change nothing");
  if (plain && !makes(guarded.rules)) return guarded.handler(request);
  return checked(guarded, std::move(account), request);
}

task<Response> ObjectGuard::checked(const Guarded& guarded, Account account, Request& request) {
  if (guarded.rules.empty())
    throw Error(ErrorCode::kPermissionDenied,
                "It is not known which objects " + guarded.route.pattern + " is about: ask an admin to call it");
  const bool is_admin = account->role == Role::kAdmin;
  if (!is_admin)
    for (const Rule& rule : guarded.rules) co_await check(rule, guarded, *account, request);
  const Rule& last = guarded.rules.back();
  std::vector<std::string> names;
  if (last.find == Find::kCreates) names = co_await wanted(last, request);
  const Permissions* permissions =
      last.find == Find::kAnswer && !is_admin ? find_permissions(*account, last.kind) : nullptr;
  if (permissions != nullptr) request.hidden = unreadable(*permissions);
  Response response = co_await guarded.handler(request);
  if (response.status >= 300 || response.stream) co_return response;
  if (last.find == Find::kCreates) co_await add_manager(last, account, response, std::move(names));
  if (permissions != nullptr && !request.hidden.empty()) leave_out_unreadable(response.body, last.field, *permissions);
  co_return response;
}

// Does nothing, or throws.
task<> ObjectGuard::check(const Rule& rule, const Guarded& guarded, const http::Account& account,
                          const Request& request) {
  const bool by_role = account.role >= guarded.needed;
  switch (rule.find) {
    case Find::kRole:
    case Find::kAnswer:
      if (!by_role) throw denied(account, rule);
      co_return;
    case Find::kCreates:
      // Of views the rule before has spoken already: one that is there is not made.
      if (!by_role && rule.kind != Kind::kView) throw denied(account, rule);
      co_return;
    case Find::kEverything:
      if (!by_role || something_is_hidden(account)) throw denied(account, rule);
      co_return;
    default:
      break;
  }
  const bool role_allows = permission_of_role(account.role) >= rule.needs;
  const Permissions* permissions = find_permissions(account, rule.kind);
  if (role_allows && (permissions == nullptr || permissions->least >= rule.needs)) co_return;
  if (!role_allows && (permissions == nullptr || permissions->most < rule.needs)) throw denied(account, rule);
  co_await check_objects(rule, account, request);
}

task<> ObjectGuard::check_objects(const Rule& rule, const http::Account& account, const Request& request) {
  if (rule.find == Find::kAll) throw denied(account, rule);
  const bool role_allows = permission_of_role(account.role) >= rule.needs;
  const std::vector<std::string> values = values_of(rule, request);
  const std::vector<std::string> objects = co_await find_objects(directory_.pool(), rule, values);
  for (const std::string& object : objects) {
    const auto permission = find_permissions(account, rule.kind)->find(object);
    if (permission ? *permission < rule.needs : !role_allows) throw denied(account, rule);
  }
  // No view at all means all of them, and files that are of no experiment may be of any.
  const bool unclear = rule.find == Find::kViews ? values.empty() : rule.find == Find::kArtifact && !values.empty();
  if (objects.empty() && (unclear || !role_allows)) throw denied(account, rule);
}

task<std::vector<std::string>> ObjectGuard::wanted(const Rule& rule, const Request& request) {
  std::vector<std::string> names = values_of(rule, request);
  if (rule.kind != Kind::kView || names.empty()) co_return names;
  const std::vector<std::string> there = co_await existing_views(directory_.pool(), names);
  std::erase_if(names, [&](const std::string& name) { return std::ranges::find(there, name) != there.end(); });
  co_return names;
}

task<> ObjectGuard::add_manager(const Rule& rule, Account account, const Response& response,
                                std::vector<std::string> names) {
  try {
    if (rule.kind == Kind::kExperiment) {
      const json::Document document(response.body);
      names.push_back(json::root_fields(document).required_string(rule.field));
    }
    // A dry run makes none.
    if (rule.kind == Kind::kView && !names.empty()) names = co_await existing_views(directory_.pool(), names);
    for (const std::string& name : names)
      co_await directory_.add_manager(account, std::string(object_type(rule.kind)), name);
  } catch (const Error& error) {
    log::warn("{} has made a {} but does not manage it: {}", account->name, object_type(rule.kind), error.what());
  }
}

}  // namespace cairn::access
