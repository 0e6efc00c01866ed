// Who is calling: a bearer token, or a user and password (Basic), as configured.
//
// Passwords are stored as argon2id hashes. A verified credential is remembered for a minute under a keyed hash
// (HMAC-SHA256 with a key made at start), so that a request does not pay for argon2 again. Comparison is in constant
// time.
//
// A guesser is slowed: every failure is answered late, at most two hashes are computed at a time (each takes 19 MiB),
// and a request that finds too many waiting is refused with 429. Requests that bring the same credential share one
// hash.
//
// Threads: reactor only; argon2 itself runs in offload(). The Authenticator must outlive its calls.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/reactor.h"
#include "base/task.h"
#include "http/message.h"

namespace cairn::http {

// What a caller may do: a reader looks, a writer changes, too.
enum class Role { kReader, kWriter };

struct Caller {
  std::string name;
  Role role = Role::kWriter;
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

 private:
  struct Remembered {
    std::string user;
    std::chrono::steady_clock::time_point until;
  };
  using Waiters = std::vector<OneShot<bool>*>;

  std::optional<Caller> find_token(std::string_view token) const;
  Role role_of(std::string_view user) const;
  task<std::optional<std::string>> check_password(std::string_view user, std::string_view password);
  task<bool> verify_shared(const std::string& fingerprint, std::string hash, std::string password);
  task<bool> verify(std::string hash, std::string password);
  void remember(const std::string& fingerprint, std::string_view user);

  Credentials credentials_;
  std::string key_;
  std::string hash_of_nobody_;  // verified for an unknown user, so that the time taken does not tell
  std::unordered_map<std::string, Remembered> remembered_;
  std::unordered_map<std::string, Waiters> verifying_;  // by fingerprint: who waits for a hash under way
  int running_ = 0;
  std::deque<OneShot<bool>*> queue_;  // for one of the two places to run
};

// Whether a request of this method to a route of this pattern changes nothing: GET and HEAD, and searches by POST.
bool only_reads(std::string_view method, std::string_view pattern);

// The encoded argon2id hash of a password, for the credentials file.
std::string hash_password(std::string_view password);
// Whether a host name or address, without port, is this machine: localhost, 127.0.0.0/8, ::1, with or without brackets.
bool is_loopback(std::string_view host);
// True when Host (and Origin, if there is one) name this machine: stops DNS rebinding and cross-site requests where the
// server runs on loopback without credentials.
bool is_local_request(const Request& request);

}  // namespace cairn::http
