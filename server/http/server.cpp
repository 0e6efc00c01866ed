#include "http/server.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"
#include "http/auth.h"
#include "http/session.h"

namespace cairn::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr int kBacklog = 1024;
constexpr std::chrono::milliseconds kAcceptPause{100};  // after a failure, such as too many open files
constexpr std::chrono::milliseconds kStopPoll{10};

task<> run_session(std::unique_ptr<Session> session) {
  task<> run = session->run();
  co_await run;
}

std::unique_ptr<asio::ssl::context> make_tls(const ServerOptions& options) {
  if (options.tls_certificate.empty() && options.tls_key.empty()) return nullptr;
  if (options.tls_certificate.empty() || options.tls_key.empty()) {
    throw invalid("TLS needs both a certificate and a key: give the other file too");
  }
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  tls->set_options(asio::ssl::context::default_workarounds | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps no buffers
  error_code ec;
  tls->use_certificate_chain_file(options.tls_certificate, ec);
  if (ec) throw invalid("the TLS certificate '" + options.tls_certificate + "' cannot be used: " + ec.message());
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, ec);
  if (ec) throw invalid("the TLS key '" + options.tls_key + "' cannot be used: " + ec.message());
  if (SSL_CTX_check_private_key(tls->native_handle()) != 1)
    throw invalid("the TLS key '" + options.tls_key + "' is not that of the certificate '" + options.tls_certificate +
                  "'");
  return tls;
}

}  // namespace

class Server::Impl : public std::enable_shared_from_this<Server::Impl> {
 public:
  Impl(ServerOptions options, const Router& router, Authenticator* authenticator)
      : shared_(std::make_shared<Shared>(std::move(options), router, authenticator)),
        io_(Reactor::current().io()),
        acceptor_(io_.get_executor()),
        timer_(io_) {}

  void start() {
    check_allowed();
    tls_ = make_tls(shared_->options);
    listen();
    accept_next();
    watch_deadlines();
  }

  task<> stop(std::chrono::seconds grace) {
    stop_accepting();
    for (Session* session : shared_->sessions) {
      if (session->is_idle()) session->stop_waiting();
    }
    const auto deadline = Clock::now() + grace;
    while (!shared_->sessions.empty() && Clock::now() < deadline) co_await sleep_for(kStopPoll);
    close_all();
    // What is left of them ends with its next read or write; a moment for those that were in one.
    co_await sleep_for(kStopPoll);
  }

  // A connection that is open keeps what it began with.
  void reload_tls() { tls_ = make_tls(shared_->options); }

  void abandon() {
    stop_accepting();
    close_all();
  }

  uint16_t port() const {
    error_code ignored;
    return acceptor_.is_open() ? acceptor_.local_endpoint(ignored).port() : port_;
  }
  const ServerStatistics& statistics() const { return shared_->statistics; }

 private:
  void check_allowed() {
    const ServerOptions& options = shared_->options;
    const bool loopback = is_loopback(options.host);
    shared_->check_local = loopback && shared_->authenticator == nullptr && !options.insecure;
    if (loopback || options.insecure) return;
    const char* missing = nullptr;
    if (shared_->authenticator == nullptr) missing = "without credentials";
    if (options.tls_certificate.empty()) missing = missing ? "without credentials and TLS" : "without TLS";
    if (missing == nullptr) return;
    throw invalid(
        "refusing to serve " + options.host + ", which others can reach, " + missing +
        ": configure a token or a user and a TLS certificate with its key, or serve 127.0.0.1, or pass --insecure if "
        "the network itself is trusted");
  }

  void listen() {
    const ServerOptions& options = shared_->options;
    const std::string where = options.host + " port " + std::to_string(options.port);
    error_code ec;
    tcp::resolver resolver(io_);
    const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
    if (ec || found.empty()) throw invalid("cannot serve " + where + ": " + ec.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(kBacklog, ec);
    if (!ec) {
      port_ = acceptor_.local_endpoint().port();
      return;
    }
    error_code ignored;
    acceptor_.close(ignored);
    const char* advice =
        ec == asio::error::address_in_use ? ": is another server running? Stop it or choose another port" : "";
    throw Error(ErrorCode::kTemporarilyUnavailable, "cannot serve " + where + ": " + ec.message() + advice);
  }

  void accept_next() {
    acceptor_.async_accept([self = shared_from_this()](const error_code& ec, Socket socket) {
      if (self->shared_->stopping) return;
      if (!ec) {
        self->admit(std::move(socket));
        self->accept_next();
        return;
      }
      log::warn("a connection could not be accepted: {}", ec.message());
      auto pause = std::make_shared<asio::steady_timer>(self->io_, kAcceptPause);
      pause->async_wait([self, pause](const error_code&) {
        if (!self->shared_->stopping) self->accept_next();
      });
    });
  }

  void admit(Socket socket) {
    if (shared_->sessions.size() >= static_cast<size_t>(shared_->options.max_connections)) {
      ++shared_->statistics.rejected_total;
      turn_away(std::move(socket));
      return;
    }
    auto session = std::make_unique<Session>(shared_, std::move(socket), tls_.get());
    Reactor::current().spawn("http session", run_session(std::move(session)));
  }

  // Without waiting, so that it takes nothing: what the socket does not take at once is lost.
  void turn_away(Socket socket) {
    if (tls_) return;
    const Response response =
        error_response(ErrorCode::kTemporarilyUnavailable, "Too many connections: try again in a moment");
    std::string out;
    append_head(out, response, {.keep_alive = false, .content_length = response.body.size(), .request_id = {}});
    out += response.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(out), ignored);
    socket.shutdown(Socket::shutdown_send, ignored);
    char unread[4096];  // unread bytes would reset the connection, and our answer with it
    socket.read_some(asio::buffer(unread), ignored);
  }

  void watch_deadlines() {
    const ServerOptions& options = shared_->options;
    const auto shortest = std::min({options.header_timeout, options.body_timeout, options.idle_timeout});
    timer_.expires_after(std::clamp(shortest / 8, std::chrono::milliseconds(10), std::chrono::milliseconds(500)));
    timer_.async_wait([self = shared_from_this()](const error_code& ec) {
      if (ec) return;
      const auto now = Clock::now();
      for (Session* session : self->shared_->sessions) session->expire(now);
      self->watch_deadlines();
    });
  }

  void stop_accepting() {
    shared_->stopping = true;
    error_code ignored;
    acceptor_.close(ignored);
  }

  void close_all() {
    for (Session* session : shared_->sessions) session->close();
    timer_.cancel();
  }

  std::shared_ptr<Shared> shared_;
  asio::io_context& io_;
  asio::basic_socket_acceptor<tcp, Executor> acceptor_;
  asio::steady_timer timer_;
  std::unique_ptr<asio::ssl::context> tls_;
  uint16_t port_ = 0;
};

Server::Server(ServerOptions options, const Router& router, Authenticator* authenticator)
    : impl_(std::make_shared<Impl>(std::move(options), router, authenticator)) {}

Server::~Server() { impl_->abandon(); }

void Server::start() { impl_->start(); }
task<> Server::stop(std::chrono::seconds grace) { return impl_->stop(grace); }
uint16_t Server::port() const { return impl_->port(); }
void Server::reload_tls() { impl_->reload_tls(); }
const ServerStatistics& Server::statistics() const { return impl_->statistics(); }

}  // namespace cairn::http
