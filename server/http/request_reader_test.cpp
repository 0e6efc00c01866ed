#include "http/request_reader.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace cairn::http {
namespace {

struct Parsed {
  std::vector<Request> requests;
  std::optional<ErrorCode> error;
};

// Feeds `bytes` in pieces of at most `cut`.
Parsed parse(std::string_view bytes, size_t cut, uint32_t max_header_bytes = 65536) {
  RequestReader reader(max_header_bytes);
  Parsed parsed;
  Request request;
  bool in_body = false;
  try {
    for (;;) {
      const bool done = in_body ? reader.read_body(request.body) : reader.read_header(request);
      if (done && in_body) {
        parsed.requests.push_back(std::move(request));
        request = Request();
        reader.next();
      }
      if (done) {
        in_body = !in_body;
      } else {
        if (bytes.empty()) return parsed;
        const auto space = reader.space();
        const size_t count = std::min({cut, space.size(), bytes.size()});
        std::memcpy(space.data(), bytes.data(), count);
        reader.commit(count);
        bytes.remove_prefix(count);
      }
    }
  } catch (const Error& e) {
    parsed.error = e.code();
  }
  return parsed;
}

std::optional<ErrorCode> error_of(const std::string& bytes) {
  const auto whole = parse(bytes, bytes.size()).error;
  EXPECT_EQ(parse(bytes, 1).error, whole) << bytes;
  return whole;
}

TEST(RequestReader, PipelinedRequestsInAnyCut) {
  const std::string bytes =
      "POST /a?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Two: b\r\n\r\nhello"
      "\r\nGET /b%20c HTTP/1.1\r\nHost: h\r\n\r\n"
      "PUT /d HTTP/1.1\r\nHOST: h\r\nTransfer-Encoding: "
      "Chunked\r\n\r\n3\r\nabc\r\n4;ext=\"1\"\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n";
  for (const size_t cut : {size_t{1}, size_t{2}, size_t{7}, size_t{64}, bytes.size()}) {
    const Parsed parsed = parse(bytes, cut);
    ASSERT_FALSE(parsed.error);
    ASSERT_EQ(parsed.requests.size(), 3u) << cut;
    EXPECT_EQ(parsed.requests[0].method, "POST");
    EXPECT_EQ(parsed.requests[0].path, "/a");
    EXPECT_EQ(parsed.requests[0].argument("x"), "1");
    EXPECT_EQ(parsed.requests[0].body, "hello");
    EXPECT_EQ(parsed.requests[0].header("x-two"), "b");
    EXPECT_EQ(parsed.requests[1].path, "/b c");
    EXPECT_EQ(parsed.requests[2].body, "abcdefg");
    EXPECT_EQ(parsed.requests[2].header("trailer"), "");
  }
}

TEST(RequestReader, RefusesContradictoryFraming) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
  const auto bad = ErrorCode::kBadRequest;
  EXPECT_EQ(error_of(head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: 3, 3\r\n\r\nabc"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: +3\r\n\r\nabc"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: -1\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Content-Length: 99999999999999999999\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\na"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), bad);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: gzip, chunked\r\n\r\n"), ErrorCode::kNotImplemented);
  EXPECT_EQ(error_of(head + "Transfer-Encoding: identity\r\n\r\n"), ErrorCode::kNotImplemented);
  EXPECT_EQ(error_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), bad);
}

TEST(RequestReader, RefusesMalformedHeaders) {
  const auto bad = ErrorCode::kBadRequest;
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\n\r\n"), bad);  // no Host
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\nHost: a\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET / HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a%ff HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a%c0%af HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a?b=%00 HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
  EXPECT_EQ(error_of("GET /a?b=%ff HTTP/1.1\r\nHost: a\r\n\r\n"), bad);
}

TEST(RequestReader, AHeaderIsBoundedHoweverItArrives) {
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 60; ++i) many += "X-" + std::to_string(i) + ": " + std::string(40, 'a') + "\r\n";
  EXPECT_EQ(parse(many + "\r\n", 1, 2048).error, ErrorCode::kHeaderTooLarge);
  EXPECT_EQ(parse(many + "\r\n", 64, 2048).error, ErrorCode::kHeaderTooLarge);
  EXPECT_EQ(parse(many + "\r\n", 65536, 2048).error, ErrorCode::kHeaderTooLarge);
  EXPECT_EQ(parse(many + "\r\n", 65536).requests.size(), 1u);
  EXPECT_EQ(parse("GET /" + std::string(5000, 'a'), 100, 2048).error, ErrorCode::kHeaderTooLarge);
  std::string fields = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 200; ++i) fields += "a:\r\n";
  EXPECT_EQ(parse(fields + "\r\n", 65536).error, ErrorCode::kHeaderTooLarge);
}

TEST(RequestReader, ChunkLinesAndTrailersAreBounded) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(parse(head + "1;" + std::string(200000, 'a'), 1000).error, ErrorCode::kBadRequest);
  EXPECT_EQ(parse(head + "0\r\nX: " + std::string(200000, 'a'), 1000).error, ErrorCode::kBadRequest);
}

TEST(RequestReader, AnEmptyChunkedBodyInAnyCut) {
  const std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (size_t cut = 1; cut <= bytes.size(); ++cut) EXPECT_EQ(parse(bytes, cut).requests.size(), 1u) << cut;
}

TEST(RequestReader, TargetForms) {
  const Parsed absolute = parse("GET http://Example.org:80/a/b?c=d HTTP/1.1\r\nHost: other\r\n\r\n", 1000);
  ASSERT_EQ(absolute.requests.size(), 1u);
  EXPECT_EQ(absolute.requests[0].path, "/a/b");
  EXPECT_EQ(absolute.requests[0].argument("c"), "d");
  EXPECT_EQ(absolute.requests[0].header("host"), "Example.org:80");
  EXPECT_EQ(raw_path("http://h?x=/y"), "/");
  EXPECT_EQ(raw_path("/a%2Fb?x=http://y"), "/a%2Fb");
  EXPECT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 1000).requests.size(), 1u);
}

TEST(RequestReader, KeepAliveByVersion) {
  const auto keep_alive = [](const std::string& bytes) {
    RequestReader reader(65536);
    std::memcpy(reader.space().data(), bytes.data(), bytes.size());
    reader.commit(bytes.size());
    Request request;
    EXPECT_TRUE(reader.read_header(request));
    return reader.framing().keep_alive;
  };
  EXPECT_TRUE(keep_alive("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n"));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keep_alive("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

}  // namespace
}  // namespace cairn::http
