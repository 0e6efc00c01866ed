#include "tuner/apply/apply_session.h"

#include <fmt/format.h>

#include <ostream>
#include <vector>

#include "base/error.h"
#include "base/table.h"

namespace cairn::tuner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using db::Params;
using db::Rows;
using db::Statement;

constexpr int64_t kLock = 0x636169726e74756e;
constexpr auto kPoll = 50ms;
// How long a strong lock is waited for: others wait behind it meanwhile.
constexpr int64_t kBriefLockMs = 200;
constexpr size_t kNamed = 5;
constexpr size_t kShownText = 100;

std::string shortened(const std::string& text) {
  std::string line = on_one_line(text);
  if (line.size() <= kShownText) return line;
  size_t end = kShownText;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
  return line.substr(0, end) + "…";
}

std::string age(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

void ApplySession::check() const {
  if (interrupted()) throw Error(ErrorCode::kAborted, "stopped");
}

void ApplySession::say(const std::string& line) { progress_ << line << std::endl; }

task<> ApplySession::set(db::Connection& connection, std::string sql) {
  const Statement statement{"", sql};
  co_await connection.query(statement);
}

constexpr Statement kName{"tune_name", "/* cairn tune */ SELECT set_config('application_name', $1, false)"};
constexpr Statement kPid{"tune_pid", "/* cairn tune */ SELECT pg_backend_pid()"};

task<std::unique_ptr<db::Connection>> ApplySession::connect(std::string role) {
  auto connection = co_await db::Connection::connect(options_.connection_string);
  Params params = Params::of(options_.name + role);
  co_await connection->query(kName, std::move(params));
  co_await set(*connection, "/* cairn tune */ SET statement_timeout = 0");
  co_await set(*connection, "/* cairn tune */ SET default_transaction_read_only = off");
  if (!role.empty()) {
    // What is written down is kept, whatever the database's setting; names are printed with their schemas.
    co_await set(*connection, "/* cairn tune */ SET synchronous_commit = on");
    co_await set(*connection, "/* cairn tune */ SET search_path = pg_catalog");
  }
  co_return connection;
}

task<> ApplySession::open() {
  co_await reopen_worker();
  books_ = co_await connect(" (journal)");
  watching_ = true;
  Reactor::current().spawn("tune progress", watch());
}

task<> ApplySession::close() {
  closing_ = true;
  while (watching_) co_await sleep_for(5ms);
}

task<> ApplySession::begin_tidying() {
  tidying_ = true;
  // So that a cancellation on its way does not hit what follows.
  while (cancelling_) co_await sleep_for(5ms);
}

task<> ApplySession::reopen_worker() {
  worker_ = co_await connect("");
  const Rows pid = co_await worker_->query(kPid);
  worker_pid_ = pid.integer(0, 0);
  try {
    // A build whose owner was killed ends, rather than go on with nobody to look after it.
    co_await set(*worker_, "/* cairn tune */ SET client_connection_check_interval = '1s'");
  } catch (const db::DbError&) {
    // Before PostgreSQL 14 it goes on to its end; status finds it then.
  }
}

constexpr Statement kTryLock{"tune_try_lock", "/* cairn tune */ SELECT pg_try_advisory_lock($1)"};

// The two halves of the key as pg_locks shows them.
constexpr Statement kHolder{"tune_lock_holder", R"(/* cairn tune */
SELECT l.pid, coalesce(a.application_name, '?')::text, coalesce(a.usename::text, '?'),
       coalesce(to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), '?')
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::int8 = $1 >> 32 AND l.objid::int8 = $1 & 4294967295)"};

task<std::string> ApplySession::holder() {
  Params params = Params::of(kLock);
  const Rows rows = co_await look(kHolder, std::move(params));
  if (rows.empty()) co_return "";
  co_return fmt::format("{} (process {} of PostgreSQL, role {}, since {})", on_one_line(rows.text(0, 1)),
                        rows.integer(0, 0), on_one_line(rows.text(0, 2)), rows.text(0, 3));
}

task<> ApplySession::lock() {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
  bool said = false;
  for (;;) {
    Params params = Params::of(kLock);
    const Rows taken = co_await worker_->query(kTryLock, std::move(params));
    if (taken.boolean(0, 0)) break;
    const std::string who = co_await holder();
    if (Clock::now() >= deadline)
      throw Error(ErrorCode::kResourceConflict,
                  (who.empty() ? std::string("another cairn tune") : who) +
                      " is changing this database: try again when it is done, or wait longer (--wait)");
    if (!said && !who.empty()) {
      say("waiting for " + who);
      said = true;
    }
    co_await sleep_for(kPoll);
    check();
  }
}

