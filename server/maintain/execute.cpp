#include "maintain/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using db::Params;
using db::Rows;
using db::Statement;

constexpr auto kPoll = 50ms;
// A new index lies beside the old one until the end, and what is written goes into the log.
constexpr double kRoomPerByte = 2;
constexpr double kRoomBesides = 64 << 20;

bool is_drop(Kind kind) {
  return kind == Kind::kDropInvalid || kind == Kind::kDropDuplicate || kind == Kind::kDropCovered ||
         kind == Kind::kDropUnused;
}

}  // namespace

task<std::vector<Outcome>> Maintainer::carry_out(Run& run, std::vector<Action> actions) {
  std::vector<Outcome> outcomes;
  for (Action& action : actions) outcomes.push_back({.action = std::move(action)});
  std::exception_ptr failure;
  try {
    co_await session_.open();
    co_await session_.lock();
    if (options_.gentle) co_await session_.run_long("/* cairn tune */ SET vacuum_cost_delay = '2ms'");
    for (size_t i = 0; i < outcomes.size(); ++i) co_await one(run, static_cast<int64_t>(i + 1), outcomes[i]);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await session_.close();
  if (failure) std::rethrow_exception(failure);
  co_return outcomes;
}

constexpr Statement kSize{"maintain_size", R"(/* cairn tune */
SELECT CASE WHEN c.relkind IN ('i', 'I') THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END
FROM pg_class c WHERE c.oid = to_regclass($1))"};

task<> Maintainer::one(Run& run, int64_t number, Outcome& outcome) {
  if (session_.stopped() || !options_.may_go_on()) {
    co_await run.end_action(number, "left", "", std::nullopt);
    co_return;
  }
  const auto begun = Clock::now();
  co_await run.begin_action(number, outcome.action);
  session_.say(outcome.action.statement);
  std::exception_ptr lost;
  try {
    co_await act(outcome.action);
    outcome.state = "done";
  } catch (const db::DbError& error) {
    outcome.state = "failed";
    outcome.error = error.what();
    if (error.is_unavailable()) lost = std::current_exception();
  } catch (const Error& error) {
    outcome.state = "failed";
    outcome.error = error.what();
  }
  outcome.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  if (!lost) {
    Params params = Params::of(outcome.action.object);
    const Rows size = co_await session_.look(kSize, std::move(params));
    outcome.bytes_after = size.empty() ? 0 : size.integer(0, 0);
  }
  co_await run.end_action(number, outcome.state, outcome.error, outcome.bytes_after);
  if (!outcome.error.empty()) session_.say("  " + outcome.error);
  if (lost) std::rethrow_exception(lost);
}

task<> Maintainer::act(const Action& action) {
  if (is_drop(action.kind))
    co_await drop(action);
  else if (action.kind == Kind::kReindex)
    co_await rebuild(action);
  else
    co_await session_.run_long("/* cairn tune */ " + action.statement);
}

constexpr Statement kWhere{"maintain_where", R"(/* cairn tune */
SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       extract(epoch FROM pg_postmaster_start_time())::int8,
       (SELECT c.reltablespace <> 0 FROM pg_class c WHERE c.oid::int8 = $1))"};

task<> Maintainer::check_room(const Action& action) {
  Params params = Params::of(action.oid);
  const Rows where = co_await session_.look(kWhere, std::move(params));
  if (where.is_null(0, 0) || (!where.is_null(0, 2) && where.boolean(0, 2))) co_return;
  const auto disk = tuner::local_disk(where.text(0, 0), where.integer(0, 1));
  const double needed = kRoomPerByte * static_cast<double>(action.bytes) + kRoomBesides;
  if (disk && disk->free_bytes < needed)
    throw Error(ErrorCode::kInsufficientStorage,
                fmt::format("a new index needs about {} while it is made, and {} are free: make room first",
                            triage::shown_bytes(needed), triage::shown_bytes(disk->free_bytes)));
}

task<> Maintainer::rebuild(const Action& action) {
  const bool there = co_await still_there(action);
  if (!there) co_return;
  co_await check_room(action);
  co_await session_.wait_for_transactions(action.table_oid);
  std::exception_ptr failure;
  try {
    co_await session_.run_long("/* cairn tune */ " + action.statement);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  co_await session_.begin_tidying();
  std::exception_ptr left;
  try {
    co_await remove_leftovers(action.table_oid);
  } catch (...) {
    left = std::current_exception();  // the next plan finds it
  }
  session_.end_tidying();
  std::rethrow_exception(failure);
}

// Of builds that PostgreSQL gave up: REINDEX CONCURRENTLY names what it makes and what it replaces so.
constexpr Statement kLeftovers{"maintain_leftovers", R"(/* cairn tune */
SELECT i.indexrelid::int8, quote_ident(n.nspname) || '.' || quote_ident(x.relname)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE i.indrelid::int8 = $1 AND NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$')"};

task<> Maintainer::remove_leftovers(int64_t table_oid) {
  Params params = Params::of(table_oid);
  const Rows rows = co_await session_.look(kLeftovers, std::move(params));
  for (int i = 0; i < rows.size(); ++i) {
    Action leftover{.kind = Kind::kDropInvalid,
                    .oid = rows.integer(i, 0),
                    .table_oid = table_oid,
                    .object = rows.text(i, 1),
                    .statement = "DROP INDEX CONCURRENTLY IF EXISTS " + rows.text(i, 1)};
    co_await drop(leftover);
  }
}

// The name may have gone to another index since; and an invalid one may be a build that is under way, whose table is
// then locked against others of its kind.
constexpr Statement kNow{"maintain_index_now", R"(/* cairn tune */
SELECT i.indisvalid, EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = i.indrelid AND l.granted
         AND l.mode = 'ShareUpdateExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
FROM pg_index i WHERE i.indexrelid::int8 = $1 AND i.indexrelid = to_regclass($2))"};

task<bool> Maintainer::still_there(const Action& action) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.wait_s);
  for (;;) {
    Params params = Params::of(action.oid, action.object);
    const Rows rows = co_await session_.look(kNow, std::move(params));
    if (rows.empty()) co_return false;
    if (rows.boolean(0, 0) == (action.kind == Kind::kDropInvalid))
      throw Error(ErrorCode::kResourceConflict, action.kind == Kind::kDropInvalid ? "it is valid by now, and stays"
                                                                                  : "it is no longer valid: plan anew");
    if (action.kind != Kind::kDropInvalid || !rows.boolean(0, 1)) co_return true;
    if (Clock::now() >= deadline)
      throw Error(ErrorCode::kTemporarilyUnavailable,
                  "its table is being worked on (an index build, VACUUM or the like): try again when that is done");
    co_await sleep_for(kPoll);
    session_.check();
  }
}

task<> Maintainer::drop(const Action& action) {
  const bool there = co_await still_there(action);
  if (!there) co_return;
  co_await session_.wait_for_transactions(action.table_oid);
  if (action.statement.find(" CONCURRENTLY ") == std::string::npos)
    co_await session_.run_brief("/* cairn tune */ " + action.statement, 1s);  // a partitioned table's
  else
    co_await session_.run_long("/* cairn tune */ " + action.statement);
}

std::string summary_of(const std::vector<Outcome>& outcomes) {
  int done = 0, failed = 0, left = 0;
  double won = 0;
  for (const Outcome& outcome : outcomes) {
    done += outcome.state == "done";
    failed += outcome.state == "failed";
    left += outcome.state == "left";
    if (outcome.state == "done" && outcome.bytes_after)
      won += static_cast<double>(outcome.action.bytes - *outcome.bytes_after);
  }
  if (outcomes.empty()) return "nothing was needed";
  std::string text = fmt::format("{} done", done);
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (left > 0) text += fmt::format(", {} left", left);
  if (won >= 1024) text += fmt::format("; {} won", triage::shown_bytes(won));
  return text;
}

}  // namespace cairn::maintain
