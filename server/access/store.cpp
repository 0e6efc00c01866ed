#include "access/store.h"

#include "base/error.h"

namespace cairn::access {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

// MLflow's documents of a permission name the object in a field of its kind, those of the others in object_id.
#define CAIRN_PERMISSION_JSON                                                                     \
  "(jsonb_build_object('username', u.username, 'user_id', p.user_id, 'permission', p.permission," \
  " 'object_type', p.object_type, 'object_id', p.object_id) || CASE p.object_type"                \
  " WHEN 'experiment' THEN jsonb_build_object('experiment_id', p.object_id)"                      \
  " WHEN 'registered_model' THEN jsonb_build_object('name', p.object_id) ELSE '{}' END)"
#define CAIRN_PERMISSIONS_OF(kind)                    \
  "(SELECT coalesce(jsonb_agg(" CAIRN_PERMISSION_JSON \
  " ORDER BY object_id), '[]') FROM access.permissions p WHERE p.user_id = u.user_id AND object_type = '" kind "')"
#define CAIRN_USER_JSON \
  "jsonb_build_object('id', u.user_id, 'username', u.username, 'is_admin', u.role = 'admin', 'role', u.role," \
  " 'experiment_permissions', " CAIRN_PERMISSIONS_OF("experiment") ", 'registered_model_permissions', "       \
  CAIRN_PERMISSIONS_OF("registered_model") ", 'collection_permissions', " CAIRN_PERMISSIONS_OF("collection")   \
  ", 'feature_view_permissions', " CAIRN_PERMISSIONS_OF("feature_view") ")"

Error user_not_found(const std::string& name) { return not_found("User with username=" + name + " not found"); }

std::string described(const Grant& grant) {
  return "object_type=" + grant.object_type + ", object_id=" + grant.object_id + " and username=" + grant.username;
}

// Of a statement that touches the one user's row.
task<> change_user(db::Pool& pool, Statement statement, Params params, std::string name) {
  const Rows rows = co_await pool.query(statement, std::move(params));
  if (rows.affected() == 0) throw user_not_found(name);
}

}  // namespace

constexpr Statement kReadUser{"access_read_user",
                              "SELECT " CAIRN_USER_JSON " FROM access.users u WHERE u.username = $1"};

task<std::string> read_user(db::Pool& pool, std::string name) {
  const Rows rows = co_await pool.query(kReadUser, Params::of(name));
  if (rows.empty()) throw user_not_found(name);
  co_return rows.text(0, 0);
}

constexpr Statement kCreateUser{"access_create_user",
                                "INSERT INTO access.users (username, password_hash, role) VALUES ($1, $2, $3)"};

task<std::string> create_user(db::Pool& pool, std::string name, std::string hash, std::string role) {
  bool exists = false;
  try {
    co_await pool.query(kCreateUser, Params::of(name, hash, role));
  } catch (const db::DbError& error) {
    if (!error.is_unique_violation()) throw;
    exists = true;
  }
  if (exists) throw Error(ErrorCode::kResourceAlreadyExists, "User (username=" + name + ") already exists.");
  co_return co_await read_user(pool, name);
}

constexpr Statement kListUsers{"access_list_users", "SELECT coalesce(jsonb_agg(" CAIRN_USER_JSON
                                                    " ORDER BY u.username), '[]') FROM access.users u"};

task<std::string> list_users(db::Pool& pool) {
  const Rows rows = co_await pool.query(kListUsers);
  co_return rows.text(0, 0);
}

constexpr Statement kSetPassword{"access_set_password",
                                 "UPDATE access.users SET password_hash = $2 WHERE username = $1"};
constexpr Statement kSetRole{"access_set_role", "UPDATE access.users SET role = $2 WHERE username = $1"};
constexpr Statement kSetAdmin{"access_set_admin",
                              "UPDATE access.users SET role = CASE WHEN $2 THEN 'admin' WHEN role = 'admin' THEN"
                              " 'writer' ELSE role END WHERE username = $1"};
constexpr Statement kDeleteUser{"access_delete_user", "DELETE FROM access.users WHERE username = $1"};

task<> set_password(db::Pool& pool, std::string name, std::string hash) {
  return change_user(pool, kSetPassword, Params::of(name, hash), name);
}
task<> set_role(db::Pool& pool, std::string name, std::string role) {
  return change_user(pool, kSetRole, Params::of(name, role), name);
}
task<> set_admin(db::Pool& pool, std::string name, bool is_admin) {
  return change_user(pool, kSetAdmin, Params::of(name, is_admin), name);
}
task<> delete_user(db::Pool& pool, std::string name) { return change_user(pool, kDeleteUser, Params::of(name), name); }

// -- permissions -------------------------------------------------------------------------------------------------

constexpr Statement kUserAndObject{
    "access_user_and_object",
    "SELECT EXISTS (SELECT FROM access.users WHERE username = $1), CASE $2"
    " WHEN 'experiment' THEN EXISTS (SELECT FROM tracking.experiments WHERE experiment_id::text = $3)"
    " WHEN 'registered_model' THEN EXISTS (SELECT FROM registry.models WHERE model_name = $3)"
    " WHEN 'collection' THEN EXISTS (SELECT FROM search.collections WHERE name = $3)"
    " WHEN 'feature_view' THEN EXISTS (SELECT FROM features.feature_views WHERE name = $3) END"};
