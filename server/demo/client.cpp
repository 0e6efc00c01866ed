#include "demo/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace cairn::demo {
namespace {

constexpr int kSilenceSeconds = 60;

volatile sig_atomic_t g_stop_wanted = 0;

Error broken(const std::string& what) {
  return Error(ErrorCode::kTemporarilyUnavailable,
               "the server does not answer any more (" + what + "): its log is above, if it said why");
}

// A field's value in the head of an answer; the server writes names in one way only.
std::string field(const std::string& head, const std::string& name) {
  const size_t at = head.find("\r\n" + name + ": ");
  if (at == head.npos) return "";
  const size_t start = at + name.size() + 4;
  return head.substr(start, head.find("\r\n", start) - start);
}

}  // namespace

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_stop_wanted = 1; };  // without SA_RESTART: what waits wakes up
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);  // whoever reads the summary may go before it is whole
}

bool stop_wanted() { return g_stop_wanted != 0; }

void wait_ms(int wanted) {
  if (!stop_wanted()) poll(nullptr, 0, wanted);
}

Client::Client(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{kSilenceSeconds, 0};
  const int yes = 1;
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const std::string reason = strerror(errno);
    close(fd_);
    throw broken("port " + std::to_string(port) + ": " + reason);
  }
}

Client::~Client() { close(fd_); }

void Client::send_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR && !stop_wanted()) continue;
    if (sent <= 0) throw broken(strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void Client::receive() {
  char bytes[65536];
  ssize_t got;
  while ((got = recv(fd_, bytes, sizeof bytes, 0)) < 0 && errno == EINTR && !stop_wanted()) {
  }
  if (got <= 0) throw broken(got == 0 ? "it closed the connection" : strerror(errno));
  received_.append(bytes, static_cast<size_t>(got));
}

Client::Answer Client::ask(std::string_view method, std::string_view target, std::string_view body) {
  if (stop_wanted()) throw Error(ErrorCode::kAborted, "stopped");
  ++requests_;
  std::string message = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  if (!body.empty()) message += "Content-Type: application/json\r\n";
  if (method != "GET") message += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  message += "\r\n";
  message += body;
  send_all(message);
  size_t head_end;
  while ((head_end = received_.find("\r\n\r\n")) == received_.npos) receive();
  const std::string head = received_.substr(0, head_end + 2);
  received_.erase(0, head_end + 4);
  const std::string length = field(head, "Content-Length");
  if (length.empty()) throw broken("its answer to " + std::string(target) + " has no Content-Length");
  const size_t size = std::strtoul(length.c_str(), nullptr, 10);
  while (received_.size() < size) receive();
  Answer answer{std::atoi(head.c_str() + strlen("HTTP/1.1 ")), received_.substr(0, size)};
  received_.erase(0, size);
  return answer;
}

std::string Client::expect(std::string_view method, const std::string& target, std::string_view body) {
  Answer answer = ask(method, target, body);
  if (answer.status / 100 != 2)
    throw Error(ErrorCode::kInternalError, std::string(method) + " " + target + " was answered with " +
                                               std::to_string(answer.status) + ": " + answer.body);
  return std::move(answer.body);
}

}  // namespace cairn::demo
