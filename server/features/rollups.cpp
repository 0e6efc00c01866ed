// A mark is taken away in the statement that reads the history of its bucket: in one snapshot, in which every row whose
// mark is seen is seen, too. Whoever comes later brings a mark of their own. The callers take turns by a lock that is
// taken in a statement before, so that each sees what the one before it did.
#include "features/rollups.h"

#include <utility>

#include "base/error.h"
#include "db/transaction.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

constexpr int64_t kBatch = 2000;
constexpr int kAttempts = 5;

// Ends with the transaction; whoever removes a view takes it, too.
constexpr Statement kAlone{"rollups_alone", "SELECT pg_advisory_xact_lock(hashtextextended('features.rollup', 0))"};
constexpr Statement kViews{"rollup_views",
                           "SELECT view_id, name, rollup_s IS NOT NULL FROM features.feature_views"
                           " WHERE CASE WHEN $1::text IS NULL THEN rollup_s IS NOT NULL OR rolled_up ELSE name = $1 END"
                           " ORDER BY view_id"};

// By whom a view was removed meanwhile, or its rollup.
constexpr Statement kForgetMarks{"forget_rollup_marks",
                                 "DELETE FROM features.rollup_marks m WHERE NOT EXISTS (SELECT FROM"
                                 " features.feature_views v WHERE v.view_id = m.view_id AND v.rollup_s IS NOT NULL)"};
constexpr Statement kDue{"rollups_due",
                         "SELECT EXISTS (SELECT FROM features.rollup_marks) OR EXISTS"
                         " (SELECT FROM features.feature_views WHERE rolled_up <> (rollup_s IS NOT NULL))"};

// -- all of a view -----------------------------------------------------------------------------------------------

// `xmin` changes with every change of the row: of rollup_s, above all.
constexpr Statement kChanged{"rollup_changed",
                             "SELECT rollup_s::bigint, xmin::text FROM features.feature_views"
                             " WHERE view_id = $1 AND rolled_up <> (rollup_s IS NOT NULL)"};
constexpr Statement kForget{"forget_rollup", "DELETE FROM features.rollups WHERE view_id = $1"};
// The marks that it sees may be of another length; those that it does not see are of rows that it does not see either.
constexpr Statement kMarkAll{
    "mark_all_rollups",
    "WITH gone AS (DELETE FROM features.rollup_marks WHERE view_id = $1)"
    " INSERT INTO features.rollup_marks (view_id, entity_key, bucket) SELECT DISTINCT view_id, entity_key,"
    " date_bin(make_interval(secs => $2::bigint), event_time, '2001-01-01 00:00:00+00')"
    " FROM features.history WHERE view_id = $1 AND isfinite(event_time) AND $2 IS NOT NULL"};
constexpr Statement kFollowed{"rollup_followed",
                              "UPDATE features.feature_views SET rolled_up = rollup_s IS NOT NULL"
                              " WHERE view_id = $1 AND xmin::text = $2"};

// Makes a rollup that was newly asked for, or not any more, all marks or nothing. False where that changed meanwhile.
task<bool> follow_declaration(db::Pool& pool, int64_t view) {
  Transaction transaction(co_await pool.acquire(), db::Isolation::kReadCommitted);
  co_await transaction.query(kAlone);
  const Rows changed = co_await transaction.query(kChanged, Params::of(view));
  if (changed.empty()) co_return true;
  co_await transaction.query(kForget, Params::of(view));
  co_await transaction.query(kMarkAll, Params::of(view, changed.optional_integer(0, 0)));
  const Rows followed = co_await transaction.query(kFollowed, Params::of(view, changed.text(0, 1)));
  if (followed.affected() == 0) co_return false;
  co_await transaction.commit();
  co_return true;
}

// -- what is marked ----------------------------------------------------------------------------------------------

