// Rows move from the default partition in three steps of one transaction:
// 1. Copies are made, of all rows that were committed before a snapshot: those of each new month, and the rest.
// 2. Writers are kept out, and what came after the snapshot is copied. The copies now have as many rows as the default
//    partition, or somebody deleted meanwhile, and all is given up.
// 3. Readers are kept out, and the copies take the default partition's place: no row is looked at for that.
// So a reader sees the partition that was, or those that are, and each value once. Only a transaction that took its
// snapshot before and reads the history for the first time afterwards would see neither; it must lock the history
// first. pg_dump cannot: it locks by name what it saw. So the default partition gets a new name whenever rows leave it,
// and such a dump fails. Where no row has to move, months are added beside the default partition, which stays.
#include "features/partitions.h"

#include <fmt/format.h>

#include "base/log.h"
#include "db/transaction.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

constexpr int kAttempts = 20;
constexpr std::chrono::milliseconds kBetweenAttempts{50};
constexpr std::chrono::hours kBetweenLooks{1};

// {}: the default partition. $1: months ahead, $2: rows that are worth a partition. Bounds are of UTC.
constexpr std::string_view kWanted =
    "SELECT 'history_' || to_char(m, 'YYYY_MM'), to_char(m, 'YYYY-MM-DD \"00:00:00+00\"'),"
    " to_char(m + interval '1 month', 'YYYY-MM-DD \"00:00:00+00\"') FROM ("
    "SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month' FROM generate_series(0, $1::bigint) "
    "n UNION (SELECT date_trunc('month', event_time AT TIME ZONE 'UTC') FROM {}"
    " WHERE event_time BETWEEN '1900-01-01 00:00:00+00' AND '2999-01-01 00:00:00+00'"
    " GROUP BY 1 HAVING count(*) >= $2 ORDER BY count(*) DESC LIMIT 24)) w (m)"
    " WHERE to_regclass('features.history_' || to_char(m, 'YYYY_MM')) IS NULL ORDER BY m";
// Ends with the transaction.
constexpr Statement kAlone{"history_partitions_alone",
                           "SELECT pg_try_advisory_xact_lock(hashtextextended('features.history', 0))"};
constexpr Statement kDefault{"history_default",
                             "SELECT partdefid::regclass::text FROM pg_partitioned_table"
                             " WHERE partrelid = 'features.history'::regclass AND partdefid <> 0"};
// The transaction's own number makes the age of others exact.
constexpr Statement kSnapshot{"history_partitions_snapshot",
                              "SELECT pg_current_xact_id()::text::bigint, pg_current_snapshot()::text"};
constexpr Statement kSavepoint{"history_savepoint", "SAVEPOINT before_locks"};
constexpr Statement kBack{"history_back", "ROLLBACK TO SAVEPOINT before_locks"};
constexpr Statement kKeepWritersOut{"history_keep_writers_out",
                                    "LOCK TABLE ONLY features.history IN SHARE ROW EXCLUSIVE MODE"};
constexpr Statement kSince{"history_since", "CREATE TABLE features.history_since (LIKE features.history)"};
constexpr Statement kDropSince{"history_drop_since", "DROP TABLE features.history_since"};
constexpr Statement kAnalyze{"history_analyze", "ANALYZE features.history"};

// Part of the default partition in a table of its own.
struct Copy {
  std::string table;
  std::string where;  // of the rows that belong there
  std::string from, to;
};

// Their condition is over the default partition as `d`.
std::vector<Copy> copies_of(const Rows& wanted) {
  std::vector<Copy> copies;
  std::string rest = "true";
  for (int i = 0; i < wanted.size(); ++i) {
    Copy copy{wanted.text(i, 0), "", wanted.text(i, 1), wanted.text(i, 2)};
    copy.where = fmt::format("(d.event_time >= '{}' AND d.event_time < '{}')", copy.from, copy.to);
    rest += " AND NOT " + copy.where;
    copies.push_back(std::move(copy));
  }
  copies.push_back({"history_rest", rest, "", ""});
  return copies;
}

class Move {
 public:
  Move(Transaction& transaction, std::string default_partition, std::vector<Copy> copies)
      : transaction_(transaction), default_(std::move(default_partition)), copies_(std::move(copies)) {}

  task<> copy_what_is_there();
  // False when rows were deleted meanwhile, or the first came for a new month. Throws DbError when a lock was not to be
  // had.
  task<bool> take_its_place();
  int64_t copied() const { return copied_; }

 private:
  task<Rows> run(std::string sql);
  task<bool> has_rows_to_move();
  task<> attach_copies();
  task<int64_t> copy_rows(std::string_view source, std::string condition);

  Transaction& transaction_;
  std::string default_;
  std::vector<Copy> copies_;  // the rest last
  bool moving_ = false;
  std::string new_default_;
  std::string before_snapshot_;  // whether a row was committed then
  int64_t copied_ = 0;
};

task<Rows> Move::run(std::string sql) {
  const Statement statement{"", sql};
  co_return co_await transaction_.query(statement);
}

// Of the table `source`. A row is of one side or the other for good: its transaction's number does not change. One that
// is wrong in that matter (of a subtransaction under way) is missing in the count.
task<int64_t> Move::copy_rows(std::string_view source, std::string condition) {
  int64_t rows = 0;
  for (const Copy& copy : copies_) {
    const Rows done = co_await run(fmt::format("INSERT INTO features.{} SELECT d.* FROM {} d WHERE {}{}",
                                               db::quote_identifier(copy.table), source, copy.where, condition));
    rows += done.affected();
  }
  co_return rows;
}

