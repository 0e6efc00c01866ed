#include "monitor/rules.h"

#include <fmt/format.h>

#include "base/json.h"

namespace cairn::monitor {
namespace {

using namespace std::chrono_literals;

// The conditions beside text 002's are those that the field watches (postgres_exporter's mixin,
// awesome-prometheus-alerts); each is by instance, so that one Prometheus can watch many servers.
constexpr Rule kRules[] = {
    // Text 002's five, by its names. HighConnectionCount is a share of the limit (at 100 the text's 80) of each server,
    // not
    // a sum over all. AutovacuumNotRunning asks for work that was due: as written it fires for every table at rest and
    // names a label that there is not.
    {"text_002", "HighQueryLatency",
     "histogram_quantile(0.99, sum by (le, instance) (rate(pg_stat_statements_exec_time_bucket[5m]))) > 1000", 5min,
     "warning", "P99 query latency above 1 second", "Database queries are slow (P99: {{ $value | humanize }} ms)."},
    {"text_002", "LowCacheHitRatio", "pg_cache_hit_ratio < 85", 10min, "warning", "Cache hit ratio below 85%",
     "Too many disk reads (cache hit: {{ $value | humanize }} %)."},
    {"text_002", "HighConnectionCount",
     "sum by (instance) (pg_connections) > on (instance) (0.8 * pg_settings_max_connections)", 5min, "warning",
     "High number of database connections", "{{ $value | humanize }} sessions: more than 80 % of max_connections."},
    {"text_002", "DeadlocksDetected", "rate(pg_deadlocks[5m]) > 0", 1min, "critical", "Database deadlocks detected",
     "{{ $value | humanize }} deadlocks a second: PostgreSQL's log names the statements."},
    {"text_002", "AutovacuumNotRunning",
     "time() - pg_stat_user_tables_last_autovacuum > 86400 and (pg_stat_user_tables_n_dead_tup > 1000 + 0.2 *"
     " pg_stat_user_tables_n_live_tup)",
     1h, "warning", "Autovacuum has not run in 24 hours",
     "{{ $labels.schemaname }}.{{ $labels.relname }} has dead rows enough to be vacuumed: is autovacuum off, or held up"
     " by an old transaction?"},

    {"availability", "PostgresDown", "pg_up == 0", 1min, "critical", "PostgreSQL does not answer",
     "No connection, or no answer within five seconds."},
    {"availability", "CairnDown", "up{job=\"cairn\"} == 0", 1min, "critical", "The server does not answer",
     "Prometheus cannot scrape {{ $labels.instance }}.", true},
    {"availability", "PostgresRestarted", "time() - pg_postmaster_start_time_seconds < 120", 0s, "info",
     "PostgreSQL has just started", "It runs for {{ $value | humanize }} s."},
    {"availability", "PostgresRoleChanged", "changes(pg_replication_is_replica[5m]) > 0", 0s, "warning",
     "A replica was promoted, or a primary became a replica", "Was that meant?"},
    {"availability", "MetricsIncomplete", "pg_exporter_last_scrape_error > 0", 5min, "warning",
     "Some figures cannot be had", "pg_scrape_collector_success says which; the server's log says why."},

    {"sessions", "ConnectionsExhausted",
     "sum by (instance) (pg_stat_activity_count) >= on (instance) (pg_settings_max_connections -"
     " pg_settings_superuser_reserved_connections)",
     1min, "critical", "No connection is left",
     "Only superusers can connect: end idle sessions, or put a pool before."},
    {"sessions", "ConnectionsHigh",
     "sum by (instance) (pg_stat_activity_count) > on (instance) (0.8 * (pg_settings_max_connections -"
     " pg_settings_superuser_reserved_connections))",
     10min, "warning", "Over 80 % of the connections are in use", "{{ $value | humanize }} sessions of all databases."},
    {"sessions", "LongTransaction", "max by (instance, datname) (pg_stat_activity_max_tx_duration) > 1800", 1min,
     "warning", "A transaction has run for half an hour",
     "{{ $value | humanize }} s in {{ $labels.datname }}: VACUUM can remove nothing that it may still see."},
    {"sessions", "IdleInTransaction",
     "max by (instance, datname) (pg_stat_activity_max_tx_duration{state=~\"idle in transaction.*\"}) > 300", 1min,
     "warning", "A session idles in a transaction",
     "{{ $value | humanize }} s in {{ $labels.datname }}: it keeps its locks and holds VACUUM up."},
    {"sessions", "SessionsWaitForLocks", "pg_stat_activity_waiting_for_lock > 5", 2min, "warning",
     "Sessions wait for locks", "{{ $value | humanize }} of them: see who holds what."},
    {"sessions", "TooManyLocks",
     "sum by (instance) (pg_locks_count) > on (instance) (0.2 * pg_settings_max_locks_per_transaction *"
     " pg_settings_max_connections)",
     5min, "warning", "The lock table fills up", "{{ $value | humanize }} locks: when it is full, statements fail."},

    {"load", "SlowStatement",
     "sum by (instance, datname, queryid) (rate(pg_stat_statements_seconds_total[5m])) / sum by (instance, datname,"
     " queryid) (rate(pg_stat_statements_calls_total[5m])) > 1",
     5min, "warning", "A statement takes over a second",
     "Statement {{ $labels.queryid }} in {{ $labels.datname }}: {{ $value | humanize }} s each."},
    {"load", "TransactionRateHigh",
     "sum by (instance, datname) (rate(pg_stat_database_xact_commit[5m])) + sum by (instance, datname)"
     " (rate(pg_stat_database_xact_rollback[5m])) > 10000",
     5min, "warning", "Very many transactions", "{{ $value | humanize }} a second in {{ $labels.datname }}."},
    {"load", "RollbacksHigh",
     "rate(pg_stat_database_xact_rollback[5m]) > 0.1 * rate(pg_stat_database_xact_commit[5m]) and"
     " rate(pg_stat_database_xact_rollback[5m]) > 1",
     5min, "warning", "Many transactions are rolled back",
     "{{ $value | humanize }} a second in {{ $labels.datname }}."},
    {"load", "DeadlocksFrequent", "60 * rate(pg_stat_database_deadlocks[5m]) > 5", 5min, "critical",
     "Deadlocks all the time", "{{ $value | humanize }} a minute in {{ $labels.datname }}."},
    {"load", "CacheMissesHigh",
     "rate(pg_stat_database_blks_read[5m]) > 0.1 * rate(pg_stat_database_blks_hit[5m]) and"
     " rate(pg_stat_database_blks_read[5m]) > 1000",
     10min, "warning", "Much is read from outside the shared buffers",
     "{{ $value | humanize }} blocks a second in {{ $labels.datname }}."},
    {"load", "TemporaryFilesLarge", "rate(pg_stat_database_temp_bytes[5m]) > 20000000", 5min, "warning",
     "Sorts and hashes go to disk",
     "{{ $value | humanize }} bytes a second in {{ $labels.datname }}: raise work_mem, or"
     " index what is sorted."},
    {"load", "CheckpointsTooOften",
     "rate(pg_stat_bgwriter_checkpoints_req_total[30m]) > rate(pg_stat_bgwriter_checkpoints_timed_total[30m]) and"
     " increase(pg_stat_bgwriter_checkpoints_req_total[30m]) > 3",
     5min, "warning", "Checkpoints are forced", "Most of them in half an hour: raise max_wal_size."},
    {"load", "WalRateHigh",
     "rate(pg_wal_position_bytes[5m]) > 33554432 and on (instance) pg_replication_is_replica == 0", 10min, "warning",
     "Very much is written", "{{ $value | humanize }} bytes of log a second."},

    {"tables", "DeadRows",
     "pg_stat_user_tables_n_dead_tup > 10000 and pg_stat_user_tables_n_dead_tup > 0.25 * "
     "pg_stat_user_tables_n_live_tup",
     30min, "warning", "Dead rows pile up",
     "{{ $value | humanize }} in {{ $labels.schemaname }}.{{ $labels.relname }}: VACUUM it, and see what holds "
     "autovacuum"
     " up."},
    {"tables", "NotAnalyzed",
     "pg_stat_user_tables_n_mod_since_analyze > 10000 and pg_stat_user_tables_n_mod_since_analyze > 0.5 *"
     " pg_stat_user_tables_n_live_tup",
     1h, "warning", "The planner's statistics are old",
     "{{ $labels.schemaname }}.{{ $labels.relname }} has changed by half: ANALYZE it."},
    {"tables", "TableBloat", "pg_bloat_table_bloat_pct > 50 and pg_bloat_table_real_size > 200000000", 1h, "warning",
     "A table is half empty", "{{ $labels.schemaname }}.{{ $labels.relname }}: {{ $value | humanize }} %, estimated."},
    {"tables", "IndexBloat", "pg_bloat_btree_bloat_pct > 50 and pg_bloat_btree_real_size > 100000000", 1h, "warning",
     "An index is half empty",
     "{{ $labels.schemaname }}.{{ $labels.idxname }}: {{ $value | humanize }} %, estimated: REINDEX CONCURRENTLY it."},
    {"tables", "InvalidIndex", "pg_index_invalid > 0", 1h, "warning", "An index is invalid",
     "{{ $labels.schemaname }}.{{ $labels.indexrelname }} costs every write and serves no query: a build failed, drop"
     " it."},
    {"tables", "WraparoundNear", "pg_database_wraparound_age_datfrozenxid > 1000000000", 10min, "critical",
     "Transaction numbers run out",
     "{{ $labels.datname }} has rows {{ $value | humanize }} transactions old; at 2.1 billion writing stops: VACUUM"
     " FREEZE."},

    {"replication", "ReplicationLag",
     "pg_replication_lag_seconds > 30 and on (instance) pg_replication_is_replica == 1", 5min, "warning",
     "A replica is behind", "{{ $value | humanize }} s."},
    {"replication", "ReplicaBehind", "pg_stat_replication_pg_wal_lsn_diff > 1000000000", 5min, "critical",
     "A replica is far behind", "{{ $labels.application_name }}: {{ $value | humanize }} bytes."},
    {"replication", "ReplicationSlotInactive", "pg_replication_slots_active == 0", 30min, "warning",
     "Nobody reads from a replication slot",
     "{{ $labels.slot_name }} keeps the log until the disk is full: start its reader, or drop it."},
    {"replication", "ReplicationSlotKeepsLog", "pg_replication_slots_pg_wal_lsn_diff > 10000000000", 5min, "critical",
     "A replication slot keeps much of the log", "{{ $labels.slot_name }}: {{ $value | humanize }} bytes."},
    {"replication", "ArchivingFails", "increase(pg_stat_archiver_failed_count[15m]) > 0", 5min, "critical",
     "The log is not archived", "Backups have no point in time after the last file: see archive_command."},

    {"server", "ServerErrors",
     "sum by (instance) (rate(cairn_http_responses_total{class=\"5xx\"}[5m])) > 0.05 * sum by (instance)"
     " (rate(cairn_http_responses_total[5m]))",
     5min, "critical", "Over 5 % of the requests fail", "{{ $value | humanize }} a second: the server's log says why."},
    {"server", "RequestsSlow",
     "histogram_quantile(0.99, sum by (le, instance) (rate(cairn_http_request_duration_seconds_bucket[5m]))) > 1",
     10min, "warning", "P99 of requests above 1 second", "{{ $value | humanize }} s."},
    {"server", "PoolExhausted", "cairn_pool_waiting > 0", 1min, "warning", "Requests wait for a connection",
     "{{ $value | humanize }} of them: raise pool_size, or find what holds the connections."},
    {"server", "PoolTimeouts", "increase(cairn_pool_timeouts_total[5m]) > 0", 0s, "critical",
     "Requests failed for want of a connection", "{{ $value | humanize }} in five minutes."},
    {"server", "DiskFull", "cairn_disk_full == 1", 0s, "critical", "The disk is full", "Writes are refused."},
    {"server", "PostgresDied", "increase(cairn_postgres_restarts_total[15m]) > 0", 0s, "critical",
     "The embedded PostgreSQL died", "It was started again; its log says why."},
    {"server", "JobsWait", "cairn_jobs_oldest_due_seconds > 900", 5min, "warning", "Jobs wait for a worker",
     "The oldest in {{ $labels.queue }} for {{ $value | humanize }} s."},
    {"server", "MaintenanceJobFailed", "cairn_maintenance_job_failed == 1", 0s, "warning",
     "A job of the schedule failed", "{{ $labels.name }}: cairn maintain history --job {{ $labels.name }} says why."},
    {"server", "FeaturesStale", "cairn_feature_stale_ratio > 0.5", 1h, "warning", "Features are stale",
     "Most entities of {{ $labels.feature_view }} have values older than its ttl."},
    {"server", "FeatureDrifted", "cairn_feature_drift_psi > 0.25", 30min, "warning", "A feature has drifted",
     "{{ $labels.feature_view }}:{{ $labels.feature }}: index {{ $value | humanize }}."},
};

std::string duration_text(std::chrono::seconds seconds) {
  return seconds.count() % 60 == 0 && seconds.count() > 0 ? fmt::format("{}m", seconds.count() / 60)
                                                          : fmt::format("{}s", seconds.count());
}

}  // namespace

std::span<const Rule> rules() { return kRules; }

// JSON's strings are YAML's.
std::string rule_file(const std::string& group) {
  std::string text = fmt::format(
      "# Made by `cairn monitor init`. The server evaluates the same rules itself: cairn monitor alerts\n"
      "groups:\n  - name: {}\n    interval: 30s\n    rules:\n",
      group);
  for (const Rule& rule : kRules) {
    if (rule.group != group) continue;
    text += fmt::format("      - alert: {}\n        expr: {}\n        for: {}\n", rule.alert, json::quote(rule.expr),
                        duration_text(rule.lasting));
    text += fmt::format("        labels:\n          severity: {}\n        annotations:\n", rule.severity);
    text += fmt::format("          summary: {}\n          description: {}\n", json::quote(rule.summary),
                        json::quote(rule.description));
  }
  return text;
}

}  // namespace cairn::monitor
