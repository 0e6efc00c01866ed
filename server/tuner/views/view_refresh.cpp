#include "tuner/views/view_refresh.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/json.h"
#include "base/reactor.h"
#include "base/table.h"
#include "db/transaction.h"
#include "tuner/views/view_candidates.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr double kMiB = 1 << 20;

struct Outcome {
  ViewState view;
  std::string what;  // "refreshed", "fresh", "busy", "failed"
  std::string why;
};

// CREATE … IF NOT EXISTS asks for the right to create even where there is nothing to do.
constexpr Statement kIsThere{"tune_views_there",
                             "/* cairn tune */ SELECT to_regnamespace('cairn_tune') IS NOT NULL, "
                             "to_regclass('cairn_tune.materialized_views') IS NOT NULL"};
constexpr Statement kSchema{"", "/* cairn tune */ CREATE SCHEMA IF NOT EXISTS cairn_tune"};
constexpr Statement kTable{
    "",
    "/* cairn tune */ CREATE TABLE IF NOT EXISTS cairn_tune.materialized_views ("
    "schema_name text NOT NULL, view_name text NOT NULL, "
    "refresh_every_s bigint NOT NULL DEFAULT 300, "
    "changes_max bigint, "
    "refreshed_at timestamptz, refresh_ms float8 NOT NULL DEFAULT 0, refreshes bigint NOT NULL DEFAULT 0, "
    "changes_seen bigint, "  // rows written below the view until its last refresh, by PostgreSQL's counters
    "scans_own bigint NOT NULL DEFAULT 0, "  // scans of the view before it was taken up, and by refreshes
    "PRIMARY KEY (schema_name, view_name))"};

// Of a view v: all scans.
#define CAIRN_SCANS                                                                                           \
  "coalesce(pg_stat_get_numscans(v.oid), 0) + coalesce((SELECT sum(pg_stat_get_numscans(i.indexrelid)) FROM " \
  "pg_index i WHERE i.indrelid = v.oid), 0)::int8"

constexpr Statement kForget{
    "tune_views_forget",
    "/* cairn tune */ DELETE FROM cairn_tune.materialized_views r WHERE NOT EXISTS (SELECT FROM pg_class v JOIN "
    "pg_namespace n ON n.oid = v.relnamespace WHERE v.relkind = 'm' AND n.nspname = r.schema_name AND v.relname = "
    "r.view_name)"};
constexpr Statement kTakeUp{
    "tune_views_take_up",
    "/* cairn tune */ INSERT INTO cairn_tune.materialized_views (schema_name, view_name, scans_own) "
    "SELECT n.nspname, v.relname, " CAIRN_SCANS
    " FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace "
    "WHERE v.relkind = 'm' AND (obj_description(v.oid, 'pg_class') = $1 OR v.oid = ANY ($2)) ON CONFLICT DO NOTHING"};
constexpr Statement kFind{
    "tune_view_find", "/* cairn tune */ SELECT oid::int8 FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'm'"};
constexpr Statement kSchedule{
    "tune_view_schedule",
    "/* cairn tune */ UPDATE cairn_tune.materialized_views r SET refresh_every_s = coalesce($2, refresh_every_s), "
    "changes_max = CASE WHEN $3 = 0 THEN NULL ELSE coalesce($3, changes_max) END FROM pg_class v JOIN pg_namespace n "
    "ON "
    "n.oid = v.relnamespace WHERE n.nspname = r.schema_name AND v.relname = r.view_name AND (cardinality($1) = 0 OR "
    "v.oid = ANY ($1))"};

