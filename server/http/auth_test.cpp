#include "http/auth.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::http {
namespace {

using std::chrono::steady_clock;

Request with(std::string name, std::string value) {
  Request request;
  request.headers.emplace_back(std::move(name), std::move(value));
  return request;
}

// The caller's name, or the error's code as a number in brackets.
std::string ask(Reactor& reactor, Authenticator& authenticator, const Request& request) {
  try {
    return reactor.block_on(authenticator.authenticate(request)).name;
  } catch (const Error& e) {
    return "[" + std::to_string(http_status(e.code())) + "]";
  }
}

TEST(Auth, R20_AReaderLooksAndSearches) {
  EXPECT_TRUE(only_reads("GET", "/api/2.0/mlflow/runs/get"));
  EXPECT_TRUE(only_reads("HEAD", "/x"));
  EXPECT_TRUE(only_reads("POST", "/api/2.0/mlflow/runs/search"));
  EXPECT_TRUE(only_reads("POST", "/search"));
  for (const char* pattern :
       {"/api/2.0/mlflow/runs/create", "/api/v1/search/x", "/api/v1/features/training-sets", "/push"})
    EXPECT_FALSE(only_reads("POST", pattern)) << pattern;
  EXPECT_FALSE(only_reads("DELETE", "/api/v1/collections/search"));
  Reactor reactor;
  Authenticator authenticator(
      {.tokens = {{"rita", sha256_hex("r"), Role::kReader}, {"will", sha256_hex("w")}}, .users = {}});
  EXPECT_EQ(reactor.block_on(authenticator.authenticate(with("authorization", "Bearer r"))).role, Role::kReader);
  EXPECT_EQ(reactor.block_on(authenticator.authenticate(with("authorization", "Bearer w"))).role, Role::kWriter);
}

TEST(Auth, R20_WhatOnlyAdminsMay) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"})
    EXPECT_EQ(required_role(method, "/api/v1/database/sessions/{pid}"), Role::kAdmin) << method;
  EXPECT_EQ(required_role("POST", "/api/v1/database/x/search"), Role::kReader);
  EXPECT_EQ(required_role("GET", "/api/v1/database/statements"), Role::kReader);
  for (const char* prefix : {"/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"}) {
    const std::string mlflow = prefix;
    for (const char* route : {"users/create", "users/list", "users/update-admin", "users/delete"})
      EXPECT_EQ(required_role("POST", mlflow + route), Role::kAdmin) << route;
    EXPECT_EQ(required_role("PATCH", mlflow + "users/update-password"), Role::kReader);
    EXPECT_EQ(required_role("POST", mlflow + "experiments/permissions/create"), Role::kReader);
    EXPECT_EQ(required_role("POST", mlflow + "runs/create"), Role::kWriter);
    EXPECT_EQ(required_role("POST", mlflow + "runs/search"), Role::kReader);
  }
  EXPECT_EQ(required_role("GET", "/api/v1/access/users"), Role::kAdmin);
  EXPECT_EQ(required_role("POST", "/api/3.0/mlflow/users/permissions/grant"), Role::kReader);
  EXPECT_EQ(required_role("POST", "/push"), Role::kWriter);
}

TEST(Auth, R20_UsersOfTheDatabaseAreBehindThoseOfTheFile) {
  Reactor reactor;
  Authenticator authenticator({.tokens = {{"ci", sha256_hex("t"), Role::kAdmin}}, .users = {}});
  const Request ann = with("authorization", "Basic YW5uOnBhc3M6d29yZA==");  // ann:pass:word
  EXPECT_EQ(ask(reactor, authenticator, ann), "[401]");
  const auto set = [&](const std::string& name, const std::string& password) {
    Account account{1, name, hash_password(password), Role::kReader, {}};
    authenticator.set_accounts({{name, std::make_shared<const Account>(std::move(account))}});
  };
  set("ann", "pass:word");
  const Caller caller = reactor.block_on(authenticator.authenticate(ann));
  EXPECT_EQ(caller.role, Role::kReader);
  ASSERT_NE(caller.account, nullptr);
  set("ann", "another");  // what was remembered counts no longer
  EXPECT_EQ(ask(reactor, authenticator, ann), "[401]");
  set("ci", "x");
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic Y2k6eA==")), "[401]");  // ci:x
  authenticator.set_accounts({});
  EXPECT_EQ(ask(reactor, authenticator, ann), "[401]");
}

TEST(Auth, HashesAreArgon2idAndSalted) {
  const std::string one = hash_password("secret");
  EXPECT_TRUE(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")) << one;
  EXPECT_NE(one, hash_password("secret"));
}

TEST(Auth, Tokens) {
  Reactor reactor;
  Authenticator authenticator({.tokens = {{"ci", sha256_hex("t0k3n")}}, .users = {}});
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Bearer t0k3n")), "ci");
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "bearer t0k3n")), "ci");
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Bearer t0k3")), "[401]");
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic Y2k6dDBrM24=")), "[401]");
  EXPECT_EQ(ask(reactor, authenticator, Request()), "[401]");
}

