#include <gtest/gtest.h>

#include "artifacts/content_type.h"
#include "artifacts/testing.h"

namespace cairn::artifacts {
namespace {

using testing::Answer;

// The other routes want a pool; these never let it connect.
class Proxy : public ::testing::Test, protected testing::Caller {
 protected:
  Proxy() : Caller("") {}
  const std::string base_ = "/api/2.0/mlflow-artifacts/artifacts";
};

TEST_F(Proxy, UploadListDownloadDelete) {
  Answer answer = call("PUT", base_ + "/1/r/artifacts/d/b%20c.json", {"{", "}"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "");
  EXPECT_EQ(answer.body, "");
  call("PUT", base_ + "/1/r/artifacts/empty.bin");
  EXPECT_EQ(call("GET", base_ + "?path=1/r/artifacts").body,
            R"({"files":[{"path":"d","is_dir":true},{"path":"empty.bin","is_dir":false}]})");
  EXPECT_EQ(call("GET", "/ajax-api/2.0/mlflow-artifacts/artifacts?path=1%2Fr/artifacts/d/").body,
            R"({"files":[{"path":"b c.json","is_dir":false,"file_size":2}]})");
  EXPECT_EQ(call("GET", base_).body, R"({"files":[{"path":"1","is_dir":true}]})");
  EXPECT_EQ(call("GET", base_ + "?path=nope").body, "{}");
  answer = call("GET", base_ + "/1/r/artifacts/d/b%20c.json");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/plain");
  EXPECT_EQ(answer.body, "{}");
  EXPECT_EQ(answer.headers["Content-Disposition"], "attachment; filename=\"b c.json\"");
  EXPECT_EQ(answer.headers["X-Content-Type-Options"], "nosniff");
  for (int round = 0; round < 2; ++round) {
    answer = call("DELETE", base_ + "/1/r/artifacts/d");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "{}");
  }
  EXPECT_EQ(call("GET", base_ + "/1/r/artifacts/d/b%20c.json").status, 404);
}

TEST_F(Proxy, ErrorsAreWhatClientsExpect) {
  call("PUT", base_ + "/d/f", {"x"});
  EXPECT_EQ(call("GET", base_ + "/nope").body,
            R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No such artifact: 'nope'"})");
  EXPECT_EQ(call("GET", base_ + "/d").status, 400);
  EXPECT_EQ(call("PUT", base_ + "/d", {"x"}).status, 400);
  EXPECT_EQ(call("PUT", base_ + "/d/", {"x"}).status, 400);
  EXPECT_EQ(call("POST", base_ + "/d/f").status, 405);
  for (const char* step : {"create", "complete", "abort"}) {
    const Answer answer = call("POST", std::string("/api/2.0/mlflow-artifacts/mpu/") + step + "/d/f");
    EXPECT_EQ(answer.status, 501);
    EXPECT_NE(answer.body.find("NOT_IMPLEMENTED"), std::string::npos);
  }
}

TEST_F(Proxy, TraversalIsRefusedInEverySpelling) {
  const std::string invalid = R"({"error_code":"INVALID_PARAMETER_VALUE","message":"Invalid path"})";
  for (const std::string path :
       {"../x", "a/../../x", "%2e%2e/x", ".%2e/x", "..%2fx", "a%2Fb", "%2fetc%2fpasswd", "/etc/passwd", "a//b", "./z",
        "..%5cx", "a%5Cb", "%252e%252e%252fx", "%25252e%25252e/x", "a%00b", "a%0ab", ".cairn-staging/x"}) {
    for (const char* method : {"GET", "PUT", "DELETE"}) {
      EXPECT_EQ(call(method, base_ + "/" + path, {"evil"}).body, invalid) << method << " " << path;
    }
  }
  for (const std::string path : {"../", "..", "/etc", "a/../..", "%2e%2e", "%252e%252e", "file:///etc", "..%5c"}) {
    EXPECT_EQ(call("GET", base_ + "?path=" + path).body, invalid) << path;
  }
  EXPECT_EQ(call("GET", base_).body, "{}");
}

TEST_F(Proxy, RangesGiveTheirPart) {
  call("PUT", base_ + "/f", {"0123456789"});
  const struct {
    const char* range;
    int status;
    const char* body;
    const char* content_range;
  } cases[] = {
      {"bytes=0-1", 206, "01", "bytes 0-1/10"},
      {"bytes=8-", 206, "89", "bytes 8-9/10"},
      {"bytes=-3", 206, "789", "bytes 7-9/10"},
      {"bytes=5-99", 206, "56789", "bytes 5-9/10"},
      {"bytes=-99", 206, "0123456789", "bytes 0-9/10"},
      {"bytes=10-", 416, "", "bytes */10"},
      {"bytes=-0", 416, "", "bytes */10"},
      {"bytes=3-2", 200, "0123456789", ""},
      {"bytes=0-1,4-5", 200, "0123456789", ""},
      {"lines=1-2", 200, "0123456789", ""},
      {"bytes=-", 200, "0123456789", ""},
  };
  for (const auto& expected : cases) {
    Answer answer = call("GET", base_ + "/f", {}, expected.range);
    EXPECT_EQ(answer.status, expected.status) << expected.range;
    EXPECT_EQ(answer.body, expected.body) << expected.range;
    EXPECT_EQ(answer.headers["Content-Range"], expected.content_range) << expected.range;
  }
}

TEST(ContentType, FollowsTheName) {
  EXPECT_EQ(content_type("MLmodel"), "text/plain");
  EXPECT_EQ(content_type("a.yaml"), "text/plain");
  EXPECT_EQ(content_type("a.HTML"), "text/html");
  EXPECT_EQ(content_type("x.png"), "image/png");
  EXPECT_EQ(content_type("png"), "application/octet-stream");
  EXPECT_EQ(content_type("model.pkl"), "application/octet-stream");
}

TEST(ContentDisposition, QuotesAndEncodesTheName) {
  EXPECT_EQ(content_disposition("a.txt"), "attachment; filename=a.txt");
  EXPECT_EQ(content_disposition("b c"), "attachment; filename=\"b c\"");
  EXPECT_EQ(content_disposition("uü"), "attachment; filename=\"u__\"; filename*=UTF-8''u%C3%BC");
  EXPECT_EQ(content_disposition("a\"\r\nX: y"),
            "attachment; filename=\"a___X: y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y");
}

}  // namespace
}  // namespace cairn::artifacts
