#include "http/router.h"

#include <gtest/gtest.h>

namespace cairn::http {
namespace {

Handler nothing() {
  return [](Request&) -> task<Response> { co_return Response{}; };
}

std::string pattern_of(const Router& router, std::string_view method, std::string_view path) {
  const auto match = router.match(method, path);
  return match.route ? match.route->pattern : "";
}

TEST(Router, LiteralsWinOverCaptures) {
  Router router;
  router.add("GET", "/models/{id}", nothing());
  router.add("GET", "/models/search", nothing());
  router.add("GET", "/models/{id}/tags/{key}", nothing());
  router.add("GET", "/models/search/all", nothing());
  EXPECT_EQ(pattern_of(router, "GET", "/models/search"), "/models/search");
  EXPECT_EQ(pattern_of(router, "GET", "/models/m-1"), "/models/{id}");
  // A literal that leads nowhere gives way to the capture.
  EXPECT_EQ(pattern_of(router, "GET", "/models/search/tags/a"), "/models/{id}/tags/{key}");
  EXPECT_EQ(pattern_of(router, "GET", "/models"), "");
  EXPECT_EQ(pattern_of(router, "GET", "/models/"), "");
  EXPECT_EQ(pattern_of(router, "GET", "/models/a/"), "");
}

TEST(Router, CapturesAreDecodedAfterSplitting) {
  Router router;
  router.add("DELETE", "/models/{id}/tags/{key}", nothing());
  router.add("GET", "/artifacts/{path...}", nothing());
  auto match = router.match("DELETE", "/models/m%201/tags/a%2Fb");
  ASSERT_NE(match.route, nullptr);
  EXPECT_EQ(match.captures.find("id")->second, "m 1");
  EXPECT_EQ(match.captures.find("key")->second, "a/b");
  match = router.match("GET", "/artifacts/a/b%20c//d");
  ASSERT_NE(match.route, nullptr);
  EXPECT_EQ(match.captures.find("path")->second, "a/b c//d");
  match = router.match("GET", "/artifacts/");
  ASSERT_NE(match.route, nullptr);
  EXPECT_EQ(match.captures.find("path")->second, "");
  EXPECT_EQ(router.match("GET", "/artifacts").route, nullptr);
  EXPECT_EQ(pattern_of(router, "GET", "/%61rtifacts/x"), "/artifacts/{path...}");
}

TEST(Router, RoutesMayNameTheSameCaptureDifferently) {
  Router router;
  router.add("GET", "/x/{a}", nothing());
  router.add("POST", "/x/{b}/y", nothing());
  EXPECT_EQ(router.match("GET", "/x/1").captures.count("a"), 1u);
  EXPECT_EQ(router.match("POST", "/x/1/y").captures.count("b"), 1u);
}

TEST(Router, OtherMethodsAndHead) {
  Router router;
  router.add("GET", "/x", nothing());
  router.add("POST", "/x", nothing());
  const auto match = router.match("DELETE", "/x");
  EXPECT_EQ(match.route, nullptr);
  EXPECT_TRUE(match.path_exists);
  EXPECT_EQ(match.allow, "GET, POST");
  EXPECT_EQ(pattern_of(router, "HEAD", "/x"), "/x");
}

TEST(Router, RefusesTwoRoutesForTheSame) {
  Router router;
  router.add("GET", "/x/{a}", nothing());
  EXPECT_THROW(router.add("GET", "/x/{b}", nothing()), std::logic_error);
  EXPECT_THROW(router.add("GET", "/y/{rest...}/z", nothing()), std::logic_error);
}

TEST(Router, ErrorBodies) {
  const Response response = error_response(ErrorCode::kRequestLimitExceeded, "a \"quoted\"\n\xff text");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.body,
            "{\"error_code\":\"REQUEST_LIMIT_EXCEEDED\",\"message\":\"a \\\"quoted\\\"\\n\xef\xbf\xbd text\"}");
  EXPECT_EQ(response.headers.at(0).first, "Retry-After");
}

}  // namespace
}  // namespace cairn::http
