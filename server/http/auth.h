// Who is calling: a bearer token, or a user and password (Basic), as configured.
//
// Passwords are stored as argon2id hashes. A verified credential is remembered for a minute under a keyed hash (HMAC-SHA256
// with a key made at start), so that a request does not pay for argon2 again. Comparison is in constant time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "http/message.h"

namespace cairn::http {

struct Credentials {
  // SHA-256 of each accepted bearer token, in hex, with the name it acts as.
  struct Token {
    std::string name;
    std::string sha256_hex;
  };
  struct User {
    std::string name;
    std::string argon2_hash;  // encoded form, $argon2id$...
  };
  std::vector<Token> tokens;
  std::vector<User> users;
  bool empty() const { return tokens.empty() && users.empty(); }
};

class Authenticator {
 public:
  explicit Authenticator(Credentials credentials);
  // The caller's name, or throws Error(kUnauthenticated). argon2 runs off the reactor's thread.
  task<std::string> authenticate(const Request& request);

 private:
  struct Remembered {
    std::string user;
    std::chrono::steady_clock::time_point until;
  };
  Credentials credentials_;
  std::string key_;
  std::unordered_map<std::string, Remembered> remembered_;
};

// The encoded argon2id hash of a password, for the credentials file.
std::string hash_password(std::string_view password);
std::string sha256_hex(std::string_view bytes);
bool is_loopback(std::string_view host);
// True when Host (and Origin, if there is one) name this machine: stops DNS rebinding and cross-site requests where the
// server runs on loopback without credentials.
bool is_local_request(const Request& request);

}  // namespace cairn::http
