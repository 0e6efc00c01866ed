// The HTTP/1.1 server: accepts connections on the reactor's thread, parses with Beast, calls the router.
//
// Bounds, so that no client can make the server grow: open connections, header bytes, body bytes, time for a header,
// time between two pieces of a body, requests under way and bytes of bodies in memory (429 beyond). Malformed framing
// closes the connection after a 400.
//
// Threads: reactor only. The reactor must outlive the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/router.h"

namespace cairn::http {

// A request that was not let in: 401, 403, or 429 for a caller who makes too many.
struct Refusal {
  std::string actor;  // empty: nobody that is known
  std::string method;
  std::string pattern;  // of the route; empty: there is none
  int status = 0;
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 5000;  // 0: any free port, see Server::port()
  // PEM files; TLS when both are given.
  std::string tls_certificate;
  std::string tls_key;
  // Serve an address that is not loopback without credentials or TLS, and any Host on loopback.
  bool insecure = false;
  // Is told of each refusal, on the reactor's thread. Must not wait.
  std::function<void(Refusal)> on_refusal;
  // Is told, likewise, of each request that may have changed something and did not fail, once it was answered. A
  // response that was streamed is spent by then.
  std::function<void(const Route&, const Request&, const Response&)> on_change;
  // Requests a second of each caller; 0: any number.
  double rate_limit = 0;
  int max_connections = 4096;
  int max_requests_in_flight = 1024;
  uint64_t max_body_bytes_in_memory = 256u << 20;  // of all requests together; streamed bodies do not count
  uint32_t max_header_bytes = 64u << 10;
  // Deadlines are looked at a few times a second: an operation may last a little longer.
  std::chrono::milliseconds header_timeout = std::chrono::seconds(15);
  std::chrono::milliseconds body_timeout =
      std::chrono::seconds(30);  // between two reads of a body, or writes of a response
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(120);  // between two requests of a connection
  // Whoever has kept the server waiting for longer than body_timeout must have moved this many bytes for each second of
  // it.
  uint32_t min_bytes_per_second = 1024;
};

// Counters for /metrics. Written on the reactor's thread only.
struct ServerStatistics {
  uint64_t connections_open = 0;
  uint64_t connections_total = 0;
  uint64_t requests_total = 0;
  uint64_t requests_in_flight = 0;
  uint64_t rejected_total = 0;
  uint64_t responses_by_class[6] = {};  // [4] counts 4xx
  // Histogram of seconds by upper bound, cumulative as Prometheus has it.
  static constexpr double kBounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  uint64_t duration_buckets[15] = {};
  double duration_sum = 0;
};

class Authenticator;

class Server {
 public:
  // `authenticator` may be null: then nothing is asked of a client but, on loopback, a Host and Origin that are local.
  // On another address start() then refuses, as it does without TLS, unless options.insecure. Both must outlive the
  // server.
  Server(ServerOptions options, const Router& router, Authenticator* authenticator);
  ~Server();

  // Binds and listens; throws Error when the address is taken or not allowed. Then serves until stop().
  void start();
  // Stops accepting, closes idle connections, lets requests under way finish for at most `grace`, then closes.
  task<> stop(std::chrono::seconds grace);
  uint16_t port() const;
  // Reads the certificate and the key again, for the connections from now on. Throws Error, and goes on with those that
  // it has, when they cannot be used.
  void reload_tls();
  const ServerStatistics& statistics() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cairn::http
