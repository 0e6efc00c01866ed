#include "partitions/session.h"

#include <fmt/format.h>

#include <ostream>

#include "base/error.h"
#include "base/table.h"

namespace cairn::partitions {
namespace {

using namespace std::chrono_literals;
using db::DbError;
using db::Params;
using db::Rows;
using db::Statement;

constexpr int64_t kLock = 0x636169726e707274;
constexpr auto kPoll = 50ms;
// A writer waits behind a strong lock that is waited for, and then for what is done under it: together under a second.
constexpr int kBriefLockMs = 150;
constexpr auto kBriefWork = 600ms;
constexpr int kBriefStatementMs = 300;
// Autovacuum gives way to who has waited for deadlock_timeout, usually a second.
constexpr int kPatientLockMs = 3000;
constexpr auto kTick = 5ms;
constexpr int kTooLongAttempts = 20;

}  // namespace

constexpr Statement kName{"partitions_name", "SELECT set_config('application_name', $1, false)"};
constexpr Statement kFind{"partitions_find", "SELECT coalesce(to_regclass($1)::oid::int8, 0)"};

task<int64_t> Session::open(std::string table) {
  connection_ = co_await db::Connection::connect(options_.connection_string);
  Params name = Params::of(options_.name);
  co_await query(kName, std::move(name));
  int64_t oid = 0;
  if (!table.empty()) {
    Params params = Params::of(table);
    const Rows found = co_await query(kFind, std::move(params));
    oid = found.integer(0, 0);
  }
  // jit: a method that is switched off looks so costly that everything would be compiled.
  for (const char* setting :
       {"statement_timeout = 0", "idle_in_transaction_session_timeout = 0", "synchronous_commit = on",
        "search_path = pg_catalog", "TimeZone = 'UTC'", "DateStyle = 'ISO'", "extra_float_digits = 3",
        "default_transaction_read_only = off", "standard_conforming_strings = on", "jit = off",
        "client_connection_check_interval = '1s'"})
    co_await run(std::string("SET ") + setting);
  co_return oid;
}

constexpr Statement kTryLock{"partitions_try_lock", "SELECT pg_try_advisory_lock($1)"};

task<> Session::lock() {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
  for (bool said = false;;) {
    Params params = Params::of(kLock);
    const Rows taken = co_await query(kTryLock, std::move(params));
    if (taken.boolean(0, 0)) co_return;
    if (Clock::now() >= deadline)
      throw Error(ErrorCode::kResourceConflict,
                  "another cairn partitions is changing this database: try again when it is done, or wait longer "
                  "(--wait)");
    if (!said) say("waiting for another cairn partitions");
    said = true;
    co_await sleep_for(kPoll);
  }
}

task<Rows> Session::query(Statement statement, Params params) {
  if (Clock::now() > must_end_) throw Error(ErrorCode::kRequestTimeout, "others would wait too long");
  co_return co_await connection_->query(statement, std::move(params));
}

task<Rows> Session::run(std::string sql, Params params) {
  const Statement statement{"", sql};
  co_return co_await query(statement, std::move(params));
}

task<> Session::transaction(const Body& body, std::string begin) {
  co_await run(begin);
  std::exception_ptr failure;
  try {
    co_await body();
    co_await run("COMMIT");
  } catch (...) {
    failure = std::current_exception();
  }
  must_end_ = Clock::time_point::max();
  if (!failure) co_return;
  if (!connection_->broken()) co_await run("ROLLBACK");
  std::rethrow_exception(failure);
}

constexpr Statement kOpen{"partitions_open_transactions", R"(
SELECT pid::int8, coalesce(usename::text, '?'), coalesce(state, '?'), extract(epoch FROM now() - xact_start)::float8,
       left(coalesce(query, ''), 100)
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 3)"};

task<std::string> Session::open_transactions() {
  const Rows rows = co_await query(kOpen);
  std::string text;
  for (int i = 0; i < rows.size(); ++i)
    text += fmt::format("\n  process {} (role {}), open for {:.0f} s, {}: {}", rows.integer(i, 0),
                        on_one_line(rows.text(i, 1)), rows.number(i, 3), rows.text(i, 2), on_one_line(rows.text(i, 4)));
  co_return text;
}

task<> Session::hold_off_others(std::string tables) {
  must_end_ = Clock::time_point::max();
  co_await run(fmt::format("SET LOCAL lock_timeout = {}", kPatientLockMs));
  co_await run("SET LOCAL statement_timeout = 0");
  co_await run("LOCK TABLE " + tables + " IN SHARE UPDATE EXCLUSIVE MODE");
  co_await run(fmt::format("SET LOCAL lock_timeout = {}", kBriefLockMs));
}

constexpr Statement kPid{"partitions_pid", "SELECT pg_backend_pid()::int8"};
constexpr Statement kCancel{"partitions_cancel", "SELECT pg_cancel_backend($1::int8::int)"};

task<> Session::cancel_when_late() {
  const auto deadline = Clock::now() + kBriefWork;
  while (running_ && Clock::now() < deadline) co_await sleep_for(kTick);
  try {
    Params params = Params::of(pid_);
    if (running_) co_await canceller_->query(kCancel, std::move(params));
  } catch (const DbError&) {
    // Each statement has its own bound besides.
  }
  watching_ = false;
}

task<> Session::at_once(const std::vector<Step>& steps) {
  if (!canceller_ || !canceller_->alive()) {
    canceller_ = co_await db::Connection::connect(options_.connection_string);
    const Rows pid = co_await query(kPid);
    pid_ = pid.integer(0, 0);
  }
  std::vector<db::Query> queries;
  for (const Step& step : steps) queries.push_back({{"", step.sql}, step.params});
  co_await run(fmt::format("SET LOCAL statement_timeout = {}", kBriefStatementMs));
  running_ = watching_ = true;
  Reactor::current().spawn("partitions watch", cancel_when_late());
  std::exception_ptr failure;
  try {
    co_await connection_->run(std::move(queries));
  } catch (...) {
    failure = std::current_exception();
  }
  running_ = false;
  // A cancellation that is on its way must not hit what follows.
  while (watching_) co_await sleep_for(kTick);
  if (failure) std::rethrow_exception(failure);
}

task<> Session::brief(std::string what, const Body& body, const Body* prepare) {
  const Body timed = [&]() -> task<> {
    co_await run(fmt::format("SET LOCAL lock_timeout = {}", kBriefLockMs));
    co_await run(fmt::format("SET LOCAL statement_timeout = {}", kBriefStatementMs));
    must_end_ = Clock::now() + kBriefWork;
    co_await body();
  };
  co_await attempts(what, timed, prepare, true);
}

task<> Session::patient(std::string what, const Body& body) {
  const Body timed = [&]() -> task<> {
    co_await run(fmt::format("SET LOCAL lock_timeout = {}", kBriefLockMs));
    co_await body();
  };
  co_await attempts(what, timed, nullptr, false);
}

task<> Session::attempts(std::string what, const Body& timed, const Body* prepare, bool bounded) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
  for (int attempt = 1, too_long = 0;; ++attempt) {
    if (prepare != nullptr) co_await (*prepare)();
    bool locked = false;
    try {
      co_await transaction(timed);
      co_return;
    } catch (const DbError& error) {
      locked = error.is_lock_timeout() || error.is_retryable();
      if (!locked && !(bounded && error.is_statement_timeout())) throw;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kRequestTimeout) throw;
    }
    if (!locked && ++too_long == kTooLongAttempts)
      throw Error(
          ErrorCode::kTemporarilyUnavailable,
          fmt::format("{}: under its lock it takes over {} ms, and others would wait that long; it was given up, "
                      "nothing is changed. Try again when the machine is less busy",
                      what, kBriefWork.count()));
    if (Clock::now() >= deadline) {
      const std::string open = co_await open_transactions();
      throw Error(ErrorCode::kTemporarilyUnavailable,
                  what +
                      ": a lock was not to be had in time, others hold it; nothing is lost: run the same command "
                      "again later, or wait longer (--wait)" +
                      (open.empty() ? "" : ". Open transactions:" + open));
    }
    if (attempt == 5) say(what + ": others hold a lock, trying again");
    // Longer than it was waited for, so that those behind have the most of the time.
    co_await sleep_for(std::chrono::milliseconds(std::min(200 * attempt, 1000)));
  }
}

void Session::say(const std::string& line) { progress_ << line << std::endl; }

}  // namespace cairn::partitions
