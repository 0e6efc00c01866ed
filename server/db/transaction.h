// Transactions: BEGIN travels with the first statement, COMMIT may travel with the last, so that a transaction of n
// dependent steps costs n round trips.
#pragma once

#include <chrono>
#include <type_traits>
#include <utility>
#include <vector>

#include "db/pool.h"

namespace cairn::db {

enum class Isolation { kReadCommitted, kRepeatableRead, kRepeatableReadOnly };

// Not started until its first statement. Rolled back when it is destroyed uncommitted.
class Transaction {
 public:
  Transaction(Lease lease, Isolation isolation) : lease_(std::move(lease)), isolation_(isolation) {}

  task<Rows> query(Statement statement, Params params = {});
  // Several statements in one round trip; the first error is thrown and the transaction is then failed.
  task<std::vector<Rows>> run(std::vector<Query> queries);
  // The last statements and COMMIT in one round trip.
  task<std::vector<Rows>> run_and_commit(std::vector<Query> queries);
  task<> commit();
  bool committed() const { return committed_; }

 private:
  void begin(std::vector<Query>& queries);
  Lease lease_;
  Isolation isolation_;
  bool begun_ = false;
  bool committed_ = false;
};

// Runs body(transaction) and commits. A serialisation failure or deadlock runs it again, up to five times; nothing else
// does, so a commit whose fate is unknown is never repeated. The body must have no effects outside the database.
//
//   auto body = [&](Transaction& tx) -> task<int> { ... };   // named first: see base/task.h
//   int n = co_await with_transaction(pool, Isolation::kReadCommitted, body);
template <class Body>
auto with_transaction(Pool& pool, Isolation isolation, Body& body) -> std::invoke_result_t<Body&, Transaction&> {
  using namespace std::chrono_literals;
  for (int attempt = 1;; ++attempt) {
    try {
      Transaction transaction(co_await pool.acquire(), isolation);
      if constexpr (std::is_same_v<std::invoke_result_t<Body&, Transaction&>, task<void>>) {
        co_await body(transaction);
        if (!transaction.committed()) co_await transaction.commit();
        co_return;
      } else {
        auto result = co_await body(transaction);
        if (!transaction.committed()) co_await transaction.commit();
        co_return result;
      }
    } catch (const DbError& error) {
      if (!error.is_retryable() || attempt == 5) throw;
    }
    co_await sleep_for(attempt * 5ms);
  }
}

}  // namespace cairn::db
