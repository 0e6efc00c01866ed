#include "http/auth.h"

#include <argon2.h>
#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::http {
namespace {

using std::chrono::steady_clock;

constexpr uint32_t kPasses = 2;
constexpr uint32_t kMemoryKib = 19u << 10;
constexpr uint32_t kLanes = 1;
constexpr size_t kSaltBytes = 16;
constexpr size_t kHashBytes = 32;
constexpr size_t kKeyBytes = 32;

constexpr int kHashesAtOnce = 2;
constexpr size_t kHashesWaiting = 64;
constexpr size_t kMaxRemembered = 1024;
constexpr size_t kMaxPassword = 1024;
constexpr std::chrono::seconds kRememberFor{60};
constexpr std::chrono::milliseconds kFailureDelay{250};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > 4096) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  if (length < 0) return std::nullopt;
  // EVP_DecodeBlock counts the padding as bytes.
  out.resize(static_cast<size_t>(length) - (text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0));
  return out;
}

// Keyed, so that what is remembered is worthless to whoever reads this process's memory later.
// The hash is in it, so that a password that was changed is asked for anew.
std::string fingerprint_of(const std::string& key, std::string_view user, std::string_view password,
                           std::string_view hash) {
  std::string text(hash);
  text += '\0';
  text += user;
  text += '\0';
  text += password;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  unsigned int length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest, &length);
  return std::string(reinterpret_cast<char*>(digest), length);
}

struct Authorization {
  std::string scheme;  // lower case
  std::string_view value;
};

Authorization parse_authorization(std::string_view header) {
  const size_t space = std::min(header.find(' '), header.size());
  Authorization authorization{lower(header.substr(0, space)), header.substr(space)};
  while (authorization.value.starts_with(' ')) authorization.value.remove_prefix(1);
  return authorization;
}

// The host of "host[:port]", brackets kept; nothing when what follows the host is not a port.
std::optional<std::string_view> host_of(std::string_view authority) {
  size_t end = authority.find(':');
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == authority.npos) return std::nullopt;
    end = bracket + 1;
  }
  if (end >= authority.size()) return authority;
  const std::string_view port = authority.substr(end + 1);
  if (authority[end] != ':' || port.find_first_not_of("0123456789") != port.npos) return std::nullopt;
  return authority.substr(0, end);
}

}  // namespace

std::string hash_password(std::string_view password) {
  const std::string salt = random_bytes(kSaltBytes);
  std::string encoded(argon2_encodedlen(kPasses, kMemoryKib, kLanes, kSaltBytes, kHashBytes, Argon2_id), '\0');
  const int code = argon2id_hash_encoded(kPasses, kMemoryKib, kLanes, password.data(), password.size(), salt.data(),
                                         salt.size(), kHashBytes, encoded.data(), encoded.size());
  if (code != ARGON2_OK) {
    throw Error(ErrorCode::kInternalError,
                std::string("the password could not be hashed: ") + argon2_error_message(code));
  }
  encoded.resize(std::strlen(encoded.c_str()));
  return encoded;
}

Authenticator::Authenticator(Credentials credentials)
    : credentials_(std::move(credentials)), key_(random_bytes(kKeyBytes)) {
  for (const auto& user : credentials_.users) {
    if (!user.argon2_hash.starts_with("$argon2id$")) {
      throw invalid("the stored password of user '" + user.name + "' is not an argon2id hash: set the password anew");
    }
  }
  for (auto& token : credentials_.tokens) {
    token.sha256_hex = lower(token.sha256_hex);
    if (token.sha256_hex.size() != 64)
      throw invalid("the stored hash of token '" + token.name + "' is not a SHA-256 in hex");
  }
  hash_of_nobody_ = hash_password(random_bytes(kKeyBytes));
}

task<Caller> Authenticator::authenticate(const Request& request) {
  const std::string_view header = request.header("authorization");
  if (header.empty()) {
    throw Error(ErrorCode::kUnauthenticated,
                "This server asks for credentials: a bearer token, or a user and password");
  }
  const Authorization authorization = parse_authorization(header);
  std::optional<Caller> caller;
  if (authorization.scheme == "bearer") {
    caller = find_token(authorization.value);
  } else if (authorization.scheme == "basic") {
    const auto pair = base64_decode(authorization.value);
    const size_t colon = pair ? pair->find(':') : std::string::npos;
    if (colon != std::string::npos && pair->size() <= kMaxPassword) {
      task<std::optional<Caller>> check = check_password(pair->substr(0, colon), pair->substr(colon + 1));
      caller = co_await check;
    }
  }
  if (!caller) {
    co_await sleep_for(kFailureDelay);
    throw Error(ErrorCode::kUnauthenticated, "The credentials are wrong");
  }
  co_return std::move(*caller);
}

std::optional<Caller> Authenticator::find(const std::string& name) const {
  const auto user = std::ranges::find(credentials_.users, name, &Credentials::User::name);
  if (user != credentials_.users.end()) return Caller{name, user->role, nullptr};
  const auto token = std::ranges::find(credentials_.tokens, name, &Credentials::Token::name);
  if (token != credentials_.tokens.end()) return Caller{name, token->role, nullptr};
  const auto account = accounts_.find(name);
  if (account == accounts_.end()) return std::nullopt;
  return Caller{name, account->second->role, account->second};
}

std::string Authenticator::hash_of(const Caller& caller) const {
  if (caller.account) return caller.account->argon2_hash;
  const auto user = std::ranges::find(credentials_.users, caller.name, &Credentials::User::name);
  return user == credentials_.users.end() ? "" : user->argon2_hash;
}

