"""For each alert: series that make it fire, and series close to them that do not.

Values are promtool's, one each half minute for 80 minutes: a number stands still, '+n' rises by n at each step. Time starts at
zero and is looked at after 75 minutes.
"""
TABLE = '{datname="d",schemaname="s",relname="r"}'
INDEX = '{datname="d",schemaname="s",tblname="t",idxname="i"}'


def latency(name, fast, slow):
    """All requests below `fast` or, where that is None, between two of the bounds."""
    return {f'{name}{{le="{slow[0]}"}}': "+10" if fast else "+0", f'{name}{{le="{slow[1]}"}}': "+10", f'{name}{{le="+Inf"}}': "+10"}


CASES = {
    "HighQueryLatency": (latency("pg_stat_statements_exec_time_bucket", False, (1000, 2500)),
                         latency("pg_stat_statements_exec_time_bucket", True, (1000, 2500))),
    "LowCacheHitRatio": ({"pg_cache_hit_ratio": 84.9}, {"pg_cache_hit_ratio": 85}),
    "HighConnectionCount": ({'pg_connections{state="idle"}': 41, 'pg_connections{state="active"}': 40, "pg_settings_max_connections": 100},
                            {'pg_connections{state="idle"}': 40, 'pg_connections{state="active"}': 40, "pg_settings_max_connections": 100}),
    "DeadlocksDetected": ({"pg_deadlocks": "+1"}, {"pg_deadlocks": 7}),
    # A table that lies still is not late.
    "AutovacuumNotRunning": ({"pg_stat_user_tables_last_autovacuum" + TABLE: -90000, "pg_stat_user_tables_n_dead_tup" + TABLE: 2000,
                              "pg_stat_user_tables_n_live_tup" + TABLE: 100},
                             {"pg_stat_user_tables_last_autovacuum" + TABLE: -90000, "pg_stat_user_tables_n_dead_tup" + TABLE: 2000,
                              "pg_stat_user_tables_n_live_tup" + TABLE: 10000}),
    "PostgresDown": ({"pg_up": 0}, {"pg_up": 1}),
    "CairnDown": ({'up{job="cairn"}': 0}, {'up{job="cairn"}': 1, 'up{job="other"}': 0}),
    "PostgresRestarted": ({"pg_postmaster_start_time_seconds": 4440}, {"pg_postmaster_start_time_seconds": 4370}),
    "PostgresRoleChanged": ({"pg_replication_is_replica": "0x146 1x10"}, {"pg_replication_is_replica": 1}),
    "MetricsIncomplete": ({"pg_exporter_last_scrape_error": 1}, {"pg_exporter_last_scrape_error": 0}),
    "ConnectionsExhausted": ({'pg_stat_activity_count{datname="a"}': 90, 'pg_stat_activity_count{datname="b"}': 7,
                              "pg_settings_max_connections": 100, "pg_settings_superuser_reserved_connections": 3},
                             {'pg_stat_activity_count{datname="a"}': 96, "pg_settings_max_connections": 100,
                              "pg_settings_superuser_reserved_connections": 3}),
    "ConnectionsHigh": ({"pg_stat_activity_count": 78, "pg_settings_max_connections": 100, "pg_settings_superuser_reserved_connections": 3},
                        {"pg_stat_activity_count": 77, "pg_settings_max_connections": 100, "pg_settings_superuser_reserved_connections": 3}),
    "LongTransaction": ({'pg_stat_activity_max_tx_duration{datname="a",state="active"}': 1801},
                        {'pg_stat_activity_max_tx_duration{datname="a",state="active"}': 1800}),
    "IdleInTransaction": ({'pg_stat_activity_max_tx_duration{datname="a",state="idle in transaction (aborted)"}': 301},
                          {'pg_stat_activity_max_tx_duration{datname="a",state="active"}': 1000}),
    "SessionsWaitForLocks": ({"pg_stat_activity_waiting_for_lock": 6}, {"pg_stat_activity_waiting_for_lock": 5}),
    "TooManyLocks": ({'pg_locks_count{mode="x"}': 1281, "pg_settings_max_locks_per_transaction": 64, "pg_settings_max_connections": 100},
                     {'pg_locks_count{mode="x"}': 1280, "pg_settings_max_locks_per_transaction": 64, "pg_settings_max_connections": 100}),
    "SlowStatement": ({'pg_stat_statements_seconds_total{datname="d",queryid="1"}': "+20",
                       'pg_stat_statements_calls_total{datname="d",queryid="1"}': "+10"},
                      {'pg_stat_statements_seconds_total{datname="d",queryid="1"}': "+9",
                       'pg_stat_statements_calls_total{datname="d",queryid="1"}': "+10"}),
    "TransactionRateHigh": ({'pg_stat_database_xact_commit{datname="d"}': "+200000", 'pg_stat_database_xact_rollback{datname="d"}': "+110000"},
                            {'pg_stat_database_xact_commit{datname="d"}': "+200000", 'pg_stat_database_xact_rollback{datname="d"}': "+90000"}),
    "RollbacksHigh": ({'pg_stat_database_xact_commit{datname="d"}': "+300", 'pg_stat_database_xact_rollback{datname="d"}': "+60"},
                      {'pg_stat_database_xact_commit{datname="d"}': "+900", 'pg_stat_database_xact_rollback{datname="d"}': "+60"}),
    "DeadlocksFrequent": ({'pg_stat_database_deadlocks{datname="d"}': "+3"}, {'pg_stat_database_deadlocks{datname="d"}': "+2"}),
    "CacheMissesHigh": ({'pg_stat_database_blks_read{datname="d"}': "+60000", 'pg_stat_database_blks_hit{datname="d"}': "+300000"},
                        {'pg_stat_database_blks_read{datname="d"}': "+60000", 'pg_stat_database_blks_hit{datname="d"}': "+900000"}),
    "TemporaryFilesLarge": ({'pg_stat_database_temp_bytes{datname="d"}': "+660000000"}, {'pg_stat_database_temp_bytes{datname="d"}': "+540000000"}),
    "CheckpointsTooOften": ({"pg_stat_bgwriter_checkpoints_req_total": "+1", "pg_stat_bgwriter_checkpoints_timed_total": 3},
                            {"pg_stat_bgwriter_checkpoints_req_total": "+1", "pg_stat_bgwriter_checkpoints_timed_total": "+1"}),
    "WalRateHigh": ({"pg_wal_position_bytes": "+1200000000", "pg_replication_is_replica": 0},
                    {"pg_wal_position_bytes": "+1200000000", "pg_replication_is_replica": 1}),
    "DeadRows": ({"pg_stat_user_tables_n_dead_tup" + TABLE: 20000, "pg_stat_user_tables_n_live_tup" + TABLE: 50000},
                 {"pg_stat_user_tables_n_dead_tup" + TABLE: 20000, "pg_stat_user_tables_n_live_tup" + TABLE: 100000}),
    "NotAnalyzed": ({"pg_stat_user_tables_n_mod_since_analyze" + TABLE: 20000, "pg_stat_user_tables_n_live_tup" + TABLE: 30000},
                    {"pg_stat_user_tables_n_mod_since_analyze" + TABLE: 20000, "pg_stat_user_tables_n_live_tup" + TABLE: 50000}),
    "TableBloat": ({"pg_bloat_table_bloat_pct" + TABLE: 60, "pg_bloat_table_real_size" + TABLE: 3e8},
                   {"pg_bloat_table_bloat_pct" + TABLE: 60, "pg_bloat_table_real_size" + TABLE: 1e8}),
    "IndexBloat": ({"pg_bloat_btree_bloat_pct" + INDEX: 60, "pg_bloat_btree_real_size" + INDEX: 2e8},
                   {"pg_bloat_btree_bloat_pct" + INDEX: 60, "pg_bloat_btree_real_size" + INDEX: 1e8}),
    "InvalidIndex": ({'pg_index_invalid{schemaname="s",indexrelname="i"}': 1}, {'pg_index_usage{index_name="s.i"}': 0}),
    "WraparoundNear": ({'pg_database_wraparound_age_datfrozenxid{datname="d"}': 1.1e9}, {'pg_database_wraparound_age_datfrozenxid{datname="d"}': 1e9}),
    "ReplicationLag": ({"pg_replication_lag_seconds": 31, "pg_replication_is_replica": 1}, {"pg_replication_lag_seconds": 31, "pg_replication_is_replica": 0}),
    "ReplicaBehind": ({'pg_stat_replication_pg_wal_lsn_diff{application_name="a"}': 1.1e9}, {'pg_stat_replication_pg_wal_lsn_diff{application_name="a"}': 1e9}),
    "ReplicationSlotInactive": ({'pg_replication_slots_active{slot_name="a"}': 0}, {'pg_replication_slots_active{slot_name="a"}': 1}),
    "ReplicationSlotKeepsLog": ({'pg_replication_slots_pg_wal_lsn_diff{slot_name="a"}': 1.1e10}, {'pg_replication_slots_pg_wal_lsn_diff{slot_name="a"}': 1e10}),
    "ArchivingFails": ({"pg_stat_archiver_failed_count": "+1"}, {"pg_stat_archiver_failed_count": 9}),
    "ServerErrors": ({'cairn_http_responses_total{class="5xx"}': "+10", 'cairn_http_responses_total{class="2xx"}': "+100"},
                     {'cairn_http_responses_total{class="5xx"}': "+5", 'cairn_http_responses_total{class="2xx"}': "+100"}),
    "RequestsSlow": (latency("cairn_http_request_duration_seconds_bucket", False, (1, 2.5)),
                     latency("cairn_http_request_duration_seconds_bucket", True, (1, 2.5))),
    "PoolExhausted": ({"cairn_pool_waiting": 1}, {"cairn_pool_waiting": 0}),
    "PoolTimeouts": ({"cairn_pool_timeouts_total": "+1"}, {"cairn_pool_timeouts_total": 5}),
    "DiskFull": ({"cairn_disk_full": 1}, {"cairn_disk_full": 0}),
    "PostgresDied": ({"cairn_postgres_restarts_total": "0x140 1x20"}, {"cairn_postgres_restarts_total": 1}),
    "JobsWait": ({'cairn_jobs_oldest_due_seconds{queue="q"}': 901}, {'cairn_jobs_oldest_due_seconds{queue="q"}': 900}),
    "MaintenanceJobFailed": ({'cairn_maintenance_job_failed{name="backup-verify"}': 1}, {'cairn_maintenance_job_failed{name="backup-verify"}': 0}),
    "FeaturesStale": ({'cairn_feature_stale_ratio{feature_view="v"}': 0.6}, {'cairn_feature_stale_ratio{feature_view="v"}': 0.5}),
    "FeatureDrifted": ({'cairn_feature_drift_psi{feature_view="v",feature="f"}': 0.3}, {'cairn_feature_drift_psi{feature_view="v",feature="f"}': 0.25}),
}
STEPS = 160
EVALUATED_MINUTES = 75


def values(value):
    """Promtool's notation."""
    if isinstance(value, str):
        return f"0{value}x{STEPS}" if value.startswith("+") else value
    return f"{value:.10g}+0x{STEPS}"


def at_instance(series, instance):
    """The series with one label more."""
    name, _, labels = series.partition("{")
    return f'{name}{{instance="{instance}"' + ("," + labels if labels else "}")
