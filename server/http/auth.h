// Who is calling: a bearer token, or a user and password (Basic), as configured.
//
// Passwords are stored as argon2id hashes. A verified credential is remembered for a minute under a keyed hash
// (HMAC-SHA256 with a key made at start), so that a request does not pay for argon2 again. Comparison is in constant
// time.
//
// A name that the credentials file has is that entry's, whatever the database says of a user of this name.
//
// A guesser is slowed: every failure is answered late, at most two hashes are computed at a time (each takes 19 MiB),
// and a request that finds too many waiting is refused with 429. Requests that bring the same credential share one
// hash.
//
// Threads: reactor only; argon2 itself runs in offload(). The Authenticator must outlive its calls.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/reactor.h"
#include "base/task.h"
#include "http/message.h"

namespace cairn::http {

// What a caller may do: a reader looks, a writer changes, too, and an admin also cares for the database and says who
// may do what.
enum class Role { kReader, kWriter, kAdmin };

// What one may do with an object, each all that those before it allow.
enum class Permission { kNone, kRead, kEdit, kManage };

// Those for objects of one kind, by the object's name.
struct Permissions {
  std::map<std::string, Permission, std::less<>> objects;
  // Bounds of them all.
  Permission least = Permission::kManage;
  Permission most = Permission::kNone;

  void set(std::string object, Permission permission) {
    objects[std::move(object)] = permission;
    least = std::min(least, permission);
    most = std::max(most, permission);
  }
  std::optional<Permission> find(std::string_view object) const {
    const auto found = objects.find(object);
    return found == objects.end() ? std::nullopt : std::optional(found->second);
  }
};

// A user that the database knows. Never changed once it is shared.
struct Account {
  int64_t id = 0;
  std::string name;
  std::string argon2_hash;
  Role role = Role::kReader;
  // What overrides the role, by kind of object ("experiment").
  std::map<std::string, Permissions, std::less<>> permissions;
};
using Accounts = std::unordered_map<std::string, std::shared_ptr<const Account>>;

struct Caller {
  std::string name;
  Role role = Role::kWriter;
  std::shared_ptr<const Account> account;  // null for those of the credentials file
};

struct Credentials {
  // SHA-256 of each accepted bearer token, in hex, with the name it acts as.
  struct Token {
    std::string name;
    std::string sha256_hex;
    Role role = Role::kWriter;
  };
  struct User {
    std::string name;
    std::string argon2_hash;  // encoded form, $argon2id$...
    Role role = Role::kWriter;
  };
  std::vector<Token> tokens;
  std::vector<User> users;
  bool empty() const { return tokens.empty() && users.empty(); }
};

class Authenticator {
 public:
  // Throws Error(kInvalidParameterValue) for a stored hash that is not argon2id's.
  explicit Authenticator(Credentials credentials);
  // The caller, or throws Error(kUnauthenticated), or Error(kRequestLimitExceeded) when too many hashes wait.
  task<Caller> authenticate(const Request& request);
  // The database's users from now on. A password that was remembered counts no longer when it was changed.
  void set_accounts(Accounts accounts) { accounts_ = std::move(accounts); }
  // Who has this name, by the credentials file or the database; nothing when nobody has.
  std::optional<Caller> find(const std::string& name) const;

 private:
  using Waiters = std::vector<OneShot<bool>*>;

  std::optional<Caller> find_token(std::string_view token) const;
  // Of a user; empty for a token.
  std::string hash_of(const Caller& caller) const;
  task<std::optional<Caller>> check_password(std::string user, std::string password);
  task<bool> verify_shared(const std::string& fingerprint, std::string hash, std::string password);
  task<bool> verify(std::string hash, std::string password);
  void remember(const std::string& fingerprint);

  Credentials credentials_;
  Accounts accounts_;
  std::string key_;
  std::string hash_of_nobody_;  // verified for an unknown user, so that the time taken does not tell
  std::unordered_map<std::string, std::chrono::steady_clock::time_point> remembered_;  // until when
  std::unordered_map<std::string, Waiters> verifying_;  // by fingerprint: who waits for a hash under way
  int running_ = 0;
  std::deque<OneShot<bool>*> queue_;  // for one of the two places to run
};

// Whether a request of this method to a route of this pattern changes nothing: GET and HEAD, and searches by POST.
bool only_reads(std::string_view method, std::string_view pattern);
// The least role that may ask this of the server. Of what only admins may: changes of the database itself (below
// /api/v1/database/), and who may do what.
Role required_role(std::string_view method, std::string_view pattern);

// The encoded argon2id hash of a password, for the credentials file.
std::string hash_password(std::string_view password);
// Whether a host name or address, without port, is this machine: localhost, 127.0.0.0/8, ::1, with or without brackets.
bool is_loopback(std::string_view host);
// True when Host (and Origin, if there is one) name this machine: stops DNS rebinding and cross-site requests where the
// server runs on loopback without credentials.
bool is_local_request(const Request& request);

}  // namespace cairn::http
