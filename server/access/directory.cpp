#include "access/directory.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"

namespace cairn::access {
namespace {

constexpr std::chrono::seconds kPause{2};

constexpr std::array<std::string_view, 4> kPermissions{"NO_PERMISSIONS", "READ", "EDIT", "MANAGE"};
constexpr std::array<std::string_view, 3> kRoles{"reader", "writer", "admin"};

}  // namespace

http::Permission permission_of(std::string_view name) {
  const auto found = std::ranges::find(kPermissions, name);
  if (found != kPermissions.end()) return http::Permission(found - kPermissions.begin());
  throw invalid("Invalid permission '" + std::string(name) +
                "'. Valid permissions are: ('READ', 'EDIT', 'MANAGE', 'NO_PERMISSIONS')");
}

http::Role role_of(std::string_view name) {
  const auto found = std::ranges::find(kRoles, name);
  if (found != kRoles.end()) return http::Role(found - kRoles.begin());
  throw invalid("Invalid role '" + std::string(name) + "': it is reader, writer or admin");
}

http::Caller Directory::caller(const http::Request& request) const {
  if (authenticator_ == nullptr) return {request.user, http::Role::kAdmin, nullptr};
  const auto known = authenticator_->find(request.user);
  return known ? *known : http::Caller{request.user, http::Role::kReader, nullptr};  // gone since it was let in
}

std::shared_ptr<const http::Account> Directory::account(const std::string& name) const {
  const auto known = accounts_.find(name);
  return known == accounts_.end() || is_configured(name) ? nullptr : known->second;
}

bool Directory::is_configured(const std::string& name) const {
  if (authenticator_ == nullptr) return false;
  const auto known = authenticator_->find(name);
  return known && !known->account;
}

constexpr db::Statement kNumber{"access_number", "SELECT number FROM access.changes"};
constexpr db::Statement kAccounts{
    "access_accounts",
    "SELECT c.number, u.user_id, u.username, u.password_hash, u.role, p.object_type, p.object_id, p.permission"
    " FROM access.changes c LEFT JOIN access.users u ON true LEFT JOIN access.permissions p USING (user_id)"
    " ORDER BY u.user_id"};

task<> Directory::read() {
  const db::Rows rows = co_await pool_.query(kAccounts);
  if (rows.empty() || rows.integer(0, 0) < number_) co_return;  // what was asked later was answered first
  http::Accounts accounts;
  std::shared_ptr<http::Account> account;
  for (int row = 0; row < rows.size(); ++row) {
    if (rows.is_null(row, 1)) continue;
    if (!account || account->id != rows.integer(row, 1)) {
      account = std::make_shared<http::Account>();
      account->id = rows.integer(row, 1);
      account->name = rows.text(row, 2);
      account->argon2_hash = rows.text(row, 3);
      account->role = role_of(rows.view(row, 4));
      accounts[account->name] = account;
    }
    if (!rows.is_null(row, 5))
      account->permissions[rows.text(row, 5)].set(rows.text(row, 6), permission_of(rows.view(row, 7)));
  }
  number_ = rows.integer(0, 0);
  accounts_ = std::move(accounts);
  authenticator_->set_accounts(accounts_);
}

task<> Directory::refresh() {
  if (authenticator_ == nullptr) co_return;
  try {
    const db::Rows rows = co_await pool_.query(kNumber);
    if (!rows.empty() && rows.integer(0, 0) != number_) co_await read();
  } catch (const Error& error) {
    log::warn("the users of the database could not be read: {}", error.what());
  }
}

task<> Directory::keep_fresh() {
  for (;; co_await sleep_for(kPause)) co_await refresh();
}

constexpr db::Statement kAddManager{
    "access_add_manager",
    "INSERT INTO access.permissions (user_id, object_type, object_id, permission) SELECT user_id, $2, $3, 'MANAGE'"
    " FROM access.users WHERE user_id = $1 ON CONFLICT (user_id, object_type, object_id)"
    " DO UPDATE SET permission = 'MANAGE'"};

task<> Directory::add_manager(std::shared_ptr<const http::Account> account, std::string object_type,
                              std::string object_id) {
  co_await pool_.query(kAddManager, db::Params::of(account->id, object_type, object_id));
  const auto known = accounts_.find(account->name);
  if (known == accounts_.end() || known->second->id != account->id) co_return;
  auto more = std::make_shared<http::Account>(*known->second);
  more->permissions[object_type].set(object_id, http::Permission::kManage);
  known->second = std::move(more);
  authenticator_->set_accounts(accounts_);
}

}  // namespace cairn::access