// What is below a view, through other views and down to partitions, and how it stands. $1: views; none: all.
constexpr Statement kStates{
    "tune_views",
    "/* cairn tune */ WITH RECURSIVE below(view, relation) AS ("
    "SELECT v.oid, d.refobjid FROM cairn_tune.materialized_views r JOIN pg_namespace n ON n.nspname = r.schema_name "
    "JOIN pg_class v ON v.relnamespace = n.oid AND v.relname = r.view_name JOIN pg_rewrite w ON w.ev_class = v.oid "
    "JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = "
    "'pg_class'::regclass AND d.refobjid <> v.oid "
    "UNION SELECT b.view, x.relation FROM below b JOIN pg_class c ON c.oid = b.relation CROSS JOIN LATERAL ("
    "SELECT d.refobjid FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid "
    "AND d.refclassid = 'pg_class'::regclass WHERE w.ev_class = c.oid AND c.relkind = 'v' AND d.refobjid <> c.oid "
    "UNION ALL SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = c.oid) x(relation)), "
    "changes(view, rows, known) AS (SELECT b.view, sum(pg_stat_get_tuples_inserted(c.oid) + "
    "pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid)) FILTER (WHERE c.relkind IN ('r', "
    "'m'))::int8, bool_and(c.relkind <> 'f') AND current_setting('track_counts')::bool FROM below b JOIN pg_class c ON "
    "c.oid = b.relation GROUP BY b.view) "
    "SELECT r.schema_name, r.view_name, r.refresh_every_s, r.changes_max, "
    "extract(epoch FROM clock_timestamp() - r.refreshed_at)::float8, r.refresh_ms, r.refreshes, "
    "coalesce(c.rows, 0), r.changes_seen, coalesce(c.known, false), "
    R"(pg_get_viewdef(v.oid) ~* '\m(now\(|age\(|current_date|current_time|localtime|statement_timestamp|transaction_timestamp)', )"
    "v.relispopulated, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = v.oid AND i.indisunique AND i.indisvalid AND "
    "i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate), " CAIRN_SCANS
    " - r.scans_own, greatest(v.reltuples, 0)::float8, pg_total_relation_size(v.oid)::int8 "
    "FROM cairn_tune.materialized_views r JOIN pg_namespace n ON n.nspname = r.schema_name "
    "JOIN pg_class v ON v.relnamespace = n.oid AND v.relname = r.view_name AND v.relkind = 'm' "
    "LEFT JOIN changes c ON c.view = v.oid WHERE cardinality($1) = 0 OR v.oid = ANY ($1) ORDER BY 1, 2"};

constexpr Statement kTryLock{
    "tune_view_lock",
    "/* cairn tune */ SELECT pg_try_advisory_xact_lock(hashtext('cairn tune refresh'), hashtext($1 || '.' || $2))"};
constexpr Statement kPatience{"", "/* cairn tune */ SET LOCAL lock_timeout = '30s'"};
// The scans that this transaction made were the refresh's own.
constexpr Statement kRecord{
    "tune_view_record",
    "/* cairn tune */ UPDATE cairn_tune.materialized_views r SET refreshed_at = now(), refresh_ms = "
    "extract(epoch FROM clock_timestamp() - now())::float8 * 1000, refreshes = refreshes + 1, changes_seen = $3, "
    "scans_own = scans_own + coalesce(pg_stat_get_xact_numscans(v.oid), 0) + coalesce((SELECT "
    "sum(pg_stat_get_xact_numscans(i.indexrelid)) FROM pg_index i WHERE i.indrelid = v.oid), 0)::int8 "
    "FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace "
    "WHERE n.nspname = r.schema_name AND v.relname = r.view_name AND r.schema_name = $1 AND r.view_name = $2"};

struct Found {
  ViewState view;
  int64_t counted = 0;  // rows written below it, ever
};

Found read_state(const Rows& rows, int row) {
  Found found{.view = {.schema = rows.text(row, 0),
                       .name = rows.text(row, 1),
                       .every_s = rows.integer(row, 2),
                       .changes_max = rows.optional_integer(row, 3),
                       .refresh_ms = rows.number(row, 5),
                       .refreshes = rows.integer(row, 6),
                       .changes_known = rows.boolean(row, 9),
                       .reads_clock = rows.boolean(row, 10),
                       .populated = rows.boolean(row, 11),
                       .has_unique_index = rows.boolean(row, 12),
                       .hits = std::max<int64_t>(rows.integer(row, 13), 0),
                       .rows = rows.number(row, 14),
                       .bytes = rows.integer(row, 15)},
              .counted = rows.integer(row, 7)};
  if (!rows.is_null(row, 4)) found.view.age_s = rows.number(row, 4);
  // Counters that went back were reset: what they count is new.
  const int64_t seen = rows.optional_integer(row, 8).value_or(0);
  found.view.changes = found.counted >= seen ? found.counted - seen : found.counted;
  return found;
}

std::string shown_name(const ViewState& view) {
  return db::quote_identifier(view.schema) + "." + db::quote_identifier(view.name);
}

task<std::vector<int64_t>> find_views(db::Pool& pool, const std::vector<std::string>& names) {
  std::vector<int64_t> oids;
  for (const std::string& name : names) {
    Params params = Params::of(name);
    const Rows found = co_await pool.query(kFind, std::move(params));
    if (found.empty()) throw not_found("there is no materialized view " + name + " in this database");
    oids.push_back(found.integer(0, 0));
  }
  co_return oids;
}

