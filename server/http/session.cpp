#include "http/session.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "http/auth.h"

namespace cairn::http {
namespace {

constexpr size_t kInline = 16u << 10;        // a body up to this is sent in one piece with the head
constexpr uint64_t kMaxDrain = 1u << 20;     // of a body that the handler did not want
constexpr uint64_t kMaxLinger = 256u << 20;  // read and dropped before a close, so that the peer sees our answer
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::seconds kGoodbyeTime{1};  // for a peer's close_notify
constexpr size_t kMaxReserve = 1u << 20;
constexpr int kMaxServedAtOnce = 32;  // pipelined requests before others get their turn
constexpr std::chrono::seconds kSlow{1};

// Lets everything else that is ready run first.
struct Yield {
  Yield() {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const {
    Reactor::current().post([waiter] { waiter.resume(); });
  }
  void await_resume() const noexcept {}
};

// Unique within the process and hard to guess from another's.
std::string new_request_id() {
  static uint64_t next = [] {
    uint64_t seed = 0;
    std::memcpy(&seed, random_bytes(sizeof seed).data(), sizeof seed);
    return seed;
  }();
  next += 0x9e3779b97f4a7c15;  // odd: the sequence visits every value
  return to_hex({reinterpret_cast<const char*>(&next), sizeof next});
}

// A caller's id is taken over when it is short and plain, so that it can stand in a log line.
std::string request_id_of(const Request& request) {
  const std::string_view given = request.header("x-request-id");
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  };
  if (!given.empty() && given.size() <= 64 && std::all_of(given.begin(), given.end(), plain)) return std::string(given);
  return new_request_id();
}

// W3C Trace Context, version 00; "" when it is not that.
std::string traceparent_of(const Request& request) {
  const std::string_view text = request.header("traceparent");
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') return "";
  for (const auto& [at, length] : {std::pair<size_t, size_t>{3, 32}, {36, 16}, {53, 2}}) {
    if (text.substr(at, length).find_first_not_of("0123456789abcdef") != text.npos) return "";
  }
  const auto zero = [&](size_t at, size_t length) {
    return text.substr(at, length).find_first_not_of('0') == text.npos;
  };
  return zero(3, 32) || zero(36, 16) ? "" : std::string(text);
}

void skip(Connection::Pieces& pieces, size_t bytes) {
  for (std::string_view& piece : pieces) {
    const size_t part = std::min(bytes, piece.size());
    piece.remove_prefix(part);
    bytes -= part;
  }
}

void append_chunk_size(std::string& out, size_t size) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
  out.append(digits, end);
  out += "\r\n";
}

// Such a response lasts for as long as somebody listens: its time says nothing of how fast the server is.
bool is_event_stream(const Response& response) { return response.content_type == "text/event-stream"; }

// What the caller's role allows. Of single objects, where there are permissions that override it, handlers decide
// (access::ObjectGuard).
void check_role(const Route& route, std::string_view method, const Caller& caller) {
  const Role needed = required_role(method, route.pattern);
  if (caller.role >= needed) return;
  if (needed == Role::kAdmin)
    throw Error(ErrorCode::kPermissionDenied, "This is for admins, and " + caller.name + " is none");
  if (!caller.account || caller.account->permissions.empty())
    throw Error(ErrorCode::kPermissionDenied, caller.name + " may read here, but change nothing");
}

bool is_empty(const Connection::Pieces& pieces) {
  return std::all_of(pieces.begin(), pieces.end(), [](std::string_view piece) { return piece.empty(); });
}

}  // namespace

Exchange::~Exchange() {
  shared.body_bytes -= charged;
  if (admitted) --shared.statistics.requests_in_flight;
}

void Exchange::admit(bool always) {
  if (!always && shared.statistics.requests_in_flight >= static_cast<uint64_t>(shared.options.max_requests_in_flight)) {
    throw Error(ErrorCode::kRequestLimitExceeded, "The server is busy: try again in a moment");
  }
  ++shared.statistics.requests_in_flight;
  admitted = true;
}

void Exchange::charge(uint64_t bytes) {
  if (bytes <= charged) return;
  if (shared.body_bytes - charged + bytes > shared.options.max_body_bytes_in_memory) {
    throw Error(ErrorCode::kRequestLimitExceeded, "The server holds too many request bodies: try again in a moment");
  }
  shared.body_bytes += bytes - charged;
  charged = bytes;
}

