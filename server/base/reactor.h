// The server's one thread of control: an event loop that runs every coroutine, and a small pool of threads for work
// that would block it (files, password hashing).
//
// Threads: everything runs on the thread that called run(), but for the functions given to offload(). Only post() and
// stop() may be called from other threads. There is one reactor a process at a time; Reactor::current() finds it.
#pragma once

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/task.h"

namespace boost::asio {
class io_context;
}

namespace cairn {

class Reactor {
 public:
  Reactor();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  static Reactor& current();

  // Runs until stop(). Coroutines that are still suspended then are destroyed with the reactor's owner.
  void run();
  void stop();
  // Thread-safe: runs `fn` on the reactor's thread, later.
  void post(std::function<void()> fn);
  // Starts a coroutine that nobody awaits. What it throws is logged as an error under `name`.
  void spawn(const char* name, task<> work);
  // Runs a coroutine to its end, from outside the loop, and returns its result (for the command line and tests).
  template <class T>
  T block_on(task<T> work);

  // Calls `fn` (on the reactor's thread) at SIGINT or SIGTERM.
  void on_signal(std::function<void(int)> fn);

  boost::asio::io_context& io();

  // Implementation of sleep_for and offload.
  void start_timer(std::chrono::nanoseconds delay, std::coroutine_handle<> resume);
  void start_offload(std::function<void()> work);

 private:
  task<> log_errors(const char* name, task<> work);
  void run_until(const bool& done);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// co_await sleep_for(100ms)
struct SleepAwaiter {
  std::chrono::nanoseconds delay;
  bool await_ready() const noexcept { return delay.count() <= 0; }
  void await_suspend(std::coroutine_handle<> handle) const { Reactor::current().start_timer(delay, handle); }
  void await_resume() const noexcept {}
};
inline SleepAwaiter sleep_for(std::chrono::nanoseconds delay) { return {delay}; }

// A value that one coroutine sets and another awaits. Set at most once, awaited at most once; both on the reactor's
// thread.
template <class T>
class OneShot {
 public:
  OneShot() = default;
  OneShot(const OneShot&) = delete;
  OneShot& operator=(const OneShot&) = delete;

  void set(T value) {
    value_.emplace(std::move(value));
    wake();
  }
  void fail(std::exception_ptr error) {
    error_ = std::move(error);
    wake();
  }
  bool is_set() const { return value_.has_value() || error_; }

  // A separate awaiter, because g++ 12 copies an awaited lvalue into the coroutine's frame.
  struct Awaiter {
    OneShot* slot;
    bool await_ready() const noexcept { return slot->is_set(); }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { slot->waiter_ = handle; }
    T await_resume() const {
      if (slot->error_) std::rethrow_exception(slot->error_);
      return std::move(*slot->value_);
    }
  };
  Awaiter wait() { return Awaiter{this}; }

 private:
  void wake() {
    if (waiter_) {
      auto waiter = std::exchange(waiter_, nullptr);
      Reactor::current().post([waiter] { waiter.resume(); });
    }
  }
  std::optional<T> value_;
  std::exception_ptr error_;
  std::coroutine_handle<> waiter_ = nullptr;
};

// co_await offload(fn): runs fn() on a pool thread, resumes on the reactor's thread with its result or exception.
template <class F>
class OffloadAwaiter {
 public:
  using Result = std::invoke_result_t<F&>;
  explicit OffloadAwaiter(F fn) : fn_(std::move(fn)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    Reactor& reactor = Reactor::current();
    reactor.start_offload([this, &reactor, handle] {
      try {
        if constexpr (std::is_void_v<Result>) {
          fn_();
        } else {
          value_.emplace(fn_());
        }
      } catch (...) {
        error_ = std::current_exception();
      }
      reactor.post([handle] { handle.resume(); });
    });
  }
  Result await_resume() {
    if (error_) std::rethrow_exception(error_);
    if constexpr (!std::is_void_v<Result>) return std::move(*value_);
  }

 private:
  F fn_;
  std::conditional_t<std::is_void_v<Result>, std::optional<char>, std::optional<Result>> value_;
  std::exception_ptr error_;
};
template <class F>
OffloadAwaiter<F> offload(F fn) {
  return OffloadAwaiter<F>(std::move(fn));
}

template <class T>
T Reactor::block_on(task<T> work) {
  bool done = false;
  std::exception_ptr error;
  if constexpr (std::is_void_v<T>) {
    auto wrap = [](task<T>& inner, bool& finished, std::exception_ptr& failure) -> task<> {
      try {
        co_await inner;
      } catch (...) {
        failure = std::current_exception();
      }
      finished = true;
    };
    spawn("block_on", wrap(work, done, error));
    run_until(done);
    if (error) std::rethrow_exception(error);
  } else {
    std::optional<T> value;
    auto wrap = [](task<T>& inner, std::optional<T>& out, bool& finished, std::exception_ptr& failure) -> task<> {
      try {
        out.emplace(co_await inner);
      } catch (...) {
        failure = std::current_exception();
      }
      finished = true;
    };
    spawn("block_on", wrap(work, value, done, error));
    run_until(done);
    if (error) std::rethrow_exception(error);
    return std::move(*value);
  }
}

}  // namespace cairn
