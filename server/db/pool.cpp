#include "db/pool.h"

#include "base/log.h"

namespace cairn::db {

using Clock = std::chrono::steady_clock;

Lease::~Lease() {
  if (connection_) pool_->release(std::move(connection_));
}

task<std::unique_ptr<Connection>> Pool::open() {
  ++statistics_.open;
  try {
    auto connection = co_await Connection::connect(options_.connection_string);
    ++statistics_.opened_total;
    co_return connection;
  } catch (...) {
    --statistics_.open;
    ++statistics_.connect_errors_total;
    throw;
  }
}

task<Lease> Pool::acquire() {
  ++statistics_.acquired_total;
  auto connection = co_await take();
  ++statistics_.in_use;
  Lease lease(*this, std::move(connection));
  if (lease->read_only() != read_only_) co_await lease->set_read_only(read_only_);
  co_return lease;
}

task<std::unique_ptr<Connection>> Pool::take() {
  while (!idle_.empty()) {
    auto connection = std::move(idle_.back().connection);
    idle_.pop_back();
    if (connection->alive()) co_return connection;
    --statistics_.open;
  }
  if (statistics_.open < options_.size + options_.max_overflow) {
    try {
      co_return co_await open();
    } catch (const DbError&) {
      // Who waits, waits for a connection to come back, and there may be none that could.
      if (!waiters_.empty()) Reactor::current().spawn("pool", open_for_waiter());
      throw;
    }
  }
  if (static_cast<int>(waiters_.size()) >= options_.max_waiting) {
    ++statistics_.rejected_total;
    throw Error(ErrorCode::kRequestLimitExceeded,
                "Too many requests wait for a database connection; try again in a moment.");
  }
  auto waiter = std::make_shared<Waiter>();
  waiter->deadline = Clock::now() + options_.timeout;
  waiters_.push_back(waiter);
  if (!expiring_) {
    expiring_ = true;
    Reactor::current().spawn("pool", expire_waiters());
  }
  co_return co_await waiter->slot.wait();
}

task<Rows> Pool::query(Statement statement, Params params) {
  Lease lease = co_await acquire();
  co_return co_await lease->query(statement, std::move(params));
}

void Pool::release(std::unique_ptr<Connection> connection) {
  --statistics_.in_use;
  if (!connection->broken() && connection->in_transaction()) {
    Reactor::current().spawn("rollback", roll_back(std::move(connection)));
  } else {
    settle(std::move(connection));
  }
}

task<> Pool::roll_back(std::unique_ptr<Connection> connection) {
  static constexpr Statement kRollback{"rollback", "ROLLBACK"};
  try {
    co_await connection->query(kRollback);
  } catch (const DbError&) {
    // The connection is broken then, and settle() drops it.
  }
  settle(std::move(connection));
}

// Gives a connection to who has waited longest, keeps it, or closes it.
void Pool::settle(std::unique_ptr<Connection> connection) {
  if (connection->broken()) {
    connection.reset();
    --statistics_.open;
    if (!waiters_.empty()) Reactor::current().spawn("pool", open_for_waiter());
    return;
  }
  if (!waiters_.empty()) {
    auto waiter = waiters_.front();
    waiters_.pop_front();
    waiter->slot.set(std::move(connection));
    return;
  }
  idle_.push_back({std::move(connection), Clock::now()});
  close_overflow();
}

void Pool::close_overflow() {
  while (statistics_.open > options_.size && !idle_.empty() &&
         idle_.front().since + options_.keep_overflow <= Clock::now()) {
    idle_.pop_front();
    --statistics_.open;
  }
}

task<> Pool::open_for_waiter() {
  try {
    settle(co_await open());
  } catch (const DbError&) {
    if (waiters_.empty()) co_return;
    auto waiter = waiters_.front();
    waiters_.pop_front();
    waiter->slot.fail(std::current_exception());
    if (!waiters_.empty() && statistics_.in_use == 0) Reactor::current().spawn("pool", open_for_waiter());
  }
}

task<> Pool::expire_waiters() {
  while (!waiters_.empty()) {
    co_await sleep_for(std::chrono::milliseconds(50));
    const auto now = Clock::now();
    while (!waiters_.empty() && waiters_.front()->deadline <= now) {
      ++statistics_.timeouts_total;
      auto waiter = waiters_.front();
      waiters_.pop_front();
      waiter->slot.fail(std::make_exception_ptr(
          Error(ErrorCode::kTemporarilyUnavailable,
                "No database connection was free within the pool's time-out; raise pool_size or try again.")));
    }
  }
  expiring_ = false;
}

PoolStatistics Pool::statistics() const {
  PoolStatistics statistics = statistics_;
  statistics.waiting = static_cast<int>(waiters_.size());
  return statistics;
}

}  // namespace cairn::db
