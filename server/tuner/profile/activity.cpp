#include "tuner/profile/activity.h"

namespace cairn::tuner {
namespace {

constexpr db::Statement kTables{"tune_tables", R"(/* cairn tune */
SELECT schemaname::text, relname::text, coalesce(pg_table_size(relid), 0)::int8, n_live_tup, seq_scan, seq_tup_read,
       coalesce(idx_scan, 0)
FROM pg_stat_user_tables
WHERE seq_scan > 0
ORDER BY seq_tup_read DESC, relid
LIMIT $1)"};

// Of a session that may not be looked at, only the number is told. An older PostgreSQL has no column query_id.
constexpr db::Statement kWaits{"tune_waits", R"(/* cairn tune */
SELECT CASE WHEN state IS NULL THEN NULL
            ELSE coalesce(wait_event_type || ': ' || wait_event, 'running') END,
       (to_jsonb(a) ->> 'query_id')::int8, count(*)
FROM pg_stat_activity a
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (state = 'active' OR state IS NULL AND backend_type IS NULL)
GROUP BY 1, 2)"};

}  // namespace

task<std::vector<TableScans>> read_table_scans(db::Pool& pool, int64_t most) {
  const db::Rows rows = co_await pool.query(kTables, db::Params::of(most));
  std::vector<TableScans> tables;
  for (int i = 0; i < rows.size(); ++i) {
    tables.push_back({.schema = rows.text(i, 0),
                      .table = rows.text(i, 1),
                      .bytes = rows.integer(i, 2),
                      .live_rows = rows.integer(i, 3),
                      .sequential_scans = rows.integer(i, 4),
                      .sequential_rows = rows.integer(i, 5),
                      .index_scans = rows.integer(i, 6)});
  }
  co_return tables;
}

task<> sample_waits(db::Pool& pool, WaitSamples& waits) {
  const db::Rows rows = co_await pool.query(kWaits);
  ++waits.samples;
  for (int i = 0; i < rows.size(); ++i) {
    const int64_t sessions = rows.integer(i, 2);
    if (rows.is_null(i, 0)) {
      waits.hidden += sessions;
      continue;
    }
    waits.sessions[rows.text(i, 0)] += sessions;
    if (const auto query = rows.optional_integer(i, 1)) waits.statements[*query][rows.text(i, 0)] += sessions;
  }
}

}  // namespace cairn::tuner