task<Rows> ApplySession::look(Statement statement, Params params) {
  if (!books_ || !books_->alive()) books_ = co_await connect(" (journal)");
  co_return co_await books_->query(statement, std::move(params));
}

task<std::vector<Rows>> ApplySession::record(std::vector<db::Query> queries) {
  if (!books_ || !books_->alive()) books_ = co_await connect(" (journal)");
  co_return co_await books_->run(std::move(queries));
}

// Snapshots of the database, and locks on the table that writers and DDL hold. A transaction is known by its virtual
// id, which every role may see; prepared ones have no process.
constexpr Statement kTransactions{"tune_transactions", R"(/* cairn tune */
SELECT DISTINCT ON (l.virtualtransaction) l.virtualtransaction, coalesce(l.pid, 0), coalesce(a.usename::text, '?'),
       coalesce(a.application_name, '')::text, coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8,
       CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE coalesce(a.state, 'not shown') END,
       coalesce(a.query, '')
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.pid IS DISTINCT FROM $2::int4
  AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
  AND ((l.locktype = 'virtualxid' AND a.backend_xmin IS NOT NULL
        AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    OR (l.locktype = 'relation' AND l.relation::int8 = $1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                       'AccessExclusiveLock')))
ORDER BY l.virtualtransaction)"};

namespace {

struct OpenTransaction {
  std::string key;
  std::string text;
};

std::vector<OpenTransaction> transactions_of(const Rows& rows) {
  std::vector<OpenTransaction> all;
  for (int i = 0; i < rows.size(); ++i) {
    all.push_back({rows.text(i, 0), fmt::format("process {} (role {}{}{}), open for {}, {}: {}", rows.integer(i, 1),
                                                on_one_line(rows.text(i, 2)), rows.text(i, 3).empty() ? "" : ", ",
                                                on_one_line(rows.text(i, 3)), age(rows.number(i, 4)), rows.text(i, 5),
                                                shortened(rows.text(i, 6)))});
  }
  return all;
}

}  // namespace

task<> ApplySession::wait_for_transactions(int64_t table) {
  const auto begun = Clock::now();
  std::set<std::string> waited_for;
  for (bool first = true, said = false;; first = false) {
    Params params = Params::of(table, static_cast<int32_t>(worker_pid_));
    const Rows rows = co_await look(kTransactions, std::move(params));
    std::vector<OpenTransaction> left;
    for (const OpenTransaction& open : transactions_of(rows)) {
      if (first) waited_for.insert(open.key);
      if (waited_for.contains(open.key)) left.push_back(open);
    }
    if (left.empty()) co_return;
    const auto waited = Clock::now() - begun;
    std::string named;
    for (size_t i = 0; i < left.size() && i < kNamed; ++i) named += "\n  " + left[i].text;
    if (left.size() > kNamed) named += fmt::format("\n  and {} more", left.size() - kNamed);
    if (waited >= std::chrono::duration<double>(options_.wait_s))
      throw Error(
          ErrorCode::kTemporarilyUnavailable,
          fmt::format("CONCURRENTLY would wait for transactions that are still open after {:.0f} s: end them, or "
                      "wait longer (--wait){}",
                      options_.wait_s, named));
    if (!said && waited >= 1s) {
      say("waiting for transactions to end:" + named);
      said = true;
    }
    co_await sleep_for(kPoll);
    check();
  }
}

constexpr Statement kProgress{"tune_progress", R"(/* cairn tune */
SELECT p.phase, CASE WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total
                     WHEN p.tuples_total > 0 THEN 100 * p.tuples_done / p.tuples_total ELSE -1 END,
       coalesce(p.current_locker_pid, 0)::int8, p.relid::regclass::text
FROM pg_stat_progress_create_index p WHERE p.pid = $1)"};

task<> ApplySession::show_progress() {
  Params params = Params::of(static_cast<int32_t>(worker_pid_));
  const Rows rows = co_await eyes_->query(kProgress, std::move(params));
  if (rows.empty() || !running_) co_return;
  const std::string phase = rows.text(0, 0);
  const int64_t percent = std::min<int64_t>(rows.integer(0, 1), 100), locker = rows.integer(0, 2);
  if (phase == shown_phase_ && percent < shown_percent_ + 10 && locker == shown_locker_) co_return;
  shown_phase_ = phase;
  shown_percent_ = percent;
  shown_locker_ = locker;
  std::string line = on_one_line(rows.text(0, 3)) + ": " + phase;
  if (percent >= 0) line += fmt::format(" {} %", percent);
  if (locker > 0) line += fmt::format(", for process {}", locker);
  say(line);
}