Clock::time_point Patience::deadline(Clock::time_point now) const {
  const std::chrono::duration<double> earned(static_cast<double>(bytes_) / options_.min_bytes_per_second);
  const Clock::duration left = options_.body_timeout + std::chrono::duration_cast<Clock::duration>(earned) - waited_;
  return now + std::min<Clock::duration>(left, options_.body_timeout);
}

// The body of a request on a streaming route; valid until its response was sent.
class Session::Body : public BodyStream {
 public:
  Body(Session& session, uint64_t max_body)
      : session_(session), max_body_(max_body), patience_(session.shared_->options) {}

  task<std::optional<std::string>> next() override {
    std::string piece;
    for (;;) {
      const bool done = session_.take_body(piece);
      if (session_.received_ > max_body_) throw Error(ErrorCode::kPayloadTooLarge, "The body is too long");
      if (!piece.empty()) co_return std::move(piece);
      if (done) co_return std::nullopt;
      task<> more = session_.read_more(patience_);
      co_await more;
    }
  }
  std::optional<uint64_t> size() const override {
    if (session_.reader_.framing().chunked) return std::nullopt;
    return session_.reader_.framing().content_length;
  }

 private:
  Session& session_;
  const uint64_t max_body_;
  Patience patience_;
};

Session::Session(std::shared_ptr<Shared> shared, Socket socket, boost::asio::ssl::context* tls)
    : shared_(std::move(shared)), connection_(std::move(socket), tls), reader_(shared_->options.max_header_bytes) {
  place_ = shared_->sessions.insert(shared_->sessions.end(), this);
  ++shared_->statistics.connections_open;
  ++shared_->statistics.connections_total;
}

Session::~Session() {
  shared_->sessions.erase(place_);
  --shared_->statistics.connections_open;
}

task<> Session::run() {
  if (connection_.is_tls()) {
    Connection::Handshake handshake = connection_.handshake(Clock::now() + shared_->options.header_timeout);
    const bool established = co_await handshake;
    if (!established) co_return;
  }
  bool more = true;
  while (more) {
    task<bool> one = serve_one();
    more = co_await one;
  }
  if (connection_.is_tls() && !lost_) {
    Connection::Goodbye goodbye = connection_.say_goodbye(Clock::now() + kGoodbyeTime);
    co_await goodbye;
  }
  if (linger_ && !lost_) {
    task<> rest = linger();
    co_await rest;
  }
  connection_.close();
}

// Whether another request may follow.
task<bool> Session::serve_one() {
  keep_alive_ = broken_ = continued_ = false;
  received_ = 0;
  Exchange exchange(*shared_);
  std::optional<Response> refusal;
  try {
    task<bool> header = read_header(exchange);
    const bool arrived = co_await header;
    if (!arrived) co_return false;
  } catch (const Error& e) {
    refusal = error_response(e.code(), e.what());
  }
  exchange.start = Clock::now();
  exchange.request.request_id = request_id_of(exchange.request);
  exchange.request.traceparent = traceparent_of(exchange.request);
  ++shared_->statistics.requests_total;
  if (refusal) {
    broken_ = true;
    exchange.response = std::move(*refusal);
  } else {
    task<> answer = respond(exchange);
    co_await answer;
  }
  if (!lost_) {
    keep_alive_ = !broken_ && reader_.framing().keep_alive && !shared_->stopping && can_drain();
    task<> write = write_response(exchange);
    co_await write;
  }
  finish(exchange);
  linger_ = broken_ || !reader_.body_done();
  if (lost_ || !keep_alive_) co_return false;
  if (!reader_.body_done()) {
    task<bool> rest = drain();
    const bool drained = co_await rest;
    if (!drained) co_return false;
  }
  linger_ = false;
  first_ = false;
  reader_.next();
  co_return true;
}

