#include "base/reactor.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "base/error.h"
#include "base/log.h"

namespace cairn {
namespace {

thread_local Reactor* t_current = nullptr;

// A coroutine that starts at once, is awaited by nobody and frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

Detached run_detached(task<> work) { co_await work; }

}  // namespace

struct Reactor::Impl {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{io.get_executor()};
  // Two threads: enough to keep files and password hashes off the loop, few enough to bound their memory.
  boost::asio::thread_pool pool{2};
  boost::asio::signal_set signals{io};
};

Reactor::Reactor() : impl_(std::make_unique<Impl>()) { t_current = this; }

Reactor::~Reactor() {
  impl_->pool.join();
  impl_.reset();
  if (t_current == this) t_current = nullptr;
}

Reactor& Reactor::current() {
  if (t_current == nullptr) throw Error(ErrorCode::kInternalError, "no reactor on this thread");
  return *t_current;
}

void Reactor::run() {
  t_current = this;
  impl_->io.restart();
  impl_->io.run();
}

void Reactor::stop() { impl_->io.stop(); }

void Reactor::post(std::function<void()> fn) { boost::asio::post(impl_->io, std::move(fn)); }

task<> Reactor::log_errors(const char* name, task<> work) {
  try {
    co_await work;
  } catch (const std::exception& e) {
    log::error("{}: {}", name, e.what());
  }
}

void Reactor::spawn(const char* name, task<> work) { run_detached(log_errors(name, std::move(work))); }

void Reactor::on_signal(std::function<void(int)> fn) {
  impl_->signals.add(SIGINT);
  impl_->signals.add(SIGTERM);
  impl_->signals.async_wait([fn = std::move(fn)](const boost::system::error_code& ec, int signal) {
    if (!ec) fn(signal);
  });
}

boost::asio::io_context& Reactor::io() { return impl_->io; }

void Reactor::start_timer(std::chrono::nanoseconds delay, std::coroutine_handle<> resume) {
  auto timer = std::make_shared<boost::asio::steady_timer>(impl_->io, delay);
  timer->async_wait([timer, resume](const boost::system::error_code&) { resume.resume(); });
}

void Reactor::start_offload(std::function<void()> work) { boost::asio::post(impl_->pool, std::move(work)); }

void Reactor::run_until(const bool& done) {
  t_current = this;
  impl_->io.restart();
  while (!done && impl_->io.run_one() > 0) {
  }
}

}  // namespace cairn