// False: the table is not there, and only reading was asked for.
task<bool> prepare(db::Pool& pool, const RefreshOptions& options, const std::vector<int64_t>& oids) {
  const Rows there = co_await pool.query(kIsThere);
  if (!there.boolean(0, 1) && options.status) co_return false;
  if (!there.boolean(0, 0)) co_await pool.query(kSchema);
  if (!there.boolean(0, 1)) co_await pool.query(kTable);
  if (options.status) co_return true;
  co_await pool.query(kForget);
  Params params = Params::of(kViewComment, oids);
  co_await pool.query(kTakeUp, std::move(params));
  if (options.every_s || options.changes_max) {
    Params schedule = Params::of(oids, options.every_s, options.changes_max);
    co_await pool.query(kSchedule, std::move(schedule));
  }
  co_return true;
}

task<std::vector<Found>> read_states(db::Pool& pool, const std::vector<int64_t>& oids) {
  Params params = Params::of(oids);
  const Rows rows = co_await pool.query(kStates, std::move(params));
  std::vector<Found> found;
  for (int row = 0; row < rows.size(); ++row) found.push_back(read_state(rows, row));
  co_return found;
}

// In one transaction, so that what is recorded is what was done.
task<Outcome> refresh_once(db::Transaction& transaction, ViewState view, bool only_due) {
  Params name = Params::of(view.schema, view.name);
  const Rows locked = co_await transaction.query(kTryLock, std::move(name));
  if (!locked.boolean(0, 0)) co_return Outcome{std::move(view), "busy", "another session refreshes it"};
  // Somebody else may have refreshed it since it was looked at.
  Params all = Params::of(std::vector<int64_t>());
  const Rows rows = co_await transaction.query(kStates, std::move(all));
  std::optional<Found> now;
  for (int row = 0; row < rows.size(); ++row)
    if (rows.text(row, 0) == view.schema && rows.text(row, 1) == view.name) now = read_state(rows, row);
  if (!now) co_return Outcome{std::move(view), "failed", "it is no longer there"};
  const auto reason = due(now->view);
  if (only_due && !reason) co_return Outcome{std::move(now->view), "fresh", ""};
  if (!now->view.has_unique_index && now->view.populated)
    co_return Outcome{std::move(now->view), "failed",
                      "it has no unique index on columns, so its readers would have to wait: make one"};
  co_await transaction.query(kPatience);
  const std::string text = std::string("/* cairn tune */ REFRESH MATERIALIZED VIEW ") +
                           (now->view.populated ? "CONCURRENTLY " : "") + shown_name(now->view);
  const Statement refresh{"", text};
  co_await transaction.query(refresh);
  Params record = Params::of(view.schema, view.name, now->counted);
  co_await transaction.query(kRecord, std::move(record));
  co_return Outcome{std::move(now->view), "refreshed", reason.value_or("asked for")};
}

task<Outcome> refresh_view(db::Pool& pool, ViewState view, bool only_due) {
  std::string failure;
  try {
    auto body = [&](db::Transaction& transaction) -> task<Outcome> {
      co_return co_await refresh_once(transaction, view, only_due);
    };
    co_return co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  } catch (const db::DbError& error) {
    if (error.is_unavailable()) throw;
    failure = error.what();
  }
  co_return Outcome{std::move(view), "failed", failure};
}

std::string duration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return seconds < 172800 ? fmt::format("{:.0f} h", seconds / 3600) : fmt::format("{:.0f} d", seconds / 86400);
}

void write_view(const ViewState& view, json::Writer& writer) {
  writer.field("schema", view.schema);
  writer.field("view", view.name);
  writer.field("every_s", view.every_s);
  writer.field("changes_max", view.changes_max);
  writer.field("age_s", view.age_s);
  if (view.changes_known) writer.field("changes", view.changes);
  const auto reason = due(view);
  writer.field("due", reason.has_value());
  writer.field("reason", reason);
  writer.field("refreshes", view.refreshes);
  writer.field("refresh_ms", view.refresh_ms);
  writer.field("hits", view.hits);
  writer.field("hit_ratio", hit_ratio(view));
  writer.field("rows", view.rows);
  writer.field("bytes", view.bytes);
  writer.field("populated", view.populated);
  writer.field("concurrently", view.has_unique_index);
}

void print_status(const std::vector<ViewState>& views, std::ostream& out) {
  if (views.empty()) {
    out << "no materialized view is kept fresh here: `cairn tune advise` proposes some, `cairn tune refresh VIEW` "
           "takes "
           "one up\n";
    return;
  }
  std::vector<std::vector<std::string>> table{
      {"view", "age", "changes", "every", "due", "hits", "hit ratio", "refreshes", "took", "size"}};
  for (const ViewState& view : views) {
    std::string schedule = duration(static_cast<double>(view.every_s));
    if (view.changes_max) schedule += fmt::format(" or {} changes", *view.changes_max);
    table.push_back({view.schema + "." + view.name, view.age_s ? duration(*view.age_s) : "never",
                     view.changes_known ? std::to_string(view.changes) : "?", schedule, due(view).value_or("no"),
                     std::to_string(view.hits), fmt::format("{:.1f} %", 100 * hit_ratio(view)),
                     std::to_string(view.refreshes), fmt::format("{:.0f} ms", view.refresh_ms),
                     fmt::format("{:.1f} MB", static_cast<double>(view.bytes) / kMiB)});
  }
  print_table(out, table, 80);
}

