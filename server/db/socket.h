// libpq's socket in the reactor. Includes Asio: only for connection.cpp and copy.cpp.
#pragma once

#include <fcntl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <coroutine>
#include <cstring>
#include <string>

#include "base/reactor.h"
#include "db/statement.h"

namespace cairn::db {

// A descriptor of its own: libpq closes its one as soon as it finds the connection broken, and the next file or
// connection that is opened gets that number.
struct Socket {
  explicit Socket(int fd) : descriptor(Reactor::current().io(), duplicate(fd)) {}

  static int duplicate(int fd) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) throw DbError("08001", std::string("cannot watch the socket: ") + strerror(errno), "connect");
    return copy;
  }

  struct Wait {
    boost::asio::posix::stream_descriptor& descriptor;
    boost::asio::posix::stream_descriptor::wait_type type;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      descriptor.async_wait(type, [handle](const boost::system::error_code&) { handle.resume(); });
    }
    void await_resume() const noexcept {}
  };
  // Waits for either; resumes when both handlers have run, so that none outlives the awaiter.
  struct WaitEither {
    boost::asio::posix::stream_descriptor& descriptor;
    int pending = 2;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      const auto done = [this, handle](const boost::system::error_code&) {
        if (--pending == 0) return handle.resume();
        descriptor.cancel();
      };
      descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read, done);
      descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_write, done);
    }
    void await_resume() const noexcept {}
  };
  WaitEither ready() { return {descriptor}; }
  Wait readable() { return {descriptor, boost::asio::posix::stream_descriptor::wait_read}; }
  Wait writable() { return {descriptor, boost::asio::posix::stream_descriptor::wait_write}; }

  boost::asio::posix::stream_descriptor descriptor;
};

}  // namespace cairn::db
