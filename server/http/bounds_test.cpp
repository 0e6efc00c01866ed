// What the server does with clients that are too big, too slow, too many or gone. Deadlines are short here; a test
// waits for what must happen, never for a time.
#include <atomic>
#include <cstring>
#include <fstream>

#include "http/testing.h"

namespace cairn::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::Answer;
using testing::Client;
using testing::TestServer;

constexpr size_t kMaxBody = 100'000;
constexpr uint64_t kHuge = 200'000'000;

struct Counts {
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<int> uploads_ended{0};
  std::atomic<int> streams_alive{0};
};

class Endless : public BodyStream {
 public:
  Endless(Counts& counts, uint64_t bytes) : counts_(counts), left_(bytes) { ++counts_.streams_alive; }
  ~Endless() override { --counts_.streams_alive; }
  task<std::optional<std::string>> next() override {
    if (left_ == 0) co_return std::nullopt;
    const uint64_t count = std::min<uint64_t>(left_, 65536);
    left_ -= count;
    co_return std::string(count, 'x');
  }

 private:
  Counts& counts_;
  uint64_t left_;
};

class Bounds : public ::testing::Test {
 protected:
  Bounds() {
    RouteOptions small;
    small.max_body = kMaxBody;
    RouteOptions streaming;
    streaming.streaming = true;
    streaming.max_body = 1u << 30;
    router_.add("GET", "/health", [](Request&) -> task<Response> { co_return text_response("OK"); });
    router_.add(
        "POST", "/echo", [](Request& request) -> task<Response> { co_return text_response(request.body); }, small);
    router_.add(
        "POST", "/ignore", [](Request&) -> task<Response> { co_return text_response("ignored"); }, streaming);
    router_.add(
        "POST", "/upload", [this](Request& request) { return upload(request); }, streaming);
    router_.add("GET", "/download/{bytes}", [this](Request& request) -> task<Response> {
      Response response;
      response.stream = std::make_unique<Endless>(counts_, std::stoull(request.captures["bytes"]));
      co_return response;
    });
    router_.add("GET", "/wait", [this](Request&) -> task<Response> {
      co_await gate_.wait();
      co_return text_response("waited");
    });
  }

  task<Response> upload(Request& request) {
    uint64_t bytes = 0;
    try {
      for (;;) {
        task<std::optional<std::string>> next = request.stream->next();
        const std::optional<std::string> piece = co_await next;
        if (!piece) break;
        bytes += piece->size();
        counts_.bytes_read += piece->size();
      }
    } catch (const Error&) {
      ++counts_.uploads_ended;
      throw;
    }
    ++counts_.uploads_ended;
    co_return text_response(std::to_string(bytes));
  }

  static ServerOptions quick() {
    ServerOptions options;
    options.header_timeout = options.body_timeout = options.idle_timeout = milliseconds(200);
    return options;
  }

  Counts counts_;
  OneShot<int> gate_;
  Router router_;
};

std::string head(const std::string& method, const std::string& target, const std::string& fields) {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
}