TEST(Auth, PasswordsAreVerifiedOnceAndRemembered) {
  Reactor reactor;
  Authenticator authenticator({.tokens = {}, .users = {{"ann", hash_password("pass:word")}}});
  const Request right = with("authorization", "Basic YW5uOnBhc3M6d29yZA==");  // ann:pass:word
  EXPECT_EQ(ask(reactor, authenticator, right), "ann");
  // 200 more take far less than 200 hashes would (each over 10 ms).
  const auto start = steady_clock::now();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(ask(reactor, authenticator, right), "ann");
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic YW5uOndyb25n")), "[401]");  // ann:wrong
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic Ym9iOndyb25n")), "[401]");  // bob:wrong
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic YW5u")), "[401]");          // no colon
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Basic !!!!")), "[401]");
  EXPECT_EQ(ask(reactor, authenticator, with("authorization", "Digest x")), "[401]");
}

TEST(Auth, AFailureIsAnsweredLate) {
  Reactor reactor;
  Authenticator authenticator({.tokens = {{"ci", sha256_hex("t0k3n")}}, .users = {}});
  const auto start = steady_clock::now();
  ask(reactor, authenticator, with("authorization", "Bearer x"));
  EXPECT_GE(steady_clock::now() - start, std::chrono::milliseconds(200));
}

// Requests with one credential share a hash; with different ones at most a bounded number waits.
TEST(Auth, HashesUnderWayAreBounded) {
  Reactor reactor;
  Authenticator authenticator({.tokens = {}, .users = {{"ann", hash_password("pass:word")}}});
  int right = 0;
  int wrong = 0;
  int refused = 0;
  constexpr int kEach = 100;
  auto one = [&](std::string header) -> task<> {
    const Request request = with("authorization", header);
    try {
      task<Caller> work = authenticator.authenticate(request);
      const Caller caller = co_await work;
      right += caller.name == "ann";
    } catch (const Error& e) {
      ++(e.code() == ErrorCode::kUnauthenticated ? wrong : refused);
    }
  };
  for (int i = 0; i < kEach; ++i) reactor.spawn("right", one("Basic YW5uOnBhc3M6d29yZA=="));
  for (int i = 0; i < kEach; ++i) {
    const std::string digits = std::to_string(100 + i);  // "Basic eDox.." decodes to x:1…
    reactor.spawn("wrong", one("Basic eDox" + digits + "A"));
  }
  auto wait = [&]() -> task<> {
    while (right + wrong + refused < 2 * kEach) co_await sleep_for(std::chrono::milliseconds(5));
  };
  reactor.block_on(wait());
  EXPECT_EQ(right, kEach);
  EXPECT_EQ(wrong + refused, kEach);
  EXPECT_GE(refused, kEach - 70);
  EXPECT_GT(wrong, 0);
}

TEST(Auth, RefusesStoredHashesOfAnotherKind) {
  EXPECT_THROW(Authenticator({.tokens = {}, .users = {{"ann", "plain"}}}), Error);
  EXPECT_THROW(Authenticator({.tokens = {{"ci", "short"}}, .users = {}}), Error);
}

TEST(Auth, LoopbackNames) {
  for (const char* host : {"localhost", "LocalHost", "127.0.0.1", "127.9.8.7", "::1", "[::1]"})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"", "0.0.0.0", "::", "127.0.0.1.evil.org", "localhost.evil.org", "10.0.0.1", "127.1"}) {
    EXPECT_FALSE(is_loopback(host)) << host;
  }
}

TEST(Auth, LocalRequests) {
  const auto local = [](std::string host, std::string origin) {
    Request request = with("host", std::move(host));
    if (!origin.empty()) request.headers.emplace_back("origin", origin);
    return is_local_request(request);
  };
  EXPECT_TRUE(local("localhost:5000", ""));
  EXPECT_TRUE(local("[::1]:5000", "http://localhost:3000"));
  EXPECT_TRUE(local("127.0.0.1", "https://127.0.0.1"));
  EXPECT_FALSE(local("evil.org:5000", ""));
  EXPECT_FALSE(local("localhost:5000", "http://evil.org"));
  EXPECT_FALSE(local("localhost:5000", "http://localhost.evil.org"));
  EXPECT_FALSE(local("localhost:5000", "http://localhost:80@evil.org"));
  EXPECT_FALSE(local("localhost:5000", "null"));
  EXPECT_FALSE(local("[::1]evil.org", ""));
  EXPECT_FALSE(is_local_request(Request()));
}

}  // namespace
}  // namespace cairn::http
