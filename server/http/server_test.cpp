// The server over real sockets: what a client sees of ordinary requests. Its bounds are in bounds_test.cpp.
#include "http/server.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>

#include "base/bytes.h"
#include "base/testing.h"
#include "http/auth.h"
#include "http/testing.h"

namespace cairn::http {
namespace {

using std::chrono::seconds;
using testing::Answer;
using testing::Client;
using testing::TestServer;

class Pieces : public BodyStream {
 public:
  Pieces(std::vector<std::string> pieces, std::optional<uint64_t> size, bool fails = false)
      : pieces_(std::move(pieces)), size_(size), fails_(fails) {}
  task<std::optional<std::string>> next() override {
    if (at_ < pieces_.size()) co_return pieces_[at_++];
    if (fails_) throw Error(ErrorCode::kResourceDoesNotExist, "the file is gone");
    co_return std::nullopt;
  }
  std::optional<uint64_t> size() const override { return size_; }

 private:
  std::vector<std::string> pieces_;
  std::optional<uint64_t> size_;
  bool fails_;
  size_t at_ = 0;
};

Handler stream(std::vector<std::string> pieces, std::optional<uint64_t> size, bool fails = false) {
  return [=](Request&) -> task<Response> {
    Response response;
    response.content_type = "application/octet-stream";
    response.stream = std::make_unique<Pieces>(pieces, size, fails);
    co_return response;
  };
}

const Router& router() {
  static const Router* made = [] {
    auto* routes = new Router;
    RouteOptions open;
    open.open = true;
    routes->add(
        "GET", "/health", [](Request&) -> task<Response> { co_return text_response("OK"); }, open);
    routes->add("GET", "/who", [](Request& request) -> task<Response> { co_return text_response(request.user); });
    routes->add("POST", "/echo", [](Request& request) -> task<Response> { co_return text_response(request.body); });
    routes->add("GET", "/fails", [](Request&) -> task<Response> { throw std::runtime_error("secret detail"); });
    routes->add("GET", "/missing", [](Request&) -> task<Response> { throw not_found("No run 'x'"); });
    routes->add("GET", "/trace",
                [](Request& request) -> task<Response> { co_return text_response(request.traceparent); });
    routes->add("GET", "/empty", [](Request&) -> task<Response> {
      Response response;
      response.status = 204;
      co_return response;
    });
    routes->add("GET", "/chunked", stream({"one", "", "two"}, std::nullopt));
    routes->add("GET", "/sized", stream({"one", "two"}, 6));
    routes->add("GET", "/short", stream({"one"}, 6));
    routes->add("GET", "/long", stream({"one", "two"}, 4));
    routes->add("GET", "/gone", stream({}, std::nullopt, true));
    routes->add("GET", "/cut", stream({"one"}, std::nullopt, true));
    return routes;
  }();
  return *made;
}

TEST(Server, KeepsConnectionsAlive) {
  TestServer server(router());
  Client client(server.port());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = client.get("/health");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "OK");
    EXPECT_EQ(answer.field("Connection"), "");
    EXPECT_FALSE(answer.field("Date").empty());
  }
  EXPECT_EQ(client.get("/health", "Connection: close\r\n").field("Connection"), "close");
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(server.statistics().connections_total, 1u);
  EXPECT_EQ(server.statistics().requests_total, 4u);
  EXPECT_EQ(server.statistics().duration_buckets[14], 4u);
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  TestServer server(router());
  Client client(server.port());
  std::string requests;
  for (int i = 0; i < 500; ++i) {
    const std::string body = "body " + std::to_string(i);
    requests +=
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.read().body, "body " + std::to_string(i));
}

TEST(Server, ErrorsHaveMlflowsBody) {
  TestServer server(router());
  Client client(server.port());
  Answer answer = client.get("/missing");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No run 'x'"})");
  EXPECT_EQ(answer.field("Content-Type"), "application/json");
  answer = client.get("/nowhere");
  EXPECT_EQ(answer.status, 404);
  EXPECT_NE(answer.body.find("ENDPOINT_NOT_FOUND"), answer.body.npos);
  answer = client.get("/fails");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body.find("secret"), answer.body.npos);
  EXPECT_NE(answer.body.find(answer.field("X-Request-Id")), answer.body.npos);
}

