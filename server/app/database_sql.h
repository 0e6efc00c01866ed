// What the page asks the database about itself: one row with one JSON text each.
#pragma once

#include "db/statement.h"

namespace cairn::app {

// The databases of this server, and the server.
inline constexpr db::Statement kDatabases{"page_databases", R"(/* cairn tune */
SELECT json_build_object('database', current_database(), 'version', current_setting('server_version'),
  'started_at', pg_postmaster_start_time(), 'is_replica', pg_is_in_recovery(),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'max_connections', current_setting('max_connections')::int,
  'databases', (SELECT json_agg(json_build_object('name', d.datname, 'may_connect', d.connectable,
    'bytes', CASE WHEN d.connectable OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END,
    'connections', s.numbackends, 'commits', s.xact_commit, 'rollbacks', s.xact_rollback,
    'cache_hit_ratio', s.blks_hit::float8 / nullif(s.blks_hit + s.blks_read, 0), 'deadlocks', s.deadlocks,
    'temp_bytes', s.temp_bytes, 'stats_reset', s.stats_reset) ORDER BY d.datname <> current_database(), d.datname)
    FROM (SELECT oid, datname, has_database_privilege(oid, 'CONNECT') AS connectable FROM pg_database
          WHERE datallowconn AND NOT datistemplate) d LEFT JOIN pg_stat_database s ON s.datid = d.oid))::text)"};

// Tables with what is read and written of them, and indexes with their use; the largest first.
inline constexpr db::Statement kRelations{"page_relations", R"(/* cairn tune */
SELECT json_build_object('stats_reset', (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
'tables', coalesce((SELECT json_agg(t) FROM (
  SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relispartition AS is_partition,
    c.reltuples::float8 AS rows, pg_table_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes,
    s.n_live_tup AS live_rows, s.n_dead_tup AS dead_rows, s.seq_scan AS sequential_scans, s.seq_tup_read AS sequential_rows,
    s.idx_scan AS index_scans, s.n_tup_ins + s.n_tup_upd + s.n_tup_del AS writes, s.n_mod_since_analyze AS changed_since_analyze,
    greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum, greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze,
    age(c.relfrozenxid) AS xid_age
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
  WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND n.nspname !~ '^pg_temp' ORDER BY pg_total_relation_size(c.oid) DESC LIMIT 500) t), '[]'),
'indexes', coalesce((SELECT json_agg(i) FROM (
  SELECT n.nspname AS schema, t.relname AS table, c.relname AS name, a.amname AS method, pg_relation_size(c.oid) AS bytes,
    s.idx_scan AS scans, s.idx_tup_read AS rows_read, x.indisunique AS is_unique, x.indisprimary AS is_primary, x.indisvalid AS is_valid,
    EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) AS has_constraint, pg_get_indexdef(c.oid) AS definition
  FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_temp' AND c.relkind = 'i'
  ORDER BY pg_relation_size(c.oid) DESC LIMIT 1000) i), '[]'))::text)"};

// Sessions that do something or hold others up, with whom each waits for.
inline constexpr db::Statement kActivity{"page_activity", R"(/* cairn tune */
SELECT json_build_object('at', clock_timestamp(), 'states', (SELECT json_object_agg(state, n) FROM (
  SELECT coalesce(state, 'hidden') AS state, count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1) c),
'sessions', coalesce((SELECT json_agg(s) FROM (
  SELECT a.pid, (extract(epoch FROM a.backend_start) * 1000)::int8 AS began_at, a.datname AS database, a.usename AS role, a.application_name AS application, coalesce(a.state, 'hidden') AS state,
    a.wait_event_type, a.wait_event, pg_blocking_pids(a.pid) AS blocked_by, left(a.query, 2000) AS query,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 * 1000 AS transaction_ms,
    extract(epoch FROM clock_timestamp() - a.query_start)::float8 * 1000 AS query_ms,
    extract(epoch FROM clock_timestamp() - a.state_change)::float8 * 1000 AS state_ms,
    (SELECT json_agg(DISTINCT l.relation::regclass::text || ' ' || l.mode) FROM pg_locks l
     WHERE l.pid = a.pid AND NOT l.granted AND l.relation IS NOT NULL AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS waits_for
  FROM pg_stat_activity a WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
    AND (a.state <> 'idle' OR a.state IS NULL) ORDER BY a.xact_start NULLS LAST LIMIT 200) s), '[]'))::text)"};

// What `cairn tune apply` made (docs/formats/tune-journal.md); to be asked where there is a journal that may be read.
inline constexpr db::Statement kHasJournal{"page_has_journal", R"(/* cairn tune */
SELECT coalesce(has_table_privilege(to_regclass('cairn_tune.journal'), 'SELECT'), false))"};
inline constexpr db::Statement kJournal{"page_journal", R"(/* cairn tune */
SELECT coalesce(json_agg(j), '[]')::text FROM (SELECT id, apply_id AS apply, advice, change_number AS number, kind,
  table_schema AS schema, table_name AS table, name, statements, inverse, reason, gain_ms, bytes, state, error, role,
  started_at, finished_at, undone_at FROM cairn_tune.journal ORDER BY id DESC LIMIT 200) j)"};

}  // namespace cairn::app