constexpr Statement kPutPermission{
    "access_put_permission",
    "INSERT INTO access.permissions AS p (user_id, object_type, object_id, permission)"
    " SELECT user_id, $2, $3, $4 FROM access.users WHERE username = $1 ON CONFLICT (user_id, object_type, object_id)"
    " DO UPDATE SET permission = excluded.permission WHERE $5"};
constexpr Statement kReadPermission{"access_read_permission",
                                    "SELECT " CAIRN_PERMISSION_JSON
                                    " FROM access.permissions p JOIN access.users u USING (user_id)"
                                    " WHERE u.username = $1 AND p.object_type = $2 AND p.object_id = $3"};

task<std::string> read_permission(db::Pool& pool, Grant grant) {
  const Rows rows =
      co_await pool.query(kReadPermission, Params::of(grant.username, grant.object_type, grant.object_id));
  if (rows.empty()) throw not_found("Permission with " + described(grant) + " not found");
  co_return rows.text(0, 0);
}

namespace {

// Whether it was written: not where there is one already and `replace` is false.
task<bool> write_permission(db::Pool& pool, Grant grant, std::string permission, bool replace) {
  const Rows known =
      co_await pool.query(kUserAndObject, Params::of(grant.username, grant.object_type, grant.object_id));
  if (!known.boolean(0, 0)) throw user_not_found(grant.username);
  if (known.is_null(0, 1))
    throw invalid("object_type is experiment, registered_model, collection or feature_view, not '" + grant.object_type +
                  "'");
  if (!known.boolean(0, 1)) throw not_found("There is no " + grant.object_type + " '" + grant.object_id + "'");
  const Rows written = co_await pool.query(
      kPutPermission, Params::of(grant.username, grant.object_type, grant.object_id, permission, replace));
  co_return written.affected() > 0;
}

}  // namespace

task<std::string> create_permission(db::Pool& pool, Grant grant, std::string permission) {
  const bool written = co_await write_permission(pool, grant, permission, false);
  if (!written)
    throw Error(ErrorCode::kResourceAlreadyExists, "Permission with " + described(grant) + " already exists");
  co_return co_await read_permission(pool, grant);
}

task<> put_permission(db::Pool& pool, Grant grant, std::string permission) {
  co_await write_permission(pool, grant, permission, true);
}

constexpr Statement kEffective{
    "access_effective_permission",
    "SELECT CASE WHEN u.role = 'admin' THEN 'MANAGE' ELSE coalesce(p.permission, CASE u.role WHEN 'reader' THEN 'READ'"
    " ELSE 'MANAGE' END) END FROM access.users u LEFT JOIN access.permissions p ON p.user_id = u.user_id"
    " AND p.object_type = $2 AND p.object_id = $3 WHERE u.username = $1"};

task<std::string> effective_permission(db::Pool& pool, Grant grant) {
  const Rows rows = co_await pool.query(kEffective, Params::of(grant.username, grant.object_type, grant.object_id));
  if (rows.empty()) throw user_not_found(grant.username);
  co_return rows.text(0, 0);
}

constexpr Statement kUpdatePermission{
    "access_update_permission",
    "UPDATE access.permissions p SET permission = $4 FROM access.users u WHERE u.user_id = p.user_id"
    " AND u.username = $1 AND p.object_type = $2 AND p.object_id = $3"};
constexpr Statement kDeletePermission{
    "access_delete_permission",
    "DELETE FROM access.permissions p USING access.users u WHERE u.user_id = p.user_id"
    " AND u.username = $1 AND p.object_type = $2 AND p.object_id = $3"};

task<> update_permission(db::Pool& pool, Grant grant, std::string permission) {
  const Rows rows = co_await pool.query(kUpdatePermission,
                                        Params::of(grant.username, grant.object_type, grant.object_id, permission));
  if (rows.affected() == 0) throw not_found("Permission with " + described(grant) + " not found");
}

task<> delete_permission(db::Pool& pool, Grant grant) {
  const Rows rows =
      co_await pool.query(kDeletePermission, Params::of(grant.username, grant.object_type, grant.object_id));
  if (rows.affected() == 0) throw not_found("Permission with " + described(grant) + " not found");
}

constexpr Statement kListPermissions{
    "access_list_permissions",
    "SELECT coalesce(jsonb_agg(" CAIRN_PERMISSION_JSON
    " ORDER BY u.username, p.object_type, p.object_id), '[]')"
    " FROM access.permissions p JOIN access.users u USING (user_id) WHERE ($1::text IS NULL OR u.username = $1)"
    " AND ($2::text IS NULL OR p.object_type = $2) AND ($3::text IS NULL OR p.object_id = $3)"};

task<std::string> list_permissions(db::Pool& pool, std::optional<std::string> username,
                                   std::optional<std::string> object_type, std::optional<std::string> object_id) {
  const Rows rows = co_await pool.query(kListPermissions, Params::of(username, object_type, object_id));
  co_return rows.text(0, 0);
}

}  // namespace cairn::access
