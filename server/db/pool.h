// The server's connections to PostgreSQL: `size` that are kept, `max_overflow` more while there is need, and a bounded
// queue of requests that wait for one. The words are SQLAlchemy's: pool_size, max_overflow, pool_timeout. Unlike there,
// one of the overflow is not closed as soon as it comes back, for a new one costs more than most requests.
//
// All on the reactor's thread. The pool must outlive its leases.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "db/connection.h"

namespace cairn::db {

struct PoolOptions {
  std::string connection_string;
  int size = 10;
  int max_overflow = 10;
  std::chrono::milliseconds timeout{30000};
  int max_waiting = 1024;
  std::chrono::milliseconds keep_overflow{
      5000};  // for so long after it was needed; then the next to come back closes it
};

struct PoolStatistics {
  int open = 0;
  int in_use = 0;
  int waiting = 0;
  uint64_t acquired_total = 0;
  uint64_t opened_total = 0;
  uint64_t connect_errors_total = 0;
  uint64_t timeouts_total = 0;
  uint64_t rejected_total = 0;
};

class Pool;

// A connection that is the holder's until the lease ends. A transaction left open is rolled back then.
class Lease {
 public:
  Lease(Pool& pool, std::unique_ptr<Connection> connection) : pool_(&pool), connection_(std::move(connection)) {}
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(Lease&&) = delete;
  ~Lease();
  Connection* operator->() const { return connection_.get(); }
  Connection& operator*() const { return *connection_; }

 private:
  Pool* pool_;
  std::unique_ptr<Connection> connection_;
};

class Pool {
 public:
  explicit Pool(PoolOptions options) : options_(std::move(options)) {}

  // Waits for a free connection. Throws Error(kRequestLimitExceeded) when too many wait already,
  // Error(kTemporarilyUnavailable) when the time-out passes, DbError when PostgreSQL cannot be reached.
  task<Lease> acquire();
  // One statement on any connection, in its own transaction.
  task<Rows> query(Statement statement, Params params = {});

  // From now on connections are lent for reading only, or no longer: what writes gets kInsufficientStorage. For a full
  // disk; transactions under way are not concerned.
  void set_read_only(bool read_only) { read_only_ = read_only; }

  PoolStatistics statistics() const;
  const PoolOptions& options() const { return options_; }

 private:
  friend class Lease;
  struct Waiter {
    OneShot<std::unique_ptr<Connection>> slot;
    std::chrono::steady_clock::time_point deadline;
  };
  task<std::unique_ptr<Connection>> take();
  task<std::unique_ptr<Connection>> open();
  void release(std::unique_ptr<Connection> connection);
  task<> roll_back(std::unique_ptr<Connection> connection);
  void settle(std::unique_ptr<Connection> connection);
  void close_overflow();
  task<> open_for_waiter();
  task<> expire_waiters();

  PoolOptions options_;
  PoolStatistics statistics_;
  struct Idle {
    std::unique_ptr<Connection> connection;
    std::chrono::steady_clock::time_point since;
  };
  std::deque<Idle> idle_;  // the one that was used last at the back, where it is taken again
  std::deque<std::shared_ptr<Waiter>> waiters_;
  bool expiring_ = false;
  bool read_only_ = false;
};

}  // namespace cairn::db
