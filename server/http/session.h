// One connection's life: requests in, responses out, one after the other, under every bound of the server. Includes
// Asio (by connection.h): only for server.cpp and session.cpp.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "http/connection.h"
#include "http/rate_limit.h"
#include "http/request_reader.h"
#include "http/response_head.h"
#include "http/router.h"
#include "http/server.h"

namespace cairn::http {

class Session;

// What all sessions of a server share. Lives until the last of them has ended.
struct Shared {
  Shared(ServerOptions server_options, const Router& server_router, Authenticator* server_authenticator)
      : options(std::move(server_options)),
        router(server_router),
        authenticator(server_authenticator),
        rate_limit(options.rate_limit) {}

  const ServerOptions options;
  const Router& router;
  Authenticator* const authenticator;
  RateLimit rate_limit;
  bool check_local = false;  // Host and Origin must name this machine
  bool stopping = false;
  ServerStatistics statistics;
  uint64_t body_bytes = 0;  // of whole bodies in memory
  std::list<Session*> sessions;
};

// A request under way and its answer. Gives back what it took of the server's bounds.
struct Exchange {
  explicit Exchange(Shared& owner) : shared(owner) {}
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // Counts the request as under way; throws Error(kRequestLimitExceeded) when there are too many.
  void admit(bool always);
  // Counts `bytes`, in all, of its body; throws likewise.
  void charge(uint64_t bytes);

  Shared& shared;
  Request request;
  Response response;  // after the request: its stream may read the request's
  const Route* route = nullptr;
  Clock::time_point start;
  bool admitted = false;
  bool too_fast = false;  // refused for its caller's rate
  uint64_t charged = 0;
};

// How long to wait for a peer in the middle of a message: a pause is bounded, and so is the whole for the bytes moved.
class Patience {
 public:
  explicit Patience(const ServerOptions& options) : options_(options) {}
  Clock::time_point deadline(Clock::time_point now) const;
  void moved(size_t bytes, Clock::duration waited) { bytes_ += bytes, waited_ += waited; }

 private:
  const ServerOptions& options_;
  uint64_t bytes_ = 0;
  Clock::duration waited_{0};
};

class Session {
 public:
  Session(std::shared_ptr<Shared> shared, Socket socket, boost::asio::ssl::context* tls);
  ~Session();

  task<> run();
  void expire(Clock::time_point now) { connection_.expire(now); }
  void close() { connection_.close(); }
  // Ends the wait for another request.
  void stop_waiting() { connection_.expire(Clock::time_point::max()); }
  bool is_idle() const { return idle_; }

 private:
  class Body;

  task<bool> serve_one();
  task<bool> read_header(Exchange& exchange);
  task<> respond(Exchange& exchange);
  task<> respond(Exchange& exchange, Router::Match& match);
  bool is_too_fast(Exchange& exchange);
  task<> read_body(Exchange& exchange, uint64_t max_body);
  bool take_body(std::string& out);
  task<> read_more(Patience& patience);
  bool can_drain() const;
  task<bool> drain();
  task<> linger();

  task<> write_response(Exchange& exchange);
  task<std::optional<std::string>> first_piece(Exchange& exchange);
  task<> write_stream(Exchange& exchange, std::optional<std::string> piece, bool chunked);
  task<bool> write_all(Connection::Pieces pieces, Patience& patience, bool at_once);
  void finish(const Exchange& exchange);

  std::shared_ptr<Shared> shared_;
  std::list<Session*>::iterator place_;
  Connection connection_;
  RequestReader reader_;
  std::string out_;         // the response's head, and what goes out with it
  bool first_ = true;       // no request was served yet
  bool idle_ = false;       // waits for a request's first byte
  bool keep_alive_ = true;  // after this response
  bool broken_ = false;     // the request cannot be read any further
  bool lost_ = false;       // the peer is gone
  bool linger_ = false;     // the peer may still be sending
  bool continued_ = false;  // 100 Continue was sent
  uint64_t received_ = 0;   // of this request's body
  int served_at_once_ = 0;  // requests since the last wait
};

}  // namespace cairn::http
