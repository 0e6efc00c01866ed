#include "db/transaction.h"

#include <iterator>

namespace cairn::db {
namespace {

constexpr Statement kBegin{"begin", "BEGIN"};
constexpr Statement kBeginRepeatableRead{"begin_repeatable_read", "BEGIN ISOLATION LEVEL REPEATABLE READ"};
constexpr Statement kBeginReadOnly{"begin_read_only", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
constexpr Statement kCommit{"commit", "COMMIT"};

Statement begin_statement(Isolation isolation) {
  switch (isolation) {
    case Isolation::kRepeatableRead:
      return kBeginRepeatableRead;
    case Isolation::kRepeatableReadOnly:
      return kBeginReadOnly;
    case Isolation::kReadCommitted:
      break;
  }
  return kBegin;
}

}  // namespace

void Transaction::begin(std::vector<Query>& queries) {
  if (begun_) return;
  // PostgreSQL would refuse it too, but not without a line in its log, on the very disk that is full.
  if (lease_->read_only() && isolation_ != Isolation::kRepeatableReadOnly) {
    throw disk_full(queries.empty() ? "" : std::string(queries.front().statement.name));
  }
  queries.insert(queries.begin(), Query{begin_statement(isolation_), Params()});
}

task<std::vector<Rows>> Transaction::run(std::vector<Query> queries) {
  begin(queries);
  auto results = co_await lease_->run(std::move(queries));
  if (!begun_) results.erase(results.begin());
  begun_ = true;
  co_return results;
}

task<Rows> Transaction::query(Statement statement, Params params) {
  std::vector<Query> queries;
  queries.push_back(Query{statement, std::move(params)});
  auto results = co_await run(std::move(queries));
  co_return std::move(results.front());
}

task<std::vector<Rows>> Transaction::run_and_commit(std::vector<Query> queries) {
  queries.push_back(Query{kCommit, Params()});
  auto results = co_await run(std::move(queries));
  results.pop_back();
  committed_ = true;
  co_return results;
}

task<> Transaction::commit() {
  if (begun_) co_await lease_->query(kCommit);
  committed_ = true;
}

}  // namespace cairn::db