// False when the connection ended, or timed out, between two requests.
task<bool> Session::read_header(Exchange& exchange) {
  auto deadline = Clock::now() + (first_ ? shared_->options.header_timeout : shared_->options.idle_timeout);
  bool begun = false;
  if (reader_.buffered() > 0 && ++served_at_once_ >= kMaxServedAtOnce) {
    served_at_once_ = 0;
    Yield yield;
    co_await yield;
  }
  while (!reader_.read_header(exchange.request)) {
    if (!begun && reader_.started()) {
      begun = true;
      deadline = Clock::now() + shared_->options.header_timeout;
    }
    if (!begun && shared_->stopping) co_return false;
    idle_ = !begun;
    Connection::Read read = connection_.read(reader_.space(), deadline);
    const size_t bytes = co_await read;
    idle_ = false;
    served_at_once_ = 0;
    if (bytes == 0) {
      if (begun && connection_.timed_out()) {
        throw Error(ErrorCode::kRequestTimeout, "The request's header did not arrive in time");
      }
      lost_ = !connection_.timed_out();
      co_return false;
    }
    reader_.commit(bytes);
  }
  co_return true;
}

task<> Session::respond(Exchange& exchange) {
  Router::Match match;
  task<> answer = respond(exchange, match);
  co_await answer;
  exchange.route = match.route;
  const int status = exchange.response.status;
  if ((status == 401 || status == 403 || exchange.too_fast) && shared_->options.on_refusal)
    shared_->options.on_refusal(
        {exchange.request.user, exchange.request.method, match.route == nullptr ? "" : match.route->pattern, status});
}

task<> Session::respond(Exchange& exchange, Router::Match& match) {
  Request& request = exchange.request;
  try {
    if (shared_->check_local && !is_local_request(request)) {
      throw Error(
          ErrorCode::kPermissionDenied,
          "Without credentials only requests to and from this machine are served: their Host, and Origin if there is "
          "one, must be localhost or a loopback address. Configure credentials, or start with --insecure");
    }
    const std::string_view path = raw_path(request.raw_target);
    match = shared_->router.match(request.method, path);
    const bool open = match.route != nullptr && match.route->options.open;
    std::optional<Caller> caller;
    if (shared_->authenticator != nullptr && !open) {
      task<Caller> authenticate = shared_->authenticator->authenticate(request);
      caller = co_await authenticate;
      request.user = caller->name;
    }
    if (!open && (match.route == nullptr || !match.route->options.always) && is_too_fast(exchange)) co_return;
    if (caller && match.route != nullptr) check_role(*match.route, request.method, *caller);
    const Route& route = require_route(match, request.method, path);
    request.captures = std::move(match.captures);
    const uint64_t max_body = route.options.max_body;
    if (reader_.framing().content_length > max_body) {
      throw Error(ErrorCode::kPayloadTooLarge,
                  "The body is longer than the " + std::to_string(max_body) + " bytes allowed here");
    }
    if (route.options.streaming) {
      request.stream = std::make_unique<Body>(*this, max_body);
    } else if (!reader_.body_done()) {
      task<> body = read_body(exchange, max_body);
      co_await body;
    }
    exchange.admit(open || route.options.always);
    task<Response> work = dispatch(route, request);
    exchange.response = co_await work;
    co_return;
  } catch (const Error& e) {
    exchange.response = error_response(e.code(), e.what());
    if (e.code() == ErrorCode::kRequestLimitExceeded) ++shared_->statistics.rejected_total;
  } catch (const std::exception& e) {
    log_failure(request, ErrorCode::kInternalError, e.what());
    exchange.response = error_response(ErrorCode::kInternalError, "Internal error");
    broken_ = true;
  }
  if (!match.allow.empty() && exchange.response.status == 405)
    exchange.response.headers.emplace_back("Allow", match.allow);
}

// Whether the caller makes more requests than it may; then the answer says when to come again.
bool Session::is_too_fast(Exchange& exchange) {
  const int seconds = shared_->rate_limit.seconds_to_wait(exchange.request.user, Clock::now());
  if (seconds == 0) return false;
  exchange.response = error_response(
      ErrorCode::kRequestLimitExceeded,
      "More requests than this server takes from one caller: try again in " + std::to_string(seconds) + " s");
  for (auto& [name, value] : exchange.response.headers)
    if (name == "Retry-After") value = std::to_string(seconds);
  exchange.too_fast = true;
  ++shared_->statistics.rejected_total;
  return true;
}

