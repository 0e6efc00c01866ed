#include "monitor/collectors.h"

#include <fmt/format.h>

namespace cairn::monitor {
namespace {

using namespace std::chrono_literals;

constexpr int kMostStatements = 100;
constexpr const char* kStates =
    "'active', 'idle', 'idle in transaction', 'idle in transaction (aborted)', 'fastpath function call', 'disabled'";
// Where the log of changes is, on a primary or a replica.
constexpr const char* kPosition =
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

Collector version() {
  return {"static",
          "SELECT ARRAY[version(), current_setting('server_version')], ARRAY[1::float8]",
          {"version", "short_version"},
          {{"pg_static", "gauge", "The version that runs."}}};
}

Collector server() {
  return {
      "server",
      fmt::format(
          "SELECT '{{}}'::text[], ARRAY[extract(epoch FROM pg_postmaster_start_time()), extract(epoch FROM"
          " pg_conf_load_time()), pg_is_in_recovery()::int, lag, lag, pg_snapshot_xmax(pg_current_snapshot())::text,"
          " pg_wal_lsn_diff({0}, '0/0'), pg_wal_lsn_diff({0}, '0/0')]::float8[] FROM (SELECT CASE"
          " WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0"
          " ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END) l (lag)",
          kPosition),
      {},
      {{"pg_postmaster_start_time_seconds", "gauge", "When PostgreSQL started."},
       {"pg_conf_load_time_seconds", "gauge", "When its settings were read last."},
       {"pg_replication_is_replica", "gauge", "1 where it is a replica."},
       {"pg_replication_lag_seconds", "gauge", "How far a replica is behind its primary."},
       {"pg_replication_lag", "gauge", "The same, by its older name."},
       {"pg_txid_current", "counter", "The next transaction's number."},
       {"pg_wal_position_bytes", "counter", "How much was ever written to the log of changes."},
       {"pg_xlog_position_bytes", "counter", "The same, by its older name."}}};
}

// Numbers only; with their unit made seconds or bytes, as postgres_exporter names them.
Collector settings() {
  return {
      "settings",
      "SELECT ARRAY['pg_settings_' || lower(replace(name, '.', '_')) || CASE WHEN unit IN ('ms', 's', 'min') THEN"
      " '_seconds' WHEN unit IS NOT NULL THEN '_bytes' ELSE '' END], ARRAY[CASE WHEN vartype = 'bool' THEN (setting ="
      " 'on')::int WHEN setting::float8 < 0 THEN setting::float8 ELSE setting::float8 * CASE unit WHEN 'ms' THEN 0.001"
      " WHEN 'min' THEN 60 WHEN 'kB' THEN 1024 WHEN '8kB' THEN 8192 WHEN '16kB' THEN 16384 WHEN '32kB' THEN 32768"
      " WHEN 'MB' THEN 1048576 ELSE 1 END END]::float8[] FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real')"
      " AND coalesce(unit, 'B') IN ('ms', 's', 'min', 'B', 'kB', '8kB', '16kB', '32kB', 'MB') ORDER BY 1 LIMIT 1000",
      {},
      {{"", "gauge", "A setting of PostgreSQL."}},
      60s,
      true};
}

Collector databases() {
  Collector collector{
      "stat_database",
      "SELECT ARRAY[s.datid::text, s.datname], ARRAY[numbackends, xact_commit, xact_rollback, blks_read, blks_hit,"
      " tup_returned, tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, "
      "deadlocks,"
      " blk_read_time, blk_write_time, extract(epoch FROM stats_reset), age(datfrozenxid), datconnlimit]::float8[]"
      " FROM pg_stat_database s JOIN pg_database d ON d.oid = s.datid ORDER BY xact_commit DESC LIMIT 100",
      {"datid", "datname"},
      {{"pg_stat_database_numbackends", "gauge", "Sessions."},
       {"pg_stat_database_xact_commit", "counter", "Transactions committed."},
       {"pg_stat_database_xact_rollback", "counter", "Transactions rolled back."},
       {"pg_stat_database_blks_read", "counter", "Blocks that were not in the shared buffers."},
       {"pg_stat_database_blks_hit", "counter", "Blocks that were."},
       {"pg_stat_database_tup_returned", "counter", "Rows read by scans."},
       {"pg_stat_database_tup_fetched", "counter", "Rows fetched by index scans."},
       {"pg_stat_database_tup_inserted", "counter", "Rows inserted."},
       {"pg_stat_database_tup_updated", "counter", "Rows updated."},
       {"pg_stat_database_tup_deleted", "counter", "Rows deleted."},
       {"pg_stat_database_conflicts", "counter", "Statements cancelled by recovery."},
       {"pg_stat_database_temp_files", "counter", "Temporary files written."},
       {"pg_stat_database_temp_bytes", "counter", "Bytes written to them."},
       {"pg_stat_database_deadlocks", "counter", "Deadlocks."},
       {"pg_stat_database_blk_read_time", "counter", "Milliseconds spent reading blocks (track_io_timing)."},
       {"pg_stat_database_blk_write_time", "counter", "Milliseconds spent writing blocks."},
       {"pg_stat_database_stats_reset", "gauge", "When these were set to zero."}}};
  collector.families.push_back({"pg_database_wraparound_age_datfrozenxid", "gauge",
                                "Transactions since the oldest row that is not frozen; at 2^31 writing stops.", 1});
  collector.families.push_back({"pg_database_connection_limit", "gauge", "Sessions allowed; -1 is any number.", 1});
  return collector;
}

Collector database_sizes() {
  return {
      "database",
      "SELECT ARRAY[datname], ARRAY[size, CASE WHEN datname = current_database() THEN size END]::float8[] FROM (SELECT"
      " datname, pg_database_size(oid) AS size FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')"
      " ORDER BY (datname = current_database()) DESC, oid LIMIT 100) d",
      {"datname"},
      {{"pg_database_size_bytes", "gauge", "A database's size."},
       {"pg_database_size", "gauge", "The size of the database that is looked at.", 1}},
      60s};
}

// Text 002's own queries.
Collector text_002() {
  return {
      "text_002",
      "SELECT '{}'::text[], ARRAY[ratio, ratio, deadlocks, deadlocks]::float8[] FROM (SELECT round(100.0 * blks_hit /"
      " nullif(blks_hit + blks_read, 0), 2) AS ratio, deadlocks FROM pg_stat_database"
      " WHERE datname = current_database()) d",
      {},
      {{"pg_cache_hit_ratio", "gauge", "Share of blocks found in the shared buffers, in percent, of this database."},
       {"pg_cache_hit_ratio_ratio", "gauge", "The same, as postgres_exporter calls text 002's query."},
       {"pg_deadlocks", "counter", "Deadlocks in this database."},
       {"pg_deadlocks_count", "counter", "The same."}}};
}

Collector connections() {
  return {
      "connections",
      fmt::format("SELECT ARRAY[state], ARRAY[count(pid), count(pid)]::float8[] FROM (SELECT coalesce(state, '') AS"
                  " state, pid FROM pg_stat_activity WHERE datname = current_database() UNION ALL SELECT unnest(ARRAY"
                  "[{}]), NULL) a GROUP BY state",
                  kStates),
      {"state"},
      {{"pg_connections", "gauge", "Sessions in this database by state."},
       {"pg_connections_count", "gauge", "The same."}}};
}

Collector activity() {
  return {
      "stat_activity",
      fmt::format(
          "SELECT ARRAY[d.datname, s.state], ARRAY[coalesce(a.n, 0), coalesce(a.longest, 0)]::float8[] FROM (SELECT"
          " datname FROM pg_database ORDER BY oid LIMIT 100) d CROSS JOIN unnest(ARRAY[{}]) s (state) LEFT JOIN (SELECT"
          " datname, state, count(*) AS n, max(extract(epoch FROM now() - xact_start)) AS longest FROM"
          " pg_stat_activity GROUP BY 1, 2) a ON a.datname = d.datname AND a.state = s.state",
          kStates),
      {"datname", "state"},
      {{"pg_stat_activity_count", "gauge", "Sessions by state."},
       {"pg_stat_activity_max_tx_duration", "gauge", "Seconds of the longest transaction."}}};
}

Collector long_transactions() {
  return {"long_running_transactions",
          "SELECT '{}'::text[], ARRAY[count(*), coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0),"
          " (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock')]::float8[] FROM pg_stat_activity"
          " WHERE state IS DISTINCT FROM 'idle' AND backend_type = 'client backend' AND xact_start < now() - interval"
          " '1 minute'",
          {},
          {{"pg_long_running_transactions", "gauge", "Transactions older than a minute."},
           {"pg_long_running_transactions_oldest_timestamp_seconds", "gauge", "Seconds of the oldest of them."},
           {"pg_stat_activity_waiting_for_lock", "gauge", "Sessions that wait for a lock."}}};
}

Collector locks() {
  return {
      "locks",
      "SELECT ARRAY[d.datname, m.mode], ARRAY[coalesce(l.n, 0)]::float8[] FROM (SELECT oid, datname FROM pg_database"
      " ORDER BY oid LIMIT 100) d CROSS JOIN unnest(ARRAY['accesssharelock', 'rowsharelock', 'rowexclusivelock',"
      " 'shareupdateexclusivelock', 'sharelock', 'sharerowexclusivelock', 'exclusivelock', 'accessexclusivelock',"
      " 'sireadlock']) m (mode) LEFT JOIN (SELECT database, lower(mode) AS mode, count(*) AS n FROM pg_locks GROUP BY"
      " 1, 2) l ON l.database = d.oid AND l.mode = m.mode",
      {"datname", "mode"},
      {{"pg_locks_count", "gauge", "Locks held or waited for."}}};
}

// Counters with _total, and without for older dashboards; whatever columns this version has.
Collector background_writer() {
  return {"stat_bgwriter",
          "SELECT ARRAY['pg_stat_bgwriter_' || key || suffix], ARRAY[value::float8] FROM pg_stat_bgwriter b CROSS JOIN"
          " jsonb_each_text(to_jsonb(b) - 'stats_reset') CROSS JOIN unnest(ARRAY['_total', '']) suffix ORDER BY 1",
          {},
          {{"", "counter", "Of pg_stat_bgwriter."}},
          0s,
          true};
}

Collector archiver() {
  return {"stat_archiver",
          "SELECT '{}'::text[], ARRAY[archived_count, failed_count, extract(epoch FROM now() - last_archived_time)]::"
          "float8[] FROM pg_stat_archiver",
          {},
          {{"pg_stat_archiver_archived_count", "counter", "Files of the log archived."},
           {"pg_stat_archiver_failed_count", "counter", "Attempts to archive one that failed."},
           {"pg_stat_archiver_last_archive_age", "gauge", "Seconds since the last was archived."}}};
}

Collector wal() {
  return {
      "wal",
      "SELECT '{}'::text[], ARRAY[count(*), coalesce(sum(size), 0)]::float8[] FROM pg_ls_waldir()"
      " WHERE name ~ '^[0-9A-F]{24}$'",
      {},
      {{"pg_wal_segments", "gauge", "Files of the log of changes."}, {"pg_wal_size_bytes", "gauge", "Their size."}}};
}

Collector replicas() {
  return {"stat_replication",
          fmt::format("SELECT ARRAY[application_name, client_addr::text, state], ARRAY[max(pg_wal_lsn_diff({},"
                      " replay_lsn)), max(coalesce(extract(epoch FROM replay_lag), 0))]::float8[] FROM"
                      " pg_stat_replication GROUP BY 1 ORDER BY 1 LIMIT 100",
                      kPosition),
          {"application_name", "client_addr", "state"},
          {{"pg_stat_replication_pg_wal_lsn_diff", "gauge", "Bytes that a replica has not replayed."},
           {"pg_stat_replication_replay_lag_seconds", "gauge", "How long it takes it to replay."}}};
}

Collector slots() {
  return {
      "replication_slots",
      fmt::format("SELECT ARRAY[slot_name, slot_type, database], ARRAY[active::int, pg_wal_lsn_diff({}, restart_lsn),"
                  " age(xmin), active::int, safe_wal_size]::float8[] FROM pg_replication_slots ORDER BY 1 LIMIT 100",
                  kPosition),
      {"slot_name", "slot_type", "database"},
      {{"pg_replication_slots_active", "gauge", "1 while somebody reads from the slot."},
       {"pg_replication_slots_pg_wal_lsn_diff", "gauge", "Bytes of the log that it keeps."},
       {"pg_replication_slots_xmin_age", "gauge", "Transactions since the oldest that it keeps rows for."},
       {"pg_replication_slot_slot_is_active", "gauge", "1 while somebody reads from the slot.", 0, 1},
       {"pg_replication_slot_safe_wal_size_bytes", "gauge", "Bytes until the slot is lost.", 0, 1}}};
}

// One reading: the first row is of all statements. There may be thousands, of which few are shown: names are looked up
// when those few are chosen, and what costs most after the reading itself, grouping, is done only for the statements
// that functions ran too (toplevel is false: there are none by default), for these are two rows of one series. Rows
// of databases that are gone would be one series twice, too.
Collector statements(const DatabaseFacts& facts) {
  return {"stat_statements",
          fmt::format(
              "WITH s AS MATERIALIZED (SELECT userid, dbid, queryid, {2} AS direct, calls, total_exec_time AS ms,"
              " mean_exec_time, rows, {1}blk_read_time AS reading, {1}blk_write_time AS writing"
              " FROM {0}.pg_stat_statements(false)), nested AS MATERIALIZED (SELECT * FROM s WHERE NOT direct)"
              " SELECT '{{}}'::text[], ARRAY[NULL, NULL, NULL, NULL, NULL, slow, slow, n]::float8[] FROM (SELECT"
              " count(*) FILTER (WHERE mean_exec_time > 100) AS slow, count(*) AS n FROM s) a UNION ALL"
              " SELECT ARRAY[pg_get_userbyid(userid), (SELECT datname FROM pg_database WHERE oid = dbid),"
              " queryid::text], ARRAY[calls, ms / 1000, rows, reading / 1000, writing / 1000, NULL, NULL, NULL] FROM"
              " ((SELECT userid, dbid, queryid, calls, ms, rows, reading, writing FROM s WHERE direct AND queryid IS"
              " NOT NULL AND dbid IN (SELECT oid FROM pg_database) AND NOT EXISTS (SELECT FROM nested n WHERE"
              " (n.userid, n.dbid, n.queryid) = (s.userid, s.dbid, s.queryid)) ORDER BY ms DESC LIMIT {3}) UNION ALL"
              " (SELECT userid, dbid, queryid, sum(calls::float8), sum(ms), sum(rows::float8), sum(reading),"
              " sum(writing) FROM s WHERE (userid, dbid, queryid) IN (SELECT userid, dbid, queryid FROM nested) AND"
              " dbid IN (SELECT oid FROM pg_database) GROUP BY 1, 2, 3 ORDER BY 5 DESC LIMIT {3})"
              " ORDER BY ms DESC LIMIT {3}) t",
              facts.statements_schema, facts.statements_shared_names ? "shared_" : "",
              facts.statements_toplevel ? "toplevel" : "true", kMostStatements),
          {"user", "datname", "queryid"},
          {{"pg_stat_statements_calls_total", "counter", "Times that a statement ran."},
           {"pg_stat_statements_seconds_total", "counter", "Seconds that it took."},
           {"pg_stat_statements_rows_total", "counter", "Rows that it gave or touched."},
           {"pg_stat_statements_block_read_seconds_total", "counter", "Seconds of reading blocks (track_io_timing)."},
           {"pg_stat_statements_block_write_seconds_total", "counter", "Seconds of writing blocks."},
           {"pg_slow_queries", "gauge", "Statements whose mean is above 100 ms."},
           {"pg_slow_queries_count", "gauge", "The same."},
           {"pg_stat_statements_statements", "gauge", "Statements that pg_stat_statements holds."}}};
}

// Texts do not change. A command that is not of these kinds may hold a password. Which it is, is asked of the few that
// are shown alone: PostgreSQL would match all thousands before its LIMIT.
Collector statement_texts(const DatabaseFacts& facts) {
  return {
      "stat_statements_texts",
      fmt::format("SELECT ARRAY[id, CASE WHEN query ~* '^\\s*(select|insert|update|delete|merge|with|values)\\M' THEN"
                  " left(regexp_replace(query, '\\s+', ' ', 'g'), 200) ELSE split_part(query, ' ', 1) END],"
                  " ARRAY[1::float8] FROM (SELECT queryid::text AS id, max(query) AS query FROM"
                  " {}.pg_stat_statements(true) WHERE queryid IS NOT NULL GROUP BY queryid"
                  " ORDER BY sum(total_exec_time) DESC LIMIT {}) t",
                  facts.statements_schema, kMostStatements),
      {"queryid", "query"},
      {{"pg_stat_statements_query_id", "gauge", "The text of a statement."}},
      300s};
}

Collector jobs() {
  return {
      "jobs",
      "SELECT ARRAY[queue, status], ARRAY[count(*), CASE WHEN status = 'queued' THEN greatest(0, extract(epoch FROM"
      " now() - min(run_after))) END]::float8[] FROM jobs.jobs WHERE status IN ('queued', 'running') GROUP BY queue,"
      " status ORDER BY queue LIMIT 100",
      {"queue", "status"},
      {{"cairn_jobs", "gauge", "Jobs that wait or run."},
       {"cairn_jobs_oldest_due_seconds", "gauge", "For how long the oldest waiting job has been due.", 0, 1}}};
}

// Jobs of the server's schedule that are enabled and have run; not `job`, which is Prometheus' own label.
Collector maintenance() {
  return {"maintenance",
          "SELECT ARRAY[j.name], ARRAY[(r.state = 'failed')::int, extract(epoch FROM r.started_at)]::float8[]"
          " FROM maintenance.jobs j CROSS JOIN LATERAL (SELECT * FROM maintenance.runs r WHERE r.job = j.name"
          " ORDER BY r.started_at DESC LIMIT 1) r WHERE j.enabled ORDER BY 1 LIMIT 100",
          {"name"},
          {{"cairn_maintenance_job_failed", "gauge", "1: the last run of the schedule's job failed."},
           {"cairn_maintenance_job_started_time_seconds", "gauge", "When its last run began."}}};
}

}  // namespace

std::vector<Collector> collectors(const DatabaseFacts& facts) {
  std::vector<Collector> list{version(),           server(),      settings(), databases(),         database_sizes(),
                              text_002(),          connections(), activity(), long_transactions(), locks(),
                              background_writer(), archiver(),    wal(),      replicas(),          slots()};
  for (Collector& collector : table_collectors()) list.push_back(std::move(collector));
  if (facts.has_statements) {
    list.push_back(statements(facts));
    list.push_back(statement_texts(facts));
  }
  if (facts.has_jobs) {
    list.push_back(jobs());
    list.push_back(maintenance());
  }
  // Names and numbers come in many types: once here instead of at every column.
  for (Collector& collector : list)
    collector.sql = "SELECT x.labels::text[], x.numbers::float8[] FROM (" + collector.sql + ") x (labels, numbers)";
  return list;
}

}  // namespace cairn::monitor
