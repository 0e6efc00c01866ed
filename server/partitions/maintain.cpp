// What partitioned tables need again and again: partitions ahead, gaps filled, the default partition emptied, old ones
// detached. Nothing is deleted here.
#include "partitions/maintain.h"

#include <fmt/format.h>

#include "base/error.h"
#include "partitions/convert.h"
#include "partitions/give_back.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

// The most that is moved while others wait.
constexpr int64_t kMostMoved = 20'000;
constexpr int kMostAtOnce = 100;

constexpr Statement kOwner{"partitions_owner", R"(
SELECT pg_get_userbyid(c.relowner)::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND a.attgenerated = '' ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'p')"};

struct Parent {
  std::string owner = {};
  std::vector<std::string> columns = {};  // that are written
};

task<Parent> parent_of(Session& session, const Managed& table) {
  Params params = Params::of(table.schema, table.table);
  const Rows rows = co_await session.query(kOwner, std::move(params));
  if (rows.empty())
    throw not_found(table.shown_name() +
                    " is gone, or no longer partitioned: DELETE FROM cairn_partitions.managed WHERE "
                    "table_name = '" +
                    table.table + "' makes that known");
  co_return Parent{rows.text(0, 0), rows.texts(0, 1)};
}

// The user's triggers of a partition that fire for everybody.
constexpr Statement kTriggersOf{"partitions_triggers_of", R"(
SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal AND tgenabled = 'O')"};

// In the caller's transaction. Rows change their place only: no trigger is told.
task<int64_t> move_rows(Session& session, std::string from, std::string to, std::string columns, std::string where) {
  Params params = Params::of(from);
  const Rows triggers = co_await session.query(kTriggersOf, std::move(params));
  for (int i = 0; i < triggers.size(); ++i)
    co_await session.run("ALTER TABLE " + from + " DISABLE TRIGGER " + triggers.text(i, 0));
  const Rows moved = co_await session.run(
      fmt::format("WITH gone AS (DELETE FROM {0} WHERE {1} RETURNING {2}), made AS (INSERT INTO {3} ({2}) OVERRIDING"
                  " SYSTEM VALUE SELECT {2} FROM gone) SELECT count(*) FROM gone",
                  from, where, columns, to));
  for (int i = 0; i < triggers.size(); ++i)
    co_await session.run("ALTER TABLE " + from + " ENABLE TRIGGER " + triggers.text(i, 0));
  co_return moved.integer(0, 0);
}

}  // namespace

task<> make_partition_table(Session& session, const Managed& table, std::string name) {
  const Parent parent = co_await parent_of(session, table);
  const std::string full = qualified(table.schema, name);
  co_await session.run(fmt::format("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS){}",
                                   full, table.full_name(), table.storage));
  co_await session.run("ALTER TABLE " + full + " OWNER TO " + db::quote_identifier(parent.owner));
  co_await revoke_defaults(session, full);
}

