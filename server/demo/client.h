// A small blocking HTTP client over one kept connection: enough to speak to the server that this process started.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace cairn::demo {

class Client {
 public:
  // Throws Error when nothing listens there.
  explicit Client(int port);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  struct Answer {
    int status = 0;
    std::string body;
  };
  // Throws Error when the connection breaks, or when the user wants to stop (stop_wanted).
  Answer ask(std::string_view method, std::string_view target, std::string_view body = "");
  // The same, but a status that is no success is an Error too, with the server's message. Gives the body.
  std::string get(const std::string& target) { return expect("GET", target, ""); }
  std::string post(const std::string& target, std::string_view body) { return expect("POST", target, body); }
  std::string put(const std::string& target, std::string_view body) { return expect("PUT", target, body); }
  std::string patch(const std::string& target, std::string_view body) { return expect("PATCH", target, body); }

  int requests() const { return requests_; }

 private:
  std::string expect(std::string_view method, const std::string& target, std::string_view body);
  void send_all(std::string_view bytes);
  void receive();

  int fd_;
  std::string received_;
  int requests_ = 0;
};

// Whether SIGINT, SIGTERM or SIGHUP has come since watch_signals().
void watch_signals();
bool stop_wanted();
// Sleeps until a signal comes or `wanted` milliseconds are over.
void wait_ms(int wanted);

}  // namespace cairn::demo
