// Keeps one PostgreSQL server process running: starts it, waits until it takes connections, starts it again when it
// dies.
//
// A thread of its own starts the process and waits for it. It must be that thread: the kernel's death signal, which
// stops PostgreSQL when this process is killed, fires when the thread that forked it ends.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "cluster/process.h"

namespace cairn::cluster {

struct SupervisorOptions {
  Command command;
  // Called before each start, on the supervisor's thread: clears away what a predecessor left behind.
  std::function<void()> before_start;
  // True once the process `pid` takes connections.
  std::function<bool(pid_t pid)> is_ready;
  // Added to the message when the first start fails: the end of the process's own log.
  std::function<std::string()> explain_failure;
};

class Supervisor {
 public:
  explicit Supervisor(SupervisorOptions options);
  ~Supervisor();

  // Blocks until the server takes connections (after a crash: until its recovery is done). Throws Error when it dies
  // first.
  void start();
  // Fast shutdown (clients are disconnected, a checkpoint is written); immediate after a minute, SIGKILL after ten
  // seconds more.
  void stop();

  bool ready() const { return ready_; }
  // 0 while there is no process.
  pid_t pid() const { return pid_; }
  int restarts() const { return restarts_; }

 private:
  void loop(std::shared_ptr<std::promise<void>> pending);
  // Runs the process once: to its end, or until stop() was called and it has ended.
  void run_once(std::promise<void>* first_start);
  void shut_down(int pid_fd);
  // Waits for stop() for so long; true when it was called.
  bool stop_requested_within(int milliseconds) const;

  SupervisorOptions options_;
  std::thread thread_;
  int stop_event_ = -1;
  std::atomic<bool> ready_ = false;
  std::atomic<pid_t> pid_ = 0;
  std::atomic<int> restarts_ = 0;
};

}  // namespace cairn::cluster