void print_outcomes(const std::vector<Outcome>& outcomes, bool json, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_array();
  for (const Outcome& outcome : outcomes) {
    writer.begin_object();
    writer.field("outcome", outcome.what);
    writer.field("why", outcome.why);
    write_view(outcome.view, writer);
    writer.end_object();
    const std::string name = on_one_line(outcome.view.schema + "." + outcome.view.name);
    if (!json)
      out << outcome.what << "  " << name << (outcome.why.empty() ? "" : ": " + on_one_line(outcome.why)) << "\n";
  }
  writer.end_array();
  if (json) out << text << "\n";
  if (!json && outcomes.empty()) print_status({}, out);
}

}  // namespace

std::optional<std::string> due(const ViewState& view) {
  if (!view.populated) return "it was never filled";
  if (!view.age_s) return "it was never refreshed by this command";
  const bool may_differ = view.changes > 0 || view.reads_clock || !view.changes_known;
  if (view.changes_max && view.changes >= *view.changes_max) return fmt::format("{} rows changed", view.changes);
  if (*view.age_s >= static_cast<double>(view.every_s) && may_differ) return duration(*view.age_s) + " old";
  return std::nullopt;
}

double hit_ratio(const ViewState& view) {
  const double asked = static_cast<double>(view.hits + view.refreshes);
  return asked == 0 ? 0 : static_cast<double>(view.hits) / asked;
}

constexpr Statement kProposed{"tune_views_proposed",
                              "/* cairn tune */ SELECT n.nspname::text, v.relname::text FROM pg_class v JOIN "
                              "pg_namespace n ON n.oid = v.relnamespace "
                              "WHERE v.relkind = 'm' AND obj_description(v.oid, 'pg_class') = $1"};

task<bool> has_due_views(db::Pool& pool) {
  Params comment = Params::of(kViewComment);
  const Rows proposed = co_await pool.query(kProposed, std::move(comment));
  const Rows there = co_await pool.query(kIsThere);
  if (!there.boolean(0, 1)) co_return !proposed.empty();
  const std::vector<Found> found = co_await read_states(pool, {});
  for (int i = 0; i < proposed.size(); ++i) {
    const auto is_it = [&](const Found& one) {
      return one.view.schema == proposed.text(i, 0) && one.view.name == proposed.text(i, 1);
    };
    if (std::ranges::none_of(found, is_it)) co_return true;
  }
  co_return std::ranges::any_of(
      found, [](const Found& one) { return due(one.view) && (one.view.has_unique_index || !one.view.populated); });
}

task<std::string> refresh_due_views(db::Pool& pool) {
  const RefreshOptions options{.only_due = true};
  co_await prepare(pool, options, {});
  std::string summary;
  const std::vector<Found> found = co_await read_states(pool, {});
  for (const Found& one : found) {
    const Outcome outcome = co_await refresh_view(pool, one.view, true);
    if (outcome.what == "fresh") continue;
    summary += (summary.empty() ? "" : "; ") + one.view.schema + "." + one.view.name + " " + outcome.what +
               (outcome.why.empty() ? "" : " (" + outcome.why + ")");
  }
  co_return summary.empty() ? std::string("each is fresh") : summary;
}

int run_refresh(const RefreshOptions& options, std::ostream& out) {
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const std::vector<int64_t> oids = reactor.block_on(find_views(pool, options.views));
  std::vector<Found> found;
  if (reactor.block_on(prepare(pool, options, oids))) found = reactor.block_on(read_states(pool, oids));
  if (options.status) {
    std::vector<ViewState> views;
    for (const Found& one : found) views.push_back(one.view);
    std::string text;
    json::Writer writer(text);
    writer.begin_array();
    for (const ViewState& view : views) {
      writer.begin_object();
      write_view(view, writer);
      writer.end_object();
    }
    writer.end_array();
    if (options.json)
      out << text << "\n";
    else
      print_status(views, out);
    return 0;
  }
  std::vector<Outcome> outcomes;
  for (const Found& one : found) outcomes.push_back(reactor.block_on(refresh_view(pool, one.view, options.only_due)));
  print_outcomes(outcomes, options.json, out);
  return std::ranges::any_of(outcomes, [](const Outcome& outcome) { return outcome.what == "failed"; }) ? 1 : 0;
}

}  // namespace cairn::tuner
