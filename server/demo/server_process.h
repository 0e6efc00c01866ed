// `cairn serve` as a child process on a temporary directory of its own. Both are gone when this is destroyed; should
// this process be killed, the server ends by itself.
#pragma once

#include <sys/types.h>

#include <string>

namespace cairn::demo {

class ServerProcess {
 public:
  // Starts it and waits until it listens. Throws Error with the end of the server's log when it does not come up.
  ServerProcess(int port, const std::string& postgres_bin);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& url() const { return url_; }
  int port() const;
  const std::string& directory() const { return directory_; }
  // To its database.
  std::string connection_string() const;
  bool running();
  std::string log_tail() const;

 private:
  void start(int port, const std::string& postgres_bin);
  void wait_until_it_listens();
  void stop();

  std::string directory_;
  std::string url_;
  pid_t pid_ = -1;
  int status_ = 0;
};

}  // namespace cairn::demo