// $1: view, $2: marks. Sums of squares of larger numbers than 1e140 may be too large for a float8.
// Rows are looked up one by one, whatever the planner expects of tables that come and go.
constexpr Statement kRollUp{
    "roll_up",
    "WITH marks AS (DELETE FROM features.rollup_marks WHERE ctid = ANY (ARRAY(SELECT ctid FROM features.rollup_marks"
    " WHERE view_id = $1 ORDER BY entity_key, bucket LIMIT $2)) RETURNING entity_key, bucket),"
    " buckets AS (SELECT DISTINCT m.entity_key, m.bucket, m.bucket + make_interval(secs => v.rollup_s) AS until"
    " FROM marks m JOIN features.feature_views v ON v.view_id = $1 AND v.rolled_up AND v.rollup_s IS NOT NULL),"
    " slots AS (SELECT slots = 'doubles' AS in_doubles, slot FROM features.view_features"
    " WHERE view_id = $1 AND slots <> 'texts'),"
    " events AS MATERIALIZED (SELECT b.entity_key, b.bucket, h.event_time, h.doubles, h.integers FROM buckets b"
    " LEFT JOIN LATERAL (SELECT DISTINCT ON (h.event_time) h.event_time, h.doubles, h.integers"
    " FROM features.history h WHERE h.view_id = $1 AND h.entity_key = b.entity_key AND h.event_time >= b.bucket"
    " AND h.event_time < b.until ORDER BY h.event_time, h.created DESC) h ON true),"
    " points AS (SELECT e.entity_key, e.bucket, s.in_doubles, s.slot, p.value,"
    " extract(epoch FROM e.event_time - e.bucket)::float8 AS second,"
    " CASE WHEN abs(p.value) <= 1e140 THEN p.value END AS sound FROM events e CROSS JOIN slots s CROSS JOIN LATERAL"
    " (SELECT CASE WHEN s.in_doubles THEN e.doubles[s.slot] ELSE e.integers[s.slot]::float8 END) p (value)),"
    " computed AS (SELECT entity_key, in_doubles, slot, bucket, count(value)::float8 AS count,"
    " regr_avgy(sound, second) AS avg, regr_avgx(sound, second) AS avg_second,"
    " CASE WHEN count(value) = count(sound) THEN regr_syy(sound, second) END AS syy,"
    " regr_sxx(sound, second) AS sxx, regr_sxy(sound, second) AS sxy, min(sound) AS min, max(sound) AS max,"
    " min(ARRAY[second, sound]) FILTER (WHERE sound IS NOT NULL) AS first,"
    " max(ARRAY[second, sound]) FILTER (WHERE sound IS NOT NULL) AS last"
    " FROM points GROUP BY entity_key, in_doubles, slot, bucket),"
    " gone AS (DELETE FROM features.rollups WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM computed c CROSS JOIN LATERAL"
    " (SELECT r.ctid FROM features.rollups r WHERE (r.view_id, r.entity_key, r.in_doubles, r.slot, r.bucket)"
    " = ($1, c.entity_key, c.in_doubles, c.slot, c.bucket) LIMIT 1) r WHERE c.count = 0))),"
    " written AS (INSERT INTO features.rollups SELECT $1::bigint::int, entity_key, in_doubles, slot, bucket, count, "
    "avg, avg_second,"
    " syy, sxx, sxy, min, max, first[1], first[2], last[1], last[2] FROM computed WHERE count > 0"
    " ON CONFLICT (view_id, entity_key, in_doubles, slot, bucket) DO UPDATE SET (count, avg, avg_second, syy, sxx, sxy,"
    " min, max, first_second, first, last_second, last) = (excluded.count, excluded.avg, excluded.avg_second,"
    " excluded.syy, excluded.sxx, excluded.sxy, excluded.min, excluded.max, excluded.first_second, excluded.first,"
    " excluded.last_second, excluded.last))"
    " SELECT (SELECT count(*) FROM marks), (SELECT count(*) FROM buckets)"};

}  // namespace

task<std::vector<RolledUp>> roll_up(db::Pool& pool, std::optional<std::string> view, std::function<bool()> may_go_on) {
  const Rows views = co_await pool.query(kViews, Params::of(view));
  if (view && views.empty()) throw not_found("feature view " + *view + " does not exist");
  if (view && !views.boolean(0, 2))
    throw invalid("feature view " + *view + " has no rollup: declare it with a rollup_s");
  if (!view) co_await pool.query(kForgetMarks);
  std::vector<RolledUp> done;
  for (int i = 0; i < views.size(); ++i) {
    const int64_t id = views.integer(i, 0);
    bool followed = false;
    for (int attempt = 1; !followed && attempt <= kAttempts && may_go_on(); ++attempt)
      followed = co_await follow_declaration(pool, id);
    if (!views.boolean(i, 2)) continue;
    done.push_back({views.text(i, 1), 0});
    auto body = [id](Transaction& transaction) -> task<std::pair<int64_t, int64_t>> {
      co_await transaction.query(kAlone);
      const Rows counts = co_await transaction.query(kRollUp, Params::of(id, kBatch));
      co_return std::pair(counts.integer(0, 0), counts.integer(0, 1));
    };
    for (int64_t marks = kBatch; marks == kBatch && may_go_on();) {
      const auto counts = co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
      marks = counts.first;
      done.back().buckets += counts.second;
    }
  }
  co_return done;
}

task<bool> has_rollups_due(db::Pool& pool) {
  const Rows due = co_await pool.query(kDue);
  co_return due.boolean(0, 0);
}

}  // namespace cairn::features
