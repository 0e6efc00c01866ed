// Requests that arrive while the database is asked wait, and share the next time that it is asked: group commit for
// writes, one lookup for many reads.
//
// A request is answered only after what it shared has ended (for a write, with its COMMIT), and that began after the
// request came. With one request at a time nothing is delayed; under load a commit's fsync, or a statement's way to
// PostgreSQL and back, is paid once for all that waited for it. What waits is bounded. All on the reactor's thread.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/reactor.h"
#include "db/statement.h"

namespace cairn::db {

template <class Input, class Output>
class Batcher {
 public:
  // One request of a group. The processor sets `output`, or `error` where just this request is at fault.
  struct Item {
    Input input;
    Output output{};
    std::exception_ptr error;
  };
  using Group = std::vector<std::shared_ptr<Item>>;
  // Handles a group in one transaction or statement; throws when it failed as a whole.
  using Processor = std::function<task<>(Group&)>;
  // How much of a group's room a request takes.
  using Weight = std::function<size_t(const Input&)>;

  Batcher(const char* name, size_t max_weight, Weight weight, Processor process)
      : name_(name), max_weight_(max_weight), weight_(std::move(weight)), process_(std::move(process)) {}

  // Throws Error(kRequestLimitExceeded) when too much waits already.
  task<Output> submit(Input input) {
    const size_t weight = weight_(input);
    if (!queue_.empty() && queued_ + weight > kMostWaiting * max_weight_)
      throw Error(ErrorCode::kRequestLimitExceeded,
                  "Too many requests wait for the database; nothing was done for this one. Send it again later.");
    auto pending = std::make_shared<Pending>();
    pending->item = std::make_shared<Item>();
    pending->item->input = std::move(input);
    pending->weight = weight;
    queued_ += weight;
    queue_.push_back(pending);
    if (!running_) {
      running_ = true;
      Reactor::current().spawn(name_, drain());
    }
    co_await pending->done.wait();
    if (pending->item->error) std::rethrow_exception(pending->item->error);
    co_return std::move(pending->item->output);
  }

 private:
  static constexpr size_t kMostWaiting = 64;  // groups

  struct Pending {
    std::shared_ptr<Item> item;
    size_t weight = 0;
    OneShot<bool> done;
  };

  task<> drain() {
    while (!queue_.empty()) {
      std::vector<std::shared_ptr<Pending>> taken;
      Group group;
      size_t weight = 0;
      while (!queue_.empty() && (group.empty() || weight + queue_.front()->weight <= max_weight_)) {
        weight += queue_.front()->weight;
        queued_ -= queue_.front()->weight;
        taken.push_back(queue_.front());
        group.push_back(queue_.front()->item);
        queue_.pop_front();
      }
      co_await run(group);
      for (const auto& pending : taken) pending->done.set(true);
    }
    running_ = false;
  }

  // A group that failed as a whole is tried again one by one, so that one bad request cannot fail its neighbours;
  // not so when PostgreSQL is away or its disk is full, but well when time was up for a lock or a statement.
  task<> run(Group& group) {
    std::exception_ptr failure;
    bool alone = group.size() == 1;
    try {
      co_await process_(group);
      co_return;
    } catch (const DbError& error) {
      failure = std::current_exception();
      const bool timeout = error.is_lock_timeout() || error.is_statement_timeout();
      alone = alone || (error.code() != ErrorCode::kInternalError && !timeout);
    } catch (const Error& error) {
      failure = std::current_exception();
      alone = alone || error.code() != ErrorCode::kInternalError;
    } catch (...) {
      failure = std::current_exception();
    }
    for (const auto& item : group) {
      item->error = alone ? failure : nullptr;
      if (alone) continue;
      Group single{item};
      try {
        co_await process_(single);
      } catch (...) {
        item->error = std::current_exception();
      }
    }
  }

  const char* name_;
  size_t max_weight_;
  Weight weight_;
  Processor process_;
  std::deque<std::shared_ptr<Pending>> queue_;
  size_t queued_ = 0;  // weight of queue_
  bool running_ = false;
};

}  // namespace cairn::db