task<> Session::read_body(Exchange& exchange, uint64_t max_body) {
  std::string& body = exchange.request.body;
  const uint64_t expected = reader_.framing().content_length;
  exchange.charge(expected);
  body.reserve(std::min<uint64_t>(expected, kMaxReserve));
  Patience patience(shared_->options);
  for (;;) {
    const bool done = take_body(body);
    if (body.size() > max_body) {
      throw Error(ErrorCode::kPayloadTooLarge,
                  "The body is longer than the " + std::to_string(max_body) + " bytes allowed here");
    }
    exchange.charge(body.size());
    if (done) co_return;
    task<> more = read_more(patience);
    co_await more;
  }
}

// Appends what has arrived; whether the body is complete. After an error there is no reading on.
bool Session::take_body(std::string& out) {
  if (broken_) throw Error(ErrorCode::kBadRequest, "The request's body broke off");
  const size_t before = out.size();
  try {
    const bool done = reader_.read_body(out);
    received_ += out.size() - before;
    return done;
  } catch (...) {
    broken_ = true;
    throw;
  }
}

task<> Session::read_more(Patience& patience) {
  if (reader_.framing().expects_continue && !continued_) {
    continued_ = true;
    if (received_ == 0) {
      task<bool> write = write_all({"HTTP/1.1 100 Continue\r\n\r\n", {}, {}}, patience, true);
      co_await write;
    }
  }
  const auto before = Clock::now();
  Connection::Read read = connection_.read(reader_.space(), patience.deadline(before));
  const size_t bytes = co_await read;
  patience.moved(bytes, Clock::now() - before);
  if (bytes == 0) {
    broken_ = true;
    if (connection_.timed_out()) throw Error(ErrorCode::kRequestTimeout, "The request's body did not arrive in time");
    lost_ = true;
    throw Error(ErrorCode::kBadRequest, "The request's body broke off");
  }
  reader_.commit(bytes);
}

// Whether the rest of the body, if any, is short enough to be read and dropped for the sake of the connection.
bool Session::can_drain() const {
  const Framing& framing = reader_.framing();
  if (reader_.body_done()) return true;
  if (framing.expects_continue && !continued_) return false;  // the peer may or may not send it now
  return framing.chunked || framing.content_length - received_ <= kMaxDrain;
}

task<bool> Session::drain() {
  Patience patience(shared_->options);
  const uint64_t limit = received_ + kMaxDrain;
  std::string dropped;
  try {
    for (;;) {
      dropped.clear();
      if (take_body(dropped)) co_return true;
      if (received_ > limit) co_return false;
      task<> more = read_more(patience);
      co_await more;
    }
  } catch (const Error&) {
    co_return false;
  }
}

// Closing a socket with unread bytes resets the connection, and the peer may lose our last answer: so read on a while.
task<> Session::linger() {
  connection_.finish_sending();
  const auto deadline = Clock::now() + std::min<Clock::duration>(kLingerTime, shared_->options.body_timeout);
  std::string dropped(kInline, '\0');
  for (uint64_t total = 0; total < kMaxLinger;) {
    Connection::Read read = connection_.read(dropped, deadline);
    const size_t bytes = co_await read;
    if (bytes == 0) co_return;
    total += bytes;
  }
}

task<> Session::write_response(Exchange& exchange) {
  Response& response = exchange.response;
  const bool is_head = exchange.request.method == "HEAD";
  std::optional<std::string> first;
  if (response.stream && !is_head) {
    task<std::optional<std::string>> piece = first_piece(exchange);
    first = co_await piece;
  }
  HeadOptions head;
  head.http_1_1 = reader_.framing().http_1_1;
  head.request_id = exchange.request.request_id;
  const bool bodiless = response.status == 204 || response.status == 304;
  if (response.stream) {
    head.content_length = response.stream->size();
    head.chunked = !head.content_length && head.http_1_1;
    keep_alive_ = keep_alive_ && (head.content_length || head.chunked);
  } else if (!bodiless) {
    head.content_length = response.body.size();
  }
  head.keep_alive = keep_alive_;
  out_.clear();
  append_head(out_, response, head);
  if (response.stream && !is_head) {
    task<> stream = write_stream(exchange, std::move(first), head.chunked);
    co_await stream;
    co_return;
  }
  std::string_view body = response.body;
  if (bodiless || is_head) body = {};
  if (body.size() <= kInline) {
    out_ += body;
    body = {};
  }
  Patience patience(shared_->options);
  task<bool> write = write_all({out_, body, {}}, patience, true);
  co_await write;
}