namespace {

// ATTACH looks at the default partition, which is small; the rows that belong to the new one are taken out of it first.
task<int64_t> make_partition(Session& session, const Managed& table, const Range& range, const std::string& rest) {
  int64_t moved = 0;
  const Parent parent = co_await parent_of(session, table);
  const std::string columns = column_list(parent.columns), full = qualified(table.schema, range.name);
  const Session::Body body = [&]() -> task<> {
    co_await make_partition_table(session, table, range.name);
    if (!rest.empty()) {
      co_await session.run("LOCK TABLE " + rest + " IN ACCESS EXCLUSIVE MODE");
      moved = co_await move_rows(session, rest, full, columns, condition(table.scheme, range));
    }
    co_await session.run("ALTER TABLE " + table.full_name() + " ATTACH PARTITION " + full + " FOR VALUES " +
                         range.bounds);
  };
  co_await session.brief("making " + table.schema + "." + range.name, body);
  co_return moved;
}

task<int64_t> rows_waiting(Session& session, const Managed& table, const Range& range, const std::string& rest) {
  if (rest.empty()) co_return 0;
  const Rows rows = co_await session.run(fmt::format("SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT {}) r", rest,
                                                     condition(table.scheme, range), kMostMoved + 1));
  co_return rows.integer(0, 0);
}

task<> make_missing(Session& session, const Managed& table, const std::string& rest, MaintainReport& report) {
  std::vector<Range> missing = co_await missing_ranges(session, table.schema, table.table, table.scheme);
  if (missing.size() > kMostAtOnce) missing.resize(kMostAtOnce);
  for (const Range& range : missing) {
    const int64_t waiting = co_await rows_waiting(session, table, range, rest);
    if (waiting > kMostMoved) {
      report.problems.push_back(fmt::format(
          "{} is missing, and over {} rows of it are in {}: moving them would keep others waiting for over a "
          "second. Move them by hand, in parts",
          range.name, kMostMoved, rest));
      continue;
    }
    report.made.push_back(range.name);
    if (report.dry_run)
      report.moved += waiting;
    else
      report.moved += co_await make_partition(session, table, range, rest);
  }
}

constexpr Statement kOld{"partitions_old", R"(
SELECT to_char(date_trunc('month', now()) - make_interval(months => $1::int8::int), 'YYYY-MM-DD HH24:MI:SS"+00"'))"};
// One that was restored is kept.
constexpr Statement kRestored{"partitions_restored", R"(
SELECT partition FROM cairn_partitions.detached WHERE table_schema = $1 AND table_name = $2 AND restored_at IS NOT NULL)"};
constexpr Statement kDetached{"partitions_detached", R"(
INSERT INTO cairn_partitions.detached (table_schema, table_name, partition, bounds, lower_bound, upper_bound)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (table_schema, partition) DO UPDATE SET table_name = excluded.table_name, bounds = excluded.bounds,
  lower_bound = excluded.lower_bound, upper_bound = excluded.upper_bound, detached_at = clock_timestamp(),
  archived_at = NULL, archive = NULL, rows = NULL, sha256 = NULL, restored_at = NULL)"};

task<> detach(Session& session, const Managed& table, const Partition& partition) {
  const Session::Body body = [&]() -> task<> {
    co_await session.run("ALTER TABLE " + table.full_name() + " DETACH PARTITION " +
                         qualified(table.schema, partition.name));
    Params params =
        Params::of(table.schema, table.table, partition.name, partition.bounds, partition.from, partition.to);
    co_await session.query(kDetached, std::move(params));
  };
  co_await session.brief("detaching " + table.schema + "." + partition.name, body);
}

task<> detach_old(Session& session, const Managed& table, const std::vector<Partition>& partitions,
                  MaintainReport& report) {
  if (table.scheme.keep_months == 0) co_return;
  Params months = Params::of(table.scheme.keep_months);
  const Rows limit = co_await session.query(kOld, std::move(months));
  Params params = Params::of(table.schema, table.table);
  const Rows restored = co_await session.query(kRestored, std::move(params));
  for (const Partition& partition : partitions) {
    // Both are written alike, but for the hours that a date has not.
    if (partition.is_default || partition.to.substr(0, 19) > limit.text(0, 0)) continue;
    bool keep = false;
    for (int i = 0; i < restored.size(); ++i) keep = keep || restored.text(i, 0) == partition.name;
    if (keep) continue;
    try {
      if (!report.dry_run) co_await detach(session, table, partition);
      report.detached.push_back(partition.name);
    } catch (const db::DbError& error) {
      if (!error.is_foreign_key_violation()) throw;
      report.problems.push_back(partition.name +
                                " is older than what is kept, but its rows are referred to: " + error.what());
    }
  }
}

// Of a conversion that is not finished the old table is brought up to date. A partition is not detached meanwhile: it
// would not be told.
task<bool> follow_kept(Session& session, const Managed& table, MaintainReport& report) {
  const std::optional<Conversion> begun = co_await conversion_of(session, table.schema, table.table);
  if (!begun) co_return false;
  const std::string end = "cairn partitions finish " + table.shown_name() + " drops it";
  report.problems.push_back("its old table is kept, and nothing is detached meanwhile: " + end);
  const std::optional<Kept> kept = co_await kept_of(session, *begun);
  if (!kept || report.dry_run) co_return true;
  try {
    GiveBack back(session, *begun, *kept);
    co_await back.follow();
  } catch (const Error& error) {
    report.problems.push_back(error.what());
  }
  co_return true;
}

}  // namespace

task<MaintainReport> maintain(Session& session, Managed table, bool dry_run) {
  MaintainReport report;
  report.table = table.shown_name();
  report.dry_run = dry_run;
  const Parent parent = co_await parent_of(session, table);
  const std::vector<Partition> partitions = co_await partitions_of(session, table.schema, table.table);
  std::string rest;
  for (const Partition& partition : partitions) {
    if (partition.is_default) rest = qualified(table.schema, partition.name);
  }
  co_await make_missing(session, table, rest, report);
  const bool kept = co_await follow_kept(session, table, report);
  if (!kept) co_await detach_old(session, table, partitions, report);
  if (!rest.empty()) {
    const Rows left = co_await session.run("SELECT count(*) FROM (SELECT FROM " + rest + " LIMIT 1000001) r");
    report.in_default = left.integer(0, 0) - (dry_run ? report.moved : 0);
    if (report.in_default > 0)
      report.problems.push_back(
          fmt::format("{} rows are in the default partition: of times long ago or far ahead, or of rare values",
                      report.in_default));
  }
  co_return report;
}

}  // namespace cairn::partitions
