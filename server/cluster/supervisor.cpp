#include "cluster/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
// glibc 2.36 forgot that C++ may include it.
extern "C" {
#include <sys/pidfd.h>
}

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/log.h"

namespace cairn::cluster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReadyPollMs = 5;
constexpr int kFirstBackoffMs = 50;
constexpr int kLongestBackoffMs = 10'000;
// One that starts, but dies soon, is worth a try more often than one that cannot start.
constexpr int kLongestBackoffAfterReadyMs = 1000;
// A server that ran for so long is not in a crash loop.
constexpr auto kHealthyAfter = std::chrono::seconds(30);
constexpr int kFastShutdownMs = 60'000;
constexpr int kImmediateShutdownMs = 10'000;

bool readable_within(int fd, int milliseconds) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, milliseconds) > 0;
}

}  // namespace

Supervisor::Supervisor(SupervisorOptions options) : options_(std::move(options)) {}

Supervisor::~Supervisor() { stop(); }

void Supervisor::start() {
  stop_event_ = eventfd(0, EFD_CLOEXEC);
  if (stop_event_ < 0) throw Error(ErrorCode::kInternalError, std::string("eventfd: ") + strerror(errno));
  auto first_start = std::make_shared<std::promise<void>>();
  std::future<void> started = first_start->get_future();
  thread_ = std::thread([this, first_start] { loop(first_start); });
  try {
    started.get();
  } catch (...) {
    stop();
    throw;
  }
}

void Supervisor::stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  if (write(stop_event_, &one, sizeof one) < 0)
    log::error("cannot tell the PostgreSQL supervisor to stop: {}", strerror(errno));
  thread_.join();
  close(stop_event_);
  stop_event_ = -1;
}

bool Supervisor::stop_requested_within(int milliseconds) const { return readable_within(stop_event_, milliseconds); }

void Supervisor::loop(std::shared_ptr<std::promise<void>> pending) {
  // Signals are for the main thread.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);

  int backoff_ms = kFirstBackoffMs;
  while (true) {
    const auto begun = Clock::now();
    int longest_backoff_ms = kLongestBackoffAfterReadyMs;
    try {
      run_once(pending.get());
      pending.reset();
    } catch (const std::exception& error) {
      if (pending) {
        pending->set_exception(std::current_exception());
        return;
      }
      log::error("PostgreSQL did not start again: {}", error.what());
      longest_backoff_ms = kLongestBackoffMs;
    }
    if (stop_requested_within(0)) return;
    if (Clock::now() - begun > kHealthyAfter) backoff_ms = kFirstBackoffMs;
    backoff_ms = std::min(backoff_ms, longest_backoff_ms);
    log::warn("starting PostgreSQL again in {} ms", backoff_ms);
    if (stop_requested_within(backoff_ms)) return;
    backoff_ms *= 2;
    ++restarts_;
  }
}

void Supervisor::run_once(std::promise<void>* first_start) {
  options_.before_start();
  const pid_t pid = spawn(options_.command);
  pid_ = pid;
  const int pid_fd = pidfd_open(pid, 0);
  bool stopping = false;
  while (!readable_within(pid_fd, 0)) {
    if (!ready_) {
      stopping = stop_requested_within(kReadyPollMs);
      if (!stopping && options_.is_ready(pid)) {
        ready_ = true;
        log::info("PostgreSQL is ready (process {})", pid);
        if (first_start != nullptr) first_start->set_value();
      }
    } else {
      pollfd entries[] = {{pid_fd, POLLIN, 0}, {stop_event_, POLLIN, 0}};
      poll(entries, 2, -1);
      stopping = entries[1].revents != 0;
    }
    if (stopping) {
      shut_down(pid_fd);
      break;
    }
  }
  const bool was_ready = ready_.exchange(false);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(pid_fd);
  pid_ = 0;
  if (stopping) return;
  const std::string what = "PostgreSQL (process " + std::to_string(pid) + ") " + describe_wait_status(status);
  if (!was_ready)
    throw Error(ErrorCode::kTemporarilyUnavailable, what + " before it took connections" + options_.explain_failure());
  log::error("{}", what);
}

void Supervisor::shut_down(int pid_fd) {
  const struct {
    int signal;
    int patience_ms;
  } steps[] = {{SIGINT, kFastShutdownMs}, {SIGQUIT, kImmediateShutdownMs}, {SIGKILL, -1}};
  for (const auto& step : steps) {
    pidfd_send_signal(pid_fd, step.signal, nullptr, 0);
    if (readable_within(pid_fd, step.patience_ms)) return;
    log::warn("PostgreSQL (process {}) has not stopped at signal {}", pid_.load(), step.signal);
  }
}

}  // namespace cairn::cluster
