// The database's users and their permissions, in memory: whoever asks who a caller is asks no database.
//
// What they are is read when access.changes says that it is not what it was: every two seconds, and after each change
// made here. On the reactor's thread.
#pragma once

#include <string>

#include "db/pool.h"
#include "http/auth.h"

namespace cairn::access {

// MLflow's names: NO_PERMISSIONS, READ, EDIT, MANAGE. Throws Error(kInvalidParameterValue) for another one.
http::Permission permission_of(std::string_view name);
http::Role role_of(std::string_view name);

class Directory {
 public:
  // Without an authenticator nothing is read. Both must outlive the directory.
  Directory(db::Pool& pool, http::Authenticator* authenticator) : pool_(pool), authenticator_(authenticator) {}

  // Reads what has changed; logs what goes wrong, and keeps what it has.
  task<> refresh();
  // Without end.
  task<> keep_fresh();
  // Writes that the user manages the object, which it has just made, and knows it at once.
  task<> add_manager(std::shared_ptr<const http::Account> account, std::string object_type, std::string object_id);

  // Who a caller is; where nobody is asked who they are, an admin.
  http::Caller caller(const http::Request& request) const;
  // Of a user that the database knows and the credentials file does not; else null.
  std::shared_ptr<const http::Account> account(const std::string& name) const;
  // Whether the credentials file has this name.
  bool is_configured(const std::string& name) const;

  db::Pool& pool() const { return pool_; }

 private:
  task<> read();

  db::Pool& pool_;
  http::Authenticator* authenticator_;
  http::Accounts accounts_;
  int64_t number_ = 0;  // of access.changes, when it was read
};

}  // namespace cairn::access