std::optional<Caller> Authenticator::find_token(std::string_view token) const {
  const std::string digest = sha256_hex(token);
  const Credentials::Token* found = nullptr;
  // No early end: the time taken tells nothing of which token was close.
  for (const auto& candidate : credentials_.tokens) {
    if (CRYPTO_memcmp(candidate.sha256_hex.data(), digest.data(), digest.size()) == 0) found = &candidate;
  }
  if (found == nullptr) return std::nullopt;
  return Caller{found->name, found->role, nullptr};
}

task<std::optional<Caller>> Authenticator::check_password(std::string user, std::string password) {
  if (credentials_.users.empty() && accounts_.empty()) co_return std::nullopt;
  const std::optional<Caller> known = find(user);
  std::string hash = known ? hash_of(*known) : "";
  const bool exists = !hash.empty();  // a token has no password
  if (!exists) hash = hash_of_nobody_;
  const std::string fingerprint = fingerprint_of(key_, user, password, hash);
  const auto it = remembered_.find(fingerprint);
  if (exists && it != remembered_.end() && it->second > steady_clock::now()) co_return known;
  task<bool> check = verify_shared(fingerprint, hash, std::move(password));
  const bool right = co_await check;
  if (!right || !exists) co_return std::nullopt;
  remember(fingerprint);
  co_return known;
}

task<bool> Authenticator::verify_shared(const std::string& fingerprint, std::string hash, std::string password) {
  OneShot<bool> answer;
  if (const auto it = verifying_.find(fingerprint); it != verifying_.end()) {
    it->second.push_back(&answer);
    co_return co_await answer.wait();
  }
  verifying_[fingerprint];
  std::exception_ptr failure;
  bool right = false;
  try {
    task<bool> work = verify(std::move(hash), std::move(password));
    right = co_await work;
  } catch (...) {
    failure = std::current_exception();
  }
  const auto node = verifying_.extract(fingerprint);
  for (OneShot<bool>* waiter : node.mapped()) {
    if (failure) {
      waiter->fail(failure);
    } else {
      waiter->set(right);
    }
  }
  if (failure) std::rethrow_exception(failure);
  co_return right;
}

task<bool> Authenticator::verify(std::string hash, std::string password) {
  if (running_ >= kHashesAtOnce) {
    if (queue_.size() >= kHashesWaiting) {
      throw Error(ErrorCode::kRequestLimitExceeded, "Too many passwords are being checked: try again in a moment");
    }
    OneShot<bool> turn;
    queue_.push_back(&turn);
    co_await turn.wait();  // whoever ends hands its place over
  } else {
    ++running_;
  }
  auto work = [hash = std::move(hash), password = std::move(password)]() mutable {
    const bool right = argon2id_verify(hash.c_str(), password.data(), password.size()) == ARGON2_OK;
    OPENSSL_cleanse(password.data(), password.size());
    return right;
  };
  OffloadAwaiter<decltype(work)> hashing = offload(std::move(work));
  const bool right = co_await hashing;
  if (queue_.empty()) {
    --running_;
  } else {
    queue_.front()->set(true);
    queue_.pop_front();
  }
  co_return right;
}

void Authenticator::remember(const std::string& fingerprint) {
  const auto now = steady_clock::now();
  if (remembered_.size() >= kMaxRemembered) {
    std::erase_if(remembered_, [&](const auto& entry) { return entry.second <= now; });
    if (remembered_.size() >= kMaxRemembered) remembered_.clear();
  }
  remembered_[fingerprint] = now + kRememberFor;
}

bool only_reads(std::string_view method, std::string_view pattern) {
  if (method == "GET" || method == "HEAD") return true;
  // The last part of the routes that take a question as a body.
  constexpr std::string_view kQuestions[] = {"search",
                                             "search-datasets",
                                             "graphql",
                                             "get-online-features",
                                             "retrieve-online-documents",
                                             "get-latest-versions",
                                             "range",
                                             "historical",
                                             "online",
                                             "embed"};
  return method == "POST" &&
         std::ranges::find(kQuestions, pattern.substr(pattern.rfind('/') + 1)) != std::end(kQuestions);
}

Role required_role(std::string_view method, std::string_view pattern) {
  constexpr std::string_view kPrefixes[] = {"/ajax-api/", "/api/"};  // MLflow's routes have both
  std::string_view path = pattern;
  for (const std::string_view prefix : kPrefixes)
    if (pattern.starts_with(prefix)) path = pattern.substr(prefix.size());
  constexpr std::string_view kOfAdmins[] = {"v1/access/users", "2.0/mlflow/users/create", "2.0/mlflow/users/list",
                                            "2.0/mlflow/users/update-admin", "2.0/mlflow/users/delete"};
  for (const std::string_view of_admins : kOfAdmins)
    if (path.starts_with(of_admins)) return Role::kAdmin;
  const bool reads = only_reads(method, pattern);
  if (!reads && path.starts_with("v1/database/")) return Role::kAdmin;
  // Everybody's own password; and who manages an object says who may use it: their handlers decide.
  if (path == "2.0/mlflow/users/update-password" || path.find("/permissions/") != path.npos) return Role::kReader;
  return reads ? Role::kReader : Role::kWriter;
}

bool is_loopback(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string name = lower(host);
  if (name == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, name.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_local_request(const Request& request) {
  const auto host = host_of(request.header("host"));
  if (!host || !is_loopback(*host)) return false;
  for (const auto& [name, value] : request.headers) {
    if (name != "origin") continue;
    const size_t scheme = value.find("://");
    if (scheme == value.npos) return false;  // "null" too: a page from a file or a sandbox
    const auto origin = host_of(std::string_view(value).substr(scheme + 3));
    if (!origin || !is_loopback(*origin)) return false;
  }
  return true;
}

}  // namespace cairn::http