// Asked for before the head is written, so that a stream that fails at once is answered with its error.
task<std::optional<std::string>> Session::first_piece(Exchange& exchange) {
  try {
    task<std::optional<std::string>> next = exchange.response.stream->next();
    co_return co_await next;
  } catch (const Error& e) {
    log_failure(exchange.request, e.code(), e.what());
    exchange.response = error_response(e.code(), e.what());
  } catch (const std::exception& e) {
    log_failure(exchange.request, ErrorCode::kInternalError, e.what());
    exchange.response = error_response(ErrorCode::kInternalError, "Internal error");
  }
  co_return std::nullopt;
}

// Sends out_ (the head) and the pieces. What cannot be sent as promised ends the connection: the client sees it cut
// short.
task<> Session::write_stream(Exchange& exchange, std::optional<std::string> piece, bool chunked) {
  BodyStream& stream = *exchange.response.stream;
  const std::optional<uint64_t> size = stream.size();
  Patience patience(shared_->options);
  uint64_t sent = 0;
  try {
    while (piece) {
      sent += piece->size();
      if (size && sent > *size) throw Error(ErrorCode::kInternalError, "the stream is longer than it said");
      if (!piece->empty()) {
        if (chunked) append_chunk_size(out_, piece->size());
        const std::string_view end = chunked ? "\r\n" : "";
        task<bool> write = write_all({out_, *piece, end}, patience, false);
        const bool written = co_await write;
        if (!written) co_return;
        out_.clear();
      }
      task<std::optional<std::string>> next = stream.next();
      piece = co_await next;
    }
    if (size && sent < *size) throw Error(ErrorCode::kInternalError, "the stream is shorter than it said");
    if (chunked) out_ += "0\r\n\r\n";
    task<bool> write = write_all({out_, {}, {}}, patience, true);
    co_await write;
  } catch (const std::exception& e) {
    const std::string what = "a response broke off after " + std::to_string(sent) + " bytes: " + e.what();
    log_failure(exchange.request, ErrorCode::kInternalError, what);
    lost_ = true;
  }
}

// Whether all was written. `at_once`: try without waiting for the socket first, which saves a turn of the event loop.
task<bool> Session::write_all(Connection::Pieces pieces, Patience& patience, bool at_once) {
  if (at_once) skip(pieces, connection_.write_now(pieces));
  while (!is_empty(pieces)) {
    const auto before = Clock::now();
    Connection::Write write = connection_.write(pieces, patience.deadline(before));
    const size_t bytes = co_await write;
    patience.moved(bytes, Clock::now() - before);
    if (bytes == 0) {
      lost_ = true;
      co_return false;
    }
    skip(pieces, bytes);
  }
  co_return true;
}

void Session::finish(const Exchange& exchange) {
  const auto& on_change = shared_->options.on_change;
  if (on_change && exchange.route != nullptr && exchange.response.status < 400 &&
      !only_reads(exchange.request.method, exchange.route->pattern))
    on_change(*exchange.route, exchange.request, exchange.response);
  const Clock::duration took = Clock::now() - exchange.start;
  const double seconds = std::chrono::duration<double>(took).count();
  ServerStatistics& statistics = shared_->statistics;
  const int status = exchange.response.status;
  if (status >= 100 && status < 600) ++statistics.responses_by_class[status / 100];
  if (is_event_stream(exchange.response)) return;
  statistics.duration_sum += seconds;
  constexpr size_t kBuckets = std::size(ServerStatistics::kBounds);
  for (size_t i = 0; i < kBuckets; ++i) {
    if (seconds <= ServerStatistics::kBounds[i]) ++statistics.duration_buckets[i];
  }
  ++statistics.duration_buckets[kBuckets];
  const auto level = took >= kSlow ? spdlog::level::info : spdlog::level::debug;
  if (!spdlog::should_log(level)) return;
  // Without the query, which may hold secrets.
  const Request& request = exchange.request;
  log::event(level, "request",
             {{"method", request.method},
              {"path", raw_path(request.raw_target)},
              {"status", status},
              {"ms", double(std::lround(seconds * 1e6)) / 1000},
              {"request_id", request.request_id},
              {"traceparent", request.traceparent},
              {"broken_off", lost_ ? "true" : ""}});
}

}  // namespace cairn::http
