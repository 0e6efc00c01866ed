// One accepted socket, plain or TLS, with awaitable reads and writes that all have a deadline. Includes Asio: only for
// server.cpp and session.cpp.
//
// There is no timer per operation: the server looks at every connection's deadline a few times a second (expire()) and
// cancels what is late. The operation then ends with an error and timed_out() says why.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <chrono>
#include <coroutine>
#include <memory>
#include <span>
#include <string_view>

#include "base/task.h"

namespace cairn::http {

using Clock = std::chrono::steady_clock;
using Executor = boost::asio::io_context::executor_type;
using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
using TlsStream = boost::asio::ssl::stream<Socket&>;

class Connection {
 public:
  // `tls` may be null; it must outlive the connection.
  Connection(Socket socket, boost::asio::ssl::context* tls);

  bool is_tls() const { return tls_ != nullptr; }
  // The operation under way, if any, is cancelled when it is past its deadline.
  void expire(Clock::time_point now);
  bool timed_out() const { return timed_out_; }
  // Ends whatever is under way. Safe to call at any time, several times.
  void close();
  // Tells the peer that nothing more will come.
  void finish_sending();

  class Read;
  class Handshake;
  class Write;
  class Goodbye;
  // co_await: the number of bytes read, 0 at the end, on an error and after the deadline.
  Read read(std::span<char> space, Clock::time_point deadline);
  // co_await: whether it succeeded.
  Handshake handshake(Clock::time_point deadline);

  // TLS: tells the peer that nothing more will come, so that it can tell the end from a cut, and waits for its answer.
  Goodbye say_goodbye(Clock::time_point deadline);

  // Up to three buffers, sent as one.
  using Pieces = std::array<std::string_view, 3>;
  // What the socket takes at once, without waiting: may be nothing. Plain sockets only; 0 for TLS.
  size_t write_now(const Pieces& pieces);
  // co_await: the number of bytes written, at least one; 0 on an error and after the deadline.
  Write write(const Pieces& pieces, Clock::time_point deadline);

 private:
  // The result of an operation under way, and its deadline.
  class Operation {
   public:
    Operation(Connection& connection, Clock::time_point deadline) : connection_(connection), deadline_(deadline) {}
    Operation(const Operation&) = delete;  // what is pending points at it
    Operation& operator=(const Operation&) = delete;
    bool await_ready() const noexcept { return false; }

   protected:
    struct Done {
      Operation* operation;
      std::coroutine_handle<> waiter;
      void operator()(const boost::system::error_code& ec, size_t bytes = 0) const {
        operation->ec_ = ec;
        operation->bytes_ = bytes;
        operation->connection_.deadline_ = Clock::time_point::max();
        waiter.resume();
      }
    };
    Done begin(std::coroutine_handle<> waiter) {
      connection_.timed_out_ = false;
      connection_.deadline_ = deadline_;
      return {this, waiter};
    }
    Connection& connection_;
    Clock::time_point deadline_;
    boost::system::error_code ec_;
    size_t bytes_ = 0;
  };

  Socket socket_;
  std::unique_ptr<TlsStream> tls_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timed_out_ = false;
};

class Connection::Read : public Operation {
 public:
  Read(Connection& connection, std::span<char> space, Clock::time_point deadline)
      : Operation(connection, deadline), space_(space) {}
  void await_suspend(std::coroutine_handle<> waiter);
  size_t await_resume() const noexcept { return ec_ ? 0 : bytes_; }

 private:
  std::span<char> space_;
};

class Connection::Handshake : public Operation {
 public:
  using Operation::Operation;
  void await_suspend(std::coroutine_handle<> waiter);
  bool await_resume() const noexcept { return !ec_; }
};

class Connection::Goodbye : public Operation {
 public:
  using Operation::Operation;
  void await_suspend(std::coroutine_handle<> waiter);
  void await_resume() const noexcept {}
};

class Connection::Write : public Operation {
 public:
  Write(Connection& connection, const Pieces& pieces, Clock::time_point deadline)
      : Operation(connection, deadline), pieces_(pieces) {}
  void await_suspend(std::coroutine_handle<> waiter);
  size_t await_resume() const noexcept { return ec_ ? 0 : bytes_; }

 private:
  Pieces pieces_;
};

}  // namespace cairn::http
