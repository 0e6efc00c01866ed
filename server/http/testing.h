// For tests of anything that is served over HTTP: a server on a thread of its own, and a plain blocking client.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "base/reactor.h"
#include "http/server.h"

namespace cairn::http::testing {

// Serves `router` until it is destroyed.
class TestServer {
 public:
  explicit TestServer(const Router& router, ServerOptions options = {}, Authenticator* authenticator = nullptr) {
    options.port = 0;
    std::promise<void> started;
    thread_ = std::thread([this, &router, options, authenticator, &started] {
      Reactor reactor;
      Server server(options, router, authenticator);
      server.start();
      reactor_ = &reactor;
      server_ = &server;
      started.set_value();
      reactor.run();
    });
    started.get_future().wait();
    port_ = server_->port();
  }
  ~TestServer() { stop(std::chrono::seconds(5)); }

  void stop(std::chrono::seconds grace) {
    if (!thread_.joinable()) return;
    reactor_->post([this, grace] { reactor_->spawn("stop", stop_now(grace)); });
    thread_.join();
  }
  uint16_t port() const { return port_; }

  // Runs `fn` on the server's thread and returns its result.
  template <class F>
  auto call(F fn) {
    std::promise<decltype(fn())> promise;
    auto future = promise.get_future();
    reactor_->post([&] { promise.set_value(fn()); });
    return future.get();
  }
  ServerStatistics statistics() {
    return call([this] { return server_->statistics(); });
  }
  // Whether the condition came true within ten seconds.
  template <class F>
  bool becomes_true(F condition) {
    for (int i = 0; i < 2000; ++i) {
      if (call([&] { return condition(server_->statistics()); })) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

 private:
  task<> stop_now(std::chrono::seconds grace) {
    task<> stopping = server_->stop(grace);
    co_await stopping;
    reactor_->stop();
  }
  std::thread thread_;
  Reactor* reactor_ = nullptr;
  Server* server_ = nullptr;
  uint16_t port_ = 0;
};

struct Answer {
  int status = 0;  // 0: the connection ended before a whole answer
  std::string head;
  std::string body;
  // A field's value; the name as the server writes it.
  std::string field(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == head.npos) return "";
    const size_t start = at + name.size() + 4;
    return head.substr(start, head.find("\r\n", start) - start);
  }
};

class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    timeval limit{20, 0};  // a test that would hang fails instead
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), buffer_(std::move(other.buffer_)) {}
  ~Client() { close(); }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // More bytes into the buffer; false at the end, an error or the time limit.
  bool fill() {
    char bytes[65536];
    const ssize_t count = recv(fd_, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(count));
    return true;
  }
  // The next bytes, `count` of them or what comes before the end.
  std::string take(size_t count) {
    while (buffer_.size() < count && fill()) {
    }
    return cut(std::min(count, buffer_.size()));
  }
  std::string take_line() {
    size_t end;
    while ((end = buffer_.find("\r\n")) == buffer_.npos) {
      if (!fill()) return cut(buffer_.size());
    }
    std::string line = cut(end);
    cut(2);
    return line;
  }
  std::string read_all() {
    while (fill()) {
    }
    return cut(buffer_.size());
  }
  Answer read_head() {
    Answer answer;
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == buffer_.npos) {
      if (!fill()) return answer;
    }
    answer.head = cut(end + 2);
    cut(2);
    answer.status = std::stoi(answer.head.substr(9, 3));
    return answer;
  }
  Answer read(bool has_body = true) {
    Answer answer = read_head();
    if (!has_body || answer.status == 0 || answer.status == 100 || answer.status == 204) return answer;
    if (answer.field("Transfer-Encoding") == "chunked") {
      for (;;) {
        const std::string line = take_line();
        const size_t size = line.empty() ? 0 : std::stoul(line, nullptr, 16);
        const std::string piece = take(size);
        if (line.empty() || piece.size() < size) {
          answer.status = 0;
          return answer;
        }
        answer.body += piece;
        take_line();
        if (size == 0) return answer;
      }
    }
    const std::string length = answer.field("Content-Length");
    answer.body = length.empty() ? read_all() : take(std::stoul(length));
    if (!length.empty() && answer.body.size() < std::stoul(length)) answer.status = 0;
    return answer;
  }
  Answer ask(std::string_view bytes) {
    send(bytes);
    return read();
  }
  Answer get(const std::string& target, const std::string& fields = "") {
    return ask("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n");
  }
  Answer post(const std::string& target, std::string_view body, const std::string& fields = "") {
    return ask("POST " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n" + fields + "\r\n" + std::string(body));
  }
  // Whether the server has closed the connection and sent nothing more.
  bool is_closed() { return read_all().empty() && recv(fd_, nullptr, 0, MSG_DONTWAIT) <= 0; }

 private:
  std::string cut(size_t count) {
    std::string front = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return front;
  }
  int fd_;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace cairn::http::testing
