// Users and permissions as they are kept. Documents are JSON that PostgreSQL has built.
#pragma once

#include <optional>
#include <string>

#include "db/pool.h"

namespace cairn::access {

// A user's document, as in {"user": …}. All throw Error(kResourceDoesNotExist) for a user that is not there.
task<std::string> create_user(db::Pool& pool, std::string name, std::string hash, std::string role);
task<std::string> read_user(db::Pool& pool, std::string name);
task<std::string> list_users(db::Pool& pool);
task<> set_password(db::Pool& pool, std::string name, std::string hash);
task<> set_role(db::Pool& pool, std::string name, std::string role);
// An admin becomes a writer, anybody an admin.
task<> set_admin(db::Pool& pool, std::string name, bool is_admin);
task<> delete_user(db::Pool& pool, std::string name);

// What a permission is for: a kind of object, and its name there (an experiment's id).
struct Grant {
  std::string username;
  std::string object_type;
  std::string object_id;
};
// Throws Error(kResourceDoesNotExist) where there is no such object, kResourceAlreadyExists where there is one already.
task<std::string> create_permission(db::Pool& pool, Grant grant, std::string permission);
task<std::string> read_permission(db::Pool& pool, Grant grant);
task<> update_permission(db::Pool& pool, Grant grant, std::string permission);
// Whether there is one or not.
task<> put_permission(db::Pool& pool, Grant grant, std::string permission);
// The user's own, or else what their role allows: READ or MANAGE.
task<std::string> effective_permission(db::Pool& pool, Grant grant);
task<> delete_permission(db::Pool& pool, Grant grant);
// Of a user, of an object, or all: an array.
task<std::string> list_permissions(db::Pool& pool, std::optional<std::string> username,
                                   std::optional<std::string> object_type, std::optional<std::string> object_id);

}  // namespace cairn::access