TEST(Server, Methods) {
  TestServer server(router());
  Client client(server.port());
  Answer answer = client.ask("DELETE /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.field("Allow"), "POST");
  EXPECT_EQ(client.ask("BREW /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 501);
  client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  answer = client.read(false);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("Content-Length"), "2");
  client.send("HEAD /sized HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read(false).field("Content-Length"), "6");
  EXPECT_EQ(client.get("/empty").status, 204);
  EXPECT_EQ(client.get("/health").body, "OK");
}

TEST(Server, Http10) {
  TestServer server(router());
  {
    Client client(server.port());
    const Answer answer = client.ask("GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(answer.body, "OK");
    EXPECT_TRUE(client.is_closed());
  }
  {
    Client client(server.port());
    const std::string request = "GET /health HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n";
    EXPECT_EQ(client.ask(request).field("Connection"), "keep-alive");
    EXPECT_EQ(client.ask(request).body, "OK");
  }
  Client client(server.port());
  const Answer answer = client.ask("GET /chunked HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(answer.field("Transfer-Encoding"), "");
  EXPECT_EQ(answer.body, "onetwo");
}

TEST(Server, StreamedResponses) {
  TestServer server(router());
  Client client(server.port());
  EXPECT_EQ(client.get("/chunked").body, "onetwo");
  EXPECT_EQ(client.get("/sized").body, "onetwo");
  const Answer gone = client.get("/gone");  // fails before its first byte: an ordinary error
  EXPECT_EQ(gone.status, 404);
  EXPECT_NE(gone.body.find("the file is gone"), gone.body.npos);
  EXPECT_EQ(client.get("/health").body, "OK");
  for (const char* target : {"/short", "/long", "/cut"}) {
    Client victim(server.port());
    EXPECT_EQ(victim.get(target).status, 0) << target;  // the client can tell
  }
}

TEST(Server, RequestIdsAndTraces) {
  TestServer server(router());
  Client client(server.port());
  const std::string first = client.get("/health").field("X-Request-Id");
  EXPECT_EQ(first.size(), 16u);
  EXPECT_NE(client.get("/health").field("X-Request-Id"), first);
  EXPECT_EQ(client.get("/health", "X-Request-Id: abc-1\r\n").field("X-Request-Id"), "abc-1");
  EXPECT_EQ(client.get("/health", "X-Request-Id: a b\r\n").field("X-Request-Id").size(), 16u);
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(client.get("/trace", "traceparent: " + trace + "\r\n").body, trace);
  EXPECT_EQ(client.get("/trace", "traceparent: 00-0-0-01\r\n").body, "");
  EXPECT_EQ(client.get("/trace", "traceparent: 00-" + std::string(32, '0') + "-b7ad6b7169203331-01\r\n").body, "");
}

TEST(Server, OnlyLocalRequestsWithoutCredentials) {
  TestServer server(router());
  Client client(server.port());
  EXPECT_EQ(client.ask("GET /who HTTP/1.1\r\nHost: evil.example:5000\r\n\r\n").status, 403);
  EXPECT_EQ(client.get("/who", "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(client.ask("GET http://evil.example/who HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 403);
  EXPECT_EQ(client.get("/who", "Origin: http://localhost:3000\r\n").status, 200);
  ServerOptions insecure;
  insecure.insecure = true;
  TestServer trusting(router(), insecure);
  EXPECT_EQ(Client(trusting.port()).ask("GET /who HTTP/1.1\r\nHost: evil.example:5000\r\n\r\n").status, 200);
}

TEST(Server, AsksForCredentials) {
  Authenticator authenticator({.tokens = {{"ci", sha256_hex("t0k3n")}}, .users = {}});
  TestServer server(router(), {}, &authenticator);
  Client client(server.port());
  const Answer answer = client.get("/who");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.field("WWW-Authenticate"), "Basic realm=\"cairn\"");
  EXPECT_NE(answer.body.find("UNAUTHENTICATED"), answer.body.npos);
  EXPECT_EQ(client.get("/nowhere").status, 401);
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_EQ(client.get("/who", "Authorization: Bearer t0k3n\r\n").body, "ci");
}

std::string refusal(ServerOptions options, Authenticator* authenticator) {
  Reactor reactor;
  options.port = 0;
  Server server(options, router(), authenticator);
  try {
    server.start();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Server, RefusesToServeOthersUnprotected) {
  Authenticator authenticator({.tokens = {{"ci", sha256_hex("t0k3n")}}, .users = {}});
  ServerOptions options;
  options.host = "0.0.0.0";
  EXPECT_NE(refusal(options, nullptr).find("without credentials and TLS"), std::string::npos);
  EXPECT_NE(refusal(options, &authenticator).find("without TLS"), std::string::npos);
  options.insecure = true;
  EXPECT_EQ(refusal(options, nullptr), "");
}

TEST(Server, SaysThatThePortIsTaken) {
  TestServer server(router());
  Reactor reactor;
  ServerOptions options;
  options.port = server.port();
  Server second(options, router(), nullptr);
  try {
    second.start();
    FAIL() << "the port is taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kTemporarilyUnavailable);
    EXPECT_NE(std::string(e.what()).find("is another server running?"), std::string::npos);
  }
}

TEST(Server, ServesAHundredConnectionsAtOnce) {
  TestServer server(router());
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) clients.emplace_back(server.port());
  for (int round = 0; round < 20; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      const std::string body = std::to_string(round) + "/" + std::to_string(i);
      clients[i].send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
                      "\r\n\r\n" + body);
    }
    for (size_t i = 0; i < clients.size(); ++i) {
      ASSERT_EQ(clients[i].read().body, std::to_string(round) + "/" + std::to_string(i));
    }
  }
  EXPECT_EQ(server.statistics().connections_open, 100u);
}

TEST(Server, StopsGracefully) {
  OneShot<int> gate;
  Router routes;
  routes.add("GET", "/wait", [&](Request&) -> task<Response> {
    co_await gate.wait();
    co_return text_response("done");
  });
  TestServer server(routes);
  Client idle(server.port());
  Client waiting(server.port());
  waiting.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_TRUE(server.becomes_true([](const auto& s) { return s.requests_in_flight == 1 && s.connections_open == 2; }));
  std::thread stopping([&] { server.stop(seconds(10)); });
  while (Client(server.port()).connected()) std::this_thread::yield();
  server.call([&] { return gate.set(1), 0; });
  stopping.join();
  const Answer answer = waiting.read();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(idle.is_closed());
  EXPECT_FALSE(Client(server.port()).connected());
}

// A self-signed certificate and its key, in files that go away with it.
class Certificate {
 public:
  Certificate() {
    EVP_PKEY* key = EVP_RSA_gen(2048);
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    std::FILE* file = std::fopen(certificate_file().c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen(key_file().c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  std::string certificate_file() const { return folder_ + "/certificate.pem"; }
  std::string key_file() const { return folder_ + "/key.pem"; }

 private:
  testing_support::TemporaryDirectory temporary_;
  const std::string folder_ = temporary_.path();
};

// What the server answers over TLS of at most the version given; "" when no session comes about.
std::string ask_over_tls(uint16_t port, int max_version, const std::string& request, size_t length) {
  Client client(port);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);  // or the client itself refuses the old versions
  SSL_CTX_set_max_proto_version(context, max_version);
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, client.fd());
  std::string answer;
  if (SSL_connect(tls) == 1) {
    for (size_t at = 0; at < request.size();) {
      const int written =
          SSL_write(tls, request.data() + at, static_cast<int>(std::min<size_t>(request.size() - at, 16384)));
      if (written <= 0) break;
      at += static_cast<size_t>(written);
    }
    char bytes[16384];
    int count = 0;
    while (answer.size() < length && (count = SSL_read(tls, bytes, sizeof bytes)) > 0)
      answer.append(bytes, static_cast<size_t>(count));
  }
  SSL_free(tls);
  SSL_CTX_free(context);
  return answer;
}

TEST(Server, ServesOverTls) {
  const Certificate certificate;
  ServerOptions options;
  options.tls_certificate = certificate.certificate_file();
  options.tls_key = certificate.key_file();
  TestServer server(router(), options);
  const std::string body(3'000'000, 'x');
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const std::string answer = ask_over_tls(server.port(), version, request, body.size() + 100);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + body));
  }
  EXPECT_EQ(ask_over_tls(server.port(), TLS1_1_VERSION, request, 1), "");
  EXPECT_EQ(Client(server.port()).get("/health").status, 0);
  EXPECT_TRUE(server.becomes_true([](const auto& s) { return s.connections_open == 0; }));
}

// Sends a request for /health, reads the answer, lets `then` happen, and says whether the session ends as TLS wants it:
// without that, a client cannot tell the end from a cut.
template <class Then>
bool ends_with_close_notify(uint16_t port, const std::string& fields, Then then) {
  Client client(port);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, client.fd());
  bool notified = false;
  const std::string request = "GET /health HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
  if (SSL_connect(tls) == 1 && SSL_write(tls, request.data(), static_cast<int>(request.size())) > 0) {
    std::string answer;
    char bytes[4096];
    int count = 1;
    while (!answer.ends_with("OK") && (count = SSL_read(tls, bytes, sizeof bytes)) > 0)
      answer.append(bytes, static_cast<size_t>(count));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200"));
    then();
    count = SSL_read(tls, bytes, sizeof bytes);
    notified = SSL_get_error(tls, count) == SSL_ERROR_ZERO_RETURN;
    SSL_shutdown(tls);
  }
  SSL_free(tls);
  SSL_CTX_free(context);
  return notified;
}

TEST(Server, EndsTlsWithCloseNotify) {
  const Certificate certificate;
  ServerOptions options;
  options.tls_certificate = certificate.certificate_file();
  options.tls_key = certificate.key_file();
  TestServer server(router(), options);
  EXPECT_TRUE(ends_with_close_notify(server.port(), "Connection: close\r\n", [] {}));
  options.idle_timeout = std::chrono::milliseconds(50);
  TestServer impatient(router(), options);
  EXPECT_TRUE(ends_with_close_notify(impatient.port(), "", [] {}));
  std::thread stopping;
  EXPECT_TRUE(ends_with_close_notify(server.port(), "",
                                     [&] { stopping = std::thread([&] { server.stop(std::chrono::seconds(5)); }); }));
  stopping.join();
}

TEST(Server, RefusesTlsFilesThatDoNotFit) {
  const Certificate one;
  const Certificate other;
  ServerOptions options;
  options.tls_certificate = one.certificate_file();
  EXPECT_NE(refusal(options, nullptr).find("needs both"), std::string::npos);
  options.tls_key = other.key_file();
  EXPECT_NE(refusal(options, nullptr).find("key values mismatch"), std::string::npos);
  options.tls_key = "/nowhere.pem";
  EXPECT_NE(refusal(options, nullptr).find("'/nowhere.pem'"), std::string::npos);
}

}  // namespace
}  // namespace cairn::http