constexpr Statement kCancel{"tune_cancel", "/* cairn tune */ SELECT pg_cancel_backend($1)"};

task<> ApplySession::watch_once(bool progress) {
  if (!interrupted() && !progress) co_return;
  cancelling_ = interrupted();
  try {
    if (!eyes_ || !eyes_->alive()) eyes_ = co_await connect(" (progress)");
    if (cancelling_) {
      Params params = Params::of(static_cast<int32_t>(worker_pid_));
      if (running_ && interrupted()) co_await eyes_->query(kCancel, std::move(params));
    } else {
      co_await show_progress();
    }
  } catch (const db::DbError&) {
    // Progress is not worth an error; the worker's own connection says what is wrong.
  }
  cancelling_ = false;
}

// Cancels again and again: between two statements a cancellation finds nothing to cancel.
task<> ApplySession::watch() {
  for (int tick = 1; !closing_; ++tick) {
    co_await sleep_for(kPoll);
    if (running_ && !closing_) co_await watch_once(tick % 5 == 0);
  }
  watching_ = false;
}

task<> ApplySession::set_timeouts(int64_t lock_ms, int64_t statement_ms) {
  // A tidying step may come after the worker was lost, with the lock.
  if (tidying_ && (!worker_ || !worker_->alive())) {
    co_await reopen_worker();
    co_await lock();
  }
  if (!worker_) throw db::DbError("08003", "the connection that makes the changes was lost", "");
  co_await set(*worker_, fmt::format("/* cairn tune */ SET lock_timeout = {}", lock_ms));
  co_await set(*worker_, fmt::format("/* cairn tune */ SET statement_timeout = {}", statement_ms));
}

task<> ApplySession::run_watched(std::string sql) {
  running_ = true;
  shown_phase_.clear();
  std::exception_ptr failure;
  try {
    co_await set(*worker_, sql);
  } catch (...) {
    failure = std::current_exception();
  }
  running_ = false;
  check();
  if (failure) std::rethrow_exception(failure);
}

namespace {

Error waited_in_vain(const std::string& sql) {
  return Error(ErrorCode::kTemporarilyUnavailable,
               "a lock was not to be had in time, others hold it: try again later, or "
               "wait longer (--wait). It was for " +
                   shortened(sql));
}

}  // namespace

task<> ApplySession::run_long(std::string sql) {
  check();
  // Who waits for the locks of CONCURRENTLY blocks no reader and no writer; for ever it waits no less.
  co_await set_timeouts(std::max<int64_t>(1000, static_cast<int64_t>(options_.wait_s * 1000)), 0);
  try {
    co_await run_watched(sql);
  } catch (const db::DbError& error) {
    if (error.is_lock_timeout()) throw waited_in_vain(sql);
    throw;
  }
}

task<> ApplySession::run_brief(std::string sql, std::chrono::milliseconds within) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
  for (int attempt = 1;; ++attempt) {
    check();
    co_await set_timeouts(kBriefLockMs, within.count());
    bool busy = false;
    try {
      co_await run_watched(sql);
    } catch (const db::DbError& error) {
      busy = error.is_lock_timeout() || error.is_retryable() || (within > 0ms && error.is_statement_timeout());
      if (!busy) throw;
      if (Clock::now() >= deadline) throw waited_in_vain(sql);
    }
    if (!busy) co_return;
    if (attempt == 5) say("a lock is taken by others, trying again: " + shortened(sql));
    // Longer than it was waited for, so that those behind have the most of the time.
    co_await sleep_for(std::chrono::milliseconds(std::min(100 * attempt, 1000)));
  }
}

task<std::vector<Rows>> ApplySession::try_out(std::vector<db::Query> queries) {
  co_await set_timeouts(kBriefLockMs, 0);
  queries.insert(queries.begin(), db::Query{{"tune_begin", "/* cairn tune */ BEGIN"}, {}});
  std::exception_ptr failure;
  std::vector<Rows> results;
  try {
    results = co_await worker_->run(std::move(queries));
  } catch (...) {
    failure = std::current_exception();
  }
  if (!worker_->broken()) co_await set(*worker_, "/* cairn tune */ ROLLBACK");
  if (failure) std::rethrow_exception(failure);
  results.erase(results.begin());
  co_return results;
}

}  // namespace cairn::tuner
