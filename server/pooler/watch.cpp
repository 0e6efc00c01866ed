#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ostream>
#include <thread>

#include "base/error.h"
#include "pooler/api.h"
#include "pooler/console.h"
#include "pooler/place.h"

namespace cairn::pooler {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kFirstPause = 50ms;
constexpr auto kLongestPause = 10'000ms;
// One that ran for so long is not in a crash loop.
constexpr auto kHealthyAfter = 30s;
// For clients' transactions to end, and then for PgBouncer.
constexpr auto kGrace = 10s;
constexpr auto kLastGrace = 2s;
constexpr auto kStartPatience = 15s;
constexpr auto kPoll = 20ms;

std::string find_program() {
  for (const char* path : {"/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer",
                           "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"})
    if (access(path, X_OK) == 0) return path;
  throw Error(ErrorCode::kInvalidState, "there is no pgbouncer on this machine: install the package pgbouncer");
}

// A client is a file.
void allow_many_files() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

// Waits for one of `signals`; 0 when none came in time.
int wait_for(const sigset_t& signals, std::chrono::milliseconds patience) {
  const timespec time{.tv_sec = patience / 1s, .tv_nsec = (patience % 1s) / 1ns};
  const int signal = sigtimedwait(&signals, nullptr, &time);
  return signal > 0 ? signal : 0;
}

class Watcher {
 public:
  explicit Watcher(const Place& place, std::ostream& out) : place_(place), out_(out) {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&signals_, signal);
    sigprocmask(SIG_BLOCK, &signals_, nullptr);
    command_ = {
        {find_program(), place.path("pgbouncer.ini")}, place.user(), place.directory(), SIGTERM, place.open_log()};
  }

  int run() {
    auto pause = std::chrono::milliseconds(kFirstPause);
    for (;;) {
      const auto begun = Clock::now();
      const int status = run_once();
      if (stopping_) return 0;
      if (Clock::now() - begun > kHealthyAfter) pause = kFirstPause;
      out_ << "PgBouncer " << cluster::describe_wait_status(status) << "; starting it again in " << pause.count()
           << " ms. The end of its log:\n"
           << place_.log_tail() << std::flush;
      const int signal = wait_for(signals_, pause);
      if (signal == SIGTERM || signal == SIGINT) return 0;
      pause = std::min(2 * pause, std::chrono::milliseconds(kLongestPause));
    }
  }

 private:
  // To its end, or until this process was told to stop and it has ended.
  int run_once() {
    const pid_t pid = cluster::spawn(command_);
    for (;;) {
      int status = 0;
      if (waitpid(pid, &status, WNOHANG) == pid) return status;
      const int signal = sigwaitinfo(&signals_, nullptr);
      if (signal == SIGHUP) kill(pid, SIGHUP);
      if (signal != SIGTERM && signal != SIGINT) continue;
      stopping_ = true;
      return end(pid);
    }
  }

  // SIGINT waits for transactions, SIGTERM does not.
  int end(pid_t pid) {
    const struct {
      int signal;
      Clock::duration grace;
    } steps[] = {{SIGINT, kGrace}, {SIGTERM, kLastGrace}, {SIGKILL, kLastGrace}};
    int status = 0;
    for (const auto& step : steps) {
      kill(pid, step.signal);
      const auto until = Clock::now() + step.grace;
      while (Clock::now() < until) {
        if (waitpid(pid, &status, WNOHANG) == pid) return status;
        wait_for(signals_, kPoll);
      }
    }
    return status;
  }

  const Place& place_;
  std::ostream& out_;
  cluster::Command command_;
  sigset_t signals_;
  bool stopping_ = false;
};

}  // namespace

int watch(const std::string& data_dir, std::ostream& out) {
  const Place place(data_dir);
  const std::string ini = place.ini();
  place.lock();
  allow_many_files();
  out << "PgBouncer listens on " << ini_value(ini, "listen_addr") << ":" << ini_value(ini, "listen_port") << std::endl;
  return Watcher(place, out).run();
}

int start(const std::string& data_dir, const std::string& program, std::ostream& out) {
  const Place place(data_dir);
  const std::string ini = place.ini();
  if (const auto watcher = place.watcher()) {
    out << "PgBouncer runs already, watched by process " << *watcher << "\n";
    return 0;
  }
  find_program();
  cluster::Command command;
  command.arguments = {program, "pool", "run", "--data-dir", data_dir};
  command.user = cluster::current_os_user();
  command.working_directory = "/";
  command.output_fd = place.open_log();
  const pid_t watcher = cluster::spawn(command);
  const auto until = Clock::now() + kStartPatience;
  for (std::string failure; !Console::answers(ini, failure); std::this_thread::sleep_for(kPoll)) {
    const bool ended = waitpid(watcher, nullptr, WNOHANG) == watcher;
    if (!ended && Clock::now() < until) continue;
    if (!ended) kill(watcher, SIGTERM);
    throw Error(ErrorCode::kTemporarilyUnavailable, "PgBouncer did not come up (" + failure + "); the end of " +
                                                        place.path("pgbouncer.log") + ":\n" + place.log_tail());
  }
  out << "PgBouncer takes connections on " << ini_value(ini, "listen_addr") << ":" << ini_value(ini, "listen_port")
      << " and on the socket in " << ini_value(ini, "unix_socket_dir") << "; process " << watcher << " watches it\n";
  return 0;
}

int stop(const std::string& data_dir, std::ostream& out) {
  const Place place(data_dir);
  const auto watcher = place.watcher();
  if (!watcher) {
    out << "PgBouncer does not run\n";
    return 0;
  }
  if (kill(*watcher, SIGTERM) != 0)
    throw Error(ErrorCode::kPermissionDenied,
                "process " + std::to_string(*watcher) + ", which watches PgBouncer, is another user's");
  const auto until = Clock::now() + kGrace + 3 * kLastGrace;
  while (place.watcher() == watcher) {
    if (Clock::now() > until)
      throw Error(ErrorCode::kTemporarilyUnavailable,
                  "process " + std::to_string(*watcher) + ", which watches PgBouncer, does not end");
    std::this_thread::sleep_for(kPoll);
  }
  out << "stopped\n";
  return 0;
}

}  // namespace cairn::pooler
