#include "http/connection.h"

#include <boost/asio/write.hpp>

namespace cairn::http {
namespace {

std::array<boost::asio::const_buffer, 3> buffers_of(const Connection::Pieces& pieces) {
  std::array<boost::asio::const_buffer, 3> buffers;
  for (size_t i = 0; i < pieces.size(); ++i) buffers[i] = {pieces[i].data(), pieces[i].size()};
  return buffers;
}

}  // namespace

Connection::Connection(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  if (tls != nullptr) tls_ = std::make_unique<TlsStream>(socket_, *tls);
}

void Connection::expire(Clock::time_point now) {
  if (now < deadline_) return;
  deadline_ = Clock::time_point::max();
  timed_out_ = true;
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Connection::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void Connection::finish_sending() {
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

Connection::Read Connection::read(std::span<char> space, Clock::time_point deadline) {
  return {*this, space, deadline};
}

Connection::Handshake Connection::handshake(Clock::time_point deadline) { return {*this, deadline}; }

Connection::Goodbye Connection::say_goodbye(Clock::time_point deadline) { return {*this, deadline}; }

Connection::Write Connection::write(const Pieces& pieces, Clock::time_point deadline) {
  return {*this, pieces, deadline};
}

size_t Connection::write_now(const Pieces& pieces) {
  if (tls_) return 0;
  boost::system::error_code ec;
  const size_t bytes = socket_.write_some(buffers_of(pieces), ec);
  return ec ? 0 : bytes;  // an error is found again, and reported, by the write() that follows
}

void Connection::Read::await_suspend(std::coroutine_handle<> waiter) {
  const boost::asio::mutable_buffer buffer(space_.data(), space_.size());
  if (connection_.tls_) {
    connection_.tls_->async_read_some(buffer, begin(waiter));
  } else {
    connection_.socket_.async_read_some(buffer, begin(waiter));
  }
}

void Connection::Handshake::await_suspend(std::coroutine_handle<> waiter) {
  connection_.tls_->async_handshake(TlsStream::server, begin(waiter));
}

void Connection::Goodbye::await_suspend(std::coroutine_handle<> waiter) {
  connection_.tls_->async_shutdown(begin(waiter));
}

void Connection::Write::await_suspend(std::coroutine_handle<> waiter) {
  if (connection_.tls_) {
    connection_.tls_->async_write_some(buffers_of(pieces_), begin(waiter));
  } else {
    connection_.socket_.async_write_some(buffers_of(pieces_), begin(waiter));
  }
}

}  // namespace cairn::http