task<bool> Move::has_rows_to_move() {
  const Rows found =
      co_await run(fmt::format("SELECT EXISTS (SELECT FROM {} d WHERE NOT ({}))", default_, copies_.back().where));
  co_return found.boolean(0, 0);
}

task<> Move::copy_what_is_there() {
  moving_ = co_await has_rows_to_move();
  if (!moving_) co_return;
  const Rows now = co_await transaction_.query(kSnapshot);
  before_snapshot_ = fmt::format("pg_visible_in_snapshot(greatest({} - age(d.xmin), 3)::text::xid8, '{}')",
                                 now.integer(0, 0), now.text(0, 1));
  new_default_ = fmt::format("history_default_{}", now.integer(0, 0));
  for (const Copy& copy : copies_) {
    // The CHECK spares the look at all rows when the table becomes a partition.
    const std::string check =
        copy.from.empty() ? ""
                          : fmt::format(", CONSTRAINT its_month CHECK (event_time >= '{}' AND event_time < '{}')",
                                        copy.from, copy.to);
    co_await run(fmt::format("CREATE TABLE features.{} (LIKE features.history INCLUDING ALL{})",
                             db::quote_identifier(copy.table), check));
  }
  co_await transaction_.query(kSince);
  copied_ = co_await copy_rows(default_, " AND " + before_snapshot_);
}

task<bool> Move::take_its_place() {
  co_await transaction_.query(kKeepWritersOut);
  co_await run(fmt::format("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", default_));
  if (moving_) {
    // One look at all rows while writers wait.
    co_await run(fmt::format("INSERT INTO features.history_since SELECT d.* FROM {} d WHERE NOT {}", default_,
                             before_snapshot_));
    const int64_t since = co_await copy_rows("features.history_since", "");
    const Rows count = co_await run("SELECT count(*) FROM " + default_);
    if (count.integer(0, 0) != copied_ + since) co_return false;
    co_await attach_copies();
    copied_ += since;
  } else {
    if (co_await has_rows_to_move()) co_return false;
    for (const Copy& copy : copies_)
      if (!copy.from.empty())
        co_await run(
            fmt::format("CREATE TABLE features.{} PARTITION OF features.history FOR VALUES FROM ('{}') TO ('{}')",
                        db::quote_identifier(copy.table), copy.from, copy.to));
  }
  co_await transaction_.commit();
  co_return true;
}

task<> Move::attach_copies() {
  co_await run("ALTER TABLE features.history DETACH PARTITION " + default_);
  co_await run("DROP TABLE " + default_);
  co_await transaction_.query(kDropSince);
  for (const Copy& copy : copies_) {
    if (copy.from.empty()) continue;
    const std::string table = "features." + db::quote_identifier(copy.table);
    co_await run(fmt::format("ALTER TABLE features.history ATTACH PARTITION {} FOR VALUES FROM ('{}') TO ('{}')", table,
                             copy.from, copy.to));
    co_await run(fmt::format("ALTER TABLE {} DROP CONSTRAINT its_month", table));
  }
  co_await run("ALTER TABLE features.history_rest RENAME TO " + new_default_);
  co_await run(fmt::format("ALTER TABLE features.history ATTACH PARTITION features.{} DEFAULT", new_default_));
}

// Whether it did, in one of a bounded number of attempts.
task<bool> take_its_place_at_last(Transaction& transaction, Move& move) {
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    co_await transaction.query(kSavepoint);
    try {
      co_return co_await move.take_its_place();
    } catch (const db::DbError& error) {
      if (!error.is_lock_timeout() && !error.is_retryable()) throw;
    }
    co_await transaction.query(kBack);
    co_await sleep_for(kBetweenAttempts);
  }
  co_return false;
}

}  // namespace

task<PartitionReport> keep_partitions(db::Pool& pool, PartitionPolicy policy) {
  PartitionReport report;
  {
    Transaction transaction(co_await pool.acquire(), db::Isolation::kReadCommitted);
    const Rows alone = co_await transaction.query(kAlone);
    if (!alone.boolean(0, 0)) co_return report;
    const Rows found = co_await transaction.query(kDefault);
    if (found.empty())
      throw Error(ErrorCode::kInvalidState,
                  "features.history has no default partition, which takes rows of any time: make one by CREATE TABLE "
                  "features.history_default PARTITION OF features.history DEFAULT");
    const std::string default_partition = found.text(0, 0);
    const std::string wanted_sql = fmt::format(kWanted, default_partition);
    const Statement wanted_statement{"", wanted_sql};
    const Rows wanted = co_await transaction.query(wanted_statement, Params::of(policy.months_ahead, policy.rows_min));
    if (wanted.empty()) co_return report;
    const std::string timeout = fmt::format("SET LOCAL lock_timeout = {}", policy.lock_timeout.count());
    const Statement set_timeout{"", timeout};
    co_await transaction.query(set_timeout);
    Move move(transaction, default_partition, copies_of(wanted));
    co_await move.copy_what_is_there();
    if (!co_await take_its_place_at_last(transaction, move)) co_return report;
    for (int i = 0; i < wanted.size(); ++i) report.made.push_back(wanted.text(i, 0));
    report.moved = move.copied();
  }
  if (report.moved > 0) co_await pool.query(kAnalyze);
  co_return report;
}

task<> keep_partitions_always(db::Pool& pool) {
  for (;;) {
    try {
      for (PartitionReport report;;) {
        report = co_await keep_partitions(pool);
        for (const std::string& table : report.made) log::info("made the partition features.{}", table);
        if (report.made.empty()) break;
      }
    } catch (const Error& error) {
      log::warn("the partitions of features.history were not looked after, and will be in an hour: {}", error.what());
    }
    co_await sleep_for(kBetweenLooks);
  }
}

}  // namespace cairn::features