TEST_F(Bounds, LongHeaders) {
  ServerOptions options;
  options.max_header_bytes = 4096;
  TestServer server(router_, options);
  Client client(server.port());
  const Answer answer = client.get("/health", "X: " + std::string(10'000, 'a') + "\r\n");
  EXPECT_EQ(answer.status, 431);
  EXPECT_NE(answer.body.find("\"error_code\":\"BAD_REQUEST\""), answer.body.npos);
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(Client(server.port()).get("/health", "X: " + std::string(3000, 'a') + "\r\n").status, 200);
}

TEST_F(Bounds, LongBodies) {
  TestServer server(router_);
  {  // said beforehand: refused without reading, and far too much to be worth draining
    Client client(server.port());
    EXPECT_EQ(client.ask(head("POST", "/echo", "Content-Length: 50000000\r\n")).status, 413);
    EXPECT_TRUE(client.is_closed());
  }
  {  // a client that sends it all the same gets to see the answer
    Client client(server.port());
    client.send(head("POST", "/echo", "Content-Length: 5000000\r\n"));
    client.send(std::string(5'000'000, 'x'));
    EXPECT_EQ(client.read().status, 413);
  }
  {
    Client client(server.port());
    client.send(head("POST", "/echo", "Transfer-Encoding: chunked\r\n"));
    for (int i = 0; i < 20; ++i) client.send("2710\r\n" + std::string(10'000, 'x') + "\r\n");
    EXPECT_EQ(client.read().status, 413);
  }
  // A little too much is drained, and the connection goes on.
  Client client(server.port());
  EXPECT_EQ(client.post("/echo", std::string(kMaxBody + 1, 'x')).status, 413);
  EXPECT_EQ(client.post("/echo", std::string(kMaxBody, 'x')).body.size(), kMaxBody);
}

TEST_F(Bounds, MalformedFramingClosesTheConnection) {
  TestServer server(router_);
  for (const char* fields :
       {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: x\r\n", "Transfer-Encoding: chunked\r\n"}) {
    Client client(server.port());
    client.send(head("POST", "/echo", fields) + "zzz\r\n\r\n" + head("GET", "/health", ""));
    const Answer answer = client.read();
    EXPECT_EQ(answer.status, 400) << fields;
    EXPECT_EQ(answer.field("Connection"), "close");
    EXPECT_NE(answer.body.find("BAD_REQUEST"), answer.body.npos);
    EXPECT_TRUE(client.is_closed()) << fields;  // nothing behind it was taken for a request
  }
  Client client(server.port());
  EXPECT_EQ(client.get("/a%00b").status, 400);
  EXPECT_EQ(Client(server.port()).ask("\x16\x03\x01 garbage\r\n\r\n").status, 400);
}

TEST_F(Bounds, Expect100Continue) {
  TestServer server(router_);
  Client client(server.port());
  client.send(head("POST", "/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read().status, 100);
  client.send("hello");
  EXPECT_EQ(client.read().body, "hello");
  client.send(head("POST", "/upload", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read().status, 100);
  client.send("hello");
  EXPECT_EQ(client.read().body, "5");
  // Refused at once: the body was never asked for, so the connection cannot go on.
  client.send(head("POST", "/echo", "Content-Length: 500000\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read().status, 413);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(Bounds, SlowHeaders) {
  TestServer server(router_, quick());
  Client silent(server.port());
  Client stuck(server.port());
  stuck.send("GET /health HTTP/1.1\r\nHost: loc");
  Client trickling(server.port());  // always a byte in time, but the header as a whole is late
  while (trickling.send("G")) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(stuck.read().status, 408);
  EXPECT_TRUE(stuck.is_closed());
  EXPECT_EQ(silent.read().status, 0);
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(server.becomes_true([](const auto& s) { return s.connections_open == 0; }));
}

TEST_F(Bounds, IdleConnectionsAreClosed) {
  TestServer server(router_, quick());
  Client client(server.port());
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(Bounds, SlowBodies) {
  ServerOptions options = quick();
  options.min_bytes_per_second = 10'000;
  TestServer server(router_, options);
  for (const char* target : {"/echo", "/upload"}) {
    Client stuck(server.port());
    stuck.send(head("POST", target, "Content-Length: 5\r\n") + "he");
    EXPECT_EQ(stuck.read().status, 408) << target;
    EXPECT_TRUE(stuck.is_closed());
    Client trickling(server.port());
    trickling.send(head("POST", target, "Content-Length: 50000\r\n"));
    while (trickling.send("x")) std::this_thread::sleep_for(milliseconds(20));
    EXPECT_TRUE(server.becomes_true([](const auto& s) { return s.connections_open == 0; })) << target;
  }
  EXPECT_EQ(server.statistics().requests_in_flight, 0u);
}

TEST_F(Bounds, SlowReaders) {
  TestServer server(router_, quick());
  Client client(server.port());
  client.send(head("GET", "/download/1000000000", ""));
  EXPECT_TRUE(server.becomes_true([](const auto& s) { return s.requests_total == 1 && s.connections_open == 0; }));
  EXPECT_EQ(counts_.streams_alive, 0);
}

TEST_F(Bounds, TooManyConnections) {
  ServerOptions options;
  options.max_connections = 2;
  TestServer server(router_, options);
  Client one(server.port());
  EXPECT_EQ(one.get("/health").status, 200);
  {
    Client two(server.port());
    EXPECT_EQ(two.get("/health").status, 200);
    Client three(server.port());
    const Answer answer = three.read();
    EXPECT_EQ(answer.status, 503);
    EXPECT_FALSE(answer.field("Retry-After").empty());
    EXPECT_TRUE(three.is_closed());
  }
  ASSERT_TRUE(server.becomes_true([](const auto& s) { return s.connections_open == 1; }));
  EXPECT_EQ(Client(server.port()).get("/health").status, 200);
}

TEST_F(Bounds, TooManyRequestsUnderWay) {
  ServerOptions options;
  options.max_requests_in_flight = 1;
  TestServer server(router_, options);
  Client waiting(server.port());
  waiting.send(head("GET", "/wait", ""));
  ASSERT_TRUE(server.becomes_true([](const auto& s) { return s.requests_in_flight == 1; }));
  Client client(server.port());
  const Answer answer = client.get("/health");
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.field("Retry-After"), "1");
  EXPECT_NE(answer.body.find("REQUEST_LIMIT_EXCEEDED"), answer.body.npos);
  server.call([&] { return gate_.set(1), 0; });
  EXPECT_EQ(waiting.read().body, "waited");
  ASSERT_TRUE(server.becomes_true([](const auto& s) { return s.requests_in_flight == 0; }));
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_EQ(server.statistics().rejected_total, 1u);
}

TEST_F(Bounds, BodiesInMemory) {
  ServerOptions options;
  options.max_body_bytes_in_memory = 150'000;
  TestServer server(router_, options);
  Client one(server.port());
  one.send(head("POST", "/echo", "Content-Length: 90000\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(one.read().status, 100);  // so its body is being waited for
  Client two(server.port());
  EXPECT_EQ(two.post("/echo", std::string(90'000, 'x')).status, 429);
  one.send(std::string(90'000, 'x'));
  EXPECT_EQ(one.read().body.size(), 90'000u);
  EXPECT_EQ(two.post("/echo", std::string(90'000, 'x')).status, 200);
}

TEST_F(Bounds, BodiesThatNobodyReads) {
  TestServer server(router_);
  Client client(server.port());
  EXPECT_EQ(client.post("/ignore", std::string(500'000, 'x')).body, "ignored");
  EXPECT_EQ(client.get("/health").body, "OK");
  const Answer answer = client.ask(head("POST", "/ignore", "Content-Length: 5000000\r\n"));
  EXPECT_EQ(answer.body, "ignored");
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(client.is_closed());
  Client endless(server.port());
  endless.send(head("POST", "/ignore", "Transfer-Encoding: chunked\r\n"));
  const std::string chunk = "10000\r\n" + std::string(65536, 'x') + "\r\n";
  int sent = 0;
  while (sent < 10'000 && endless.send(chunk)) ++sent;
  EXPECT_LT(sent, 10'000);  // cut off long before
}

TEST_F(Bounds, ClientsThatGoAwayFreeEverything) {
  TestServer server(router_);
  for (int i = 0; i < 20; ++i) {
    Client upload(server.port());
    upload.send(head("POST", "/upload", "Content-Length: 1000000\r\n") + "some");
    Client whole(server.port());
    whole.send(head("POST", "/echo", "Content-Length: 1000\r\n") + "some");
    Client download(server.port());
    download.send(head("GET", "/download/1000000000", ""));
    EXPECT_EQ(download.read_head().status, 200);
    Client header(server.port());
    header.send("GET /hea");
  }
  EXPECT_TRUE(server.becomes_true([](const auto& s) { return s.connections_open == 0 && s.requests_in_flight == 0; }));
  EXPECT_TRUE(server.becomes_true([&](const auto&) { return counts_.streams_alive == 0; }));
}

// A line of /proc/self/status, in bytes.
uint64_t memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  }
  return 0;
}

void expect_bounded_memory(uint64_t before) {
#ifndef __SANITIZE_ADDRESS__  // which keeps freed memory back
  EXPECT_LT(memory("VmHWM"), before + 20'000'000);
#else
  (void)before;
#endif
}

uint64_t start_measuring_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";  // sets the high-water mark back
  return memory("VmHWM");
}

TEST_F(Bounds, LongUploadsTakeNoMemory) {
  TestServer server(router_);
  Client client(server.port());
  const uint64_t before = start_measuring_memory();
  client.send(head("POST", "/upload", "Content-Length: " + std::to_string(kHuge) + "\r\n"));
  const std::string piece(1'000'000, 'x');
  for (uint64_t sent = 0; sent < kHuge; sent += piece.size()) ASSERT_TRUE(client.send(piece));
  EXPECT_EQ(client.read().body, std::to_string(kHuge));
  expect_bounded_memory(before);
}

TEST_F(Bounds, LongDownloadsTakeNoMemory) {
  TestServer server(router_);
  Client client(server.port());
  const uint64_t before = start_measuring_memory();
  client.send(head("GET", "/download/" + std::to_string(kHuge), ""));
  EXPECT_EQ(client.read_head().field("Transfer-Encoding"), "chunked");
  uint64_t bytes = 0;
  for (;;) {
    const size_t size = std::stoul(client.take_line(), nullptr, 16);
    ASSERT_EQ(client.take(size).size(), size);
    client.take_line();
    bytes += size;
    if (size == 0) break;
  }
  EXPECT_EQ(bytes, kHuge);
  expect_bounded_memory(before);
}

}  // namespace
}  // namespace cairn::http
