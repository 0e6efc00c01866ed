#include "triage/state.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "tuner/api.h"

namespace cairn::triage {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

// Fewer blocks read say nothing about the cache.
constexpr int64_t kBlocksMin = 10'000;

constexpr Statement kServer{"triage_server", R"(/* cairn tune */
SELECT current_database()::text, current_setting('server_version'), pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8,
       current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       extract(epoch FROM pg_postmaster_start_time())::int8,
       pg_database_size(current_database()), coalesce(s.temp_bytes, 0), coalesce(s.blks_hit, 0), coalesce(s.blks_read, 0),
       coalesce(s.deadlocks, 0),
       extract(epoch FROM clock_timestamp() - coalesce(s.stats_reset, pg_postmaster_start_time()))::float8,
       o.age::int8, o.datname::text, current_setting('autovacuum_freeze_max_age')::int8,
       pg_has_role('pg_read_all_stats', 'USAGE'), has_function_privilege('pg_ls_waldir()', 'EXECUTE')
FROM (SELECT datname, age(datfrozenxid) FROM pg_database ORDER BY 2 DESC LIMIT 1) o
LEFT JOIN pg_stat_database s ON s.datname = current_database())"};

// Who waits is told by pg_locks, which shows every role all of it; pg_blocking_pids stops the lock manager for a
// moment, so it is asked about them only.
constexpr Statement kSessions{"triage_sessions", R"(/* cairn tune */
SELECT a.pid::int8, coalesce(a.usename::text, ''), coalesce(a.datname::text, ''), coalesce(a.application_name, ''),
       coalesce(host(a.client_addr), ''), coalesce(a.backend_type, ''), coalesce(a.state, ''),
       coalesce(a.wait_event_type, ''), coalesce(a.wait_event, ''), left(coalesce(a.query, ''), 4000),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8,
       coalesce(w.waits_for, ''), CASE WHEN w.pid IS NOT NULL THEN pg_blocking_pids(a.pid) ELSE '{}' END,
       coalesce(age(a.backend_xmin), 0)::int8, a.query = '<insufficient privilege>'
FROM pg_stat_activity a
LEFT JOIN (SELECT l.pid, min(l.mode || ' on ' || l.locktype || ' ' || coalesce(c.oid::regclass::text, l.relation::text,
                  l.transactionid::text, l.virtualxid, l.objid::text, '')) AS waits_for
           FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           WHERE NOT l.granted GROUP BY l.pid) w ON w.pid = a.pid
WHERE a.pid <> pg_backend_pid() ORDER BY a.pid)"};

constexpr Statement kPrepared{"triage_prepared", R"(/* cairn tune */
SELECT gid, owner::text, database::text, extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction)::int8
FROM pg_prepared_xacts ORDER BY prepared)"};

constexpr Statement kReplicas{"triage_replicas", R"(/* cairn tune */
SELECT coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(state, ''), coalesce(sync_state, ''),
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       replay_lsn)::int8,
       extract(epoch FROM replay_lag)::float8
FROM pg_stat_replication ORDER BY 1, 2)"};

constexpr Statement kSlots{"triage_slots", R"(/* cairn tune */
SELECT slot_name::text, slot_type, active, coalesce(wal_status, ''),
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::int8,
       greatest(coalesce(age(xmin), 0), coalesce(age(catalog_xmin), 0))::int8
FROM pg_replication_slots ORDER BY 1)"};

constexpr Statement kWal{"triage_wal", "/* cairn tune */ SELECT coalesce(sum(size), 0)::int8 FROM pg_ls_waldir()"};

std::optional<double> optional_number(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return rows.number(row, column);
}

void take_server(const Rows& rows, State& state) {
  state.database = rows.text(0, 0);
  state.version = rows.text(0, 1);
  state.standby = rows.boolean(0, 2);
  state.replay_lag_s = optional_number(rows, 0, 3);
  state.up_s = rows.number(0, 4);
  state.connections_max = rows.integer(0, 5);
  state.room.database_bytes = rows.integer(0, 8);
  state.room.temporary_bytes = rows.integer(0, 9);
  const int64_t hits = rows.integer(0, 10), reads = rows.integer(0, 11);
  if (hits + reads >= kBlocksMin) state.cache_hit_ratio = static_cast<double>(hits) / static_cast<double>(hits + reads);
  state.deadlocks = rows.integer(0, 12);
  state.statistics_s = rows.number(0, 13);
  state.transaction_age = rows.integer(0, 14);
  state.oldest_database = rows.text(0, 15);
  state.freeze_max_age = rows.integer(0, 16);
  if (!rows.boolean(0, 17))
    state.notes.emplace_back(
        "what other roles' sessions do is not shown to this role: GRANT pg_read_all_stats TO it (or pg_monitor)");
  if (rows.is_null(0, 6)) return;
  if (const auto disk = tuner::local_disk(rows.text(0, 6), rows.integer(0, 7))) {
    state.room.free_bytes = disk->free_bytes;
    state.room.disk_bytes = disk->bytes;
  }
}

Session session_of(const Rows& rows, int i) {
  return {.pid = rows.integer(i, 0),
          .role = rows.text(i, 1),
          .database = rows.text(i, 2),
          .application = rows.text(i, 3),
          .client = rows.text(i, 4),
          .backend = rows.text(i, 5),
          .state = rows.text(i, 6),
          .wait_type = rows.text(i, 7),
          .wait_event = rows.text(i, 8),
          .query = tuner::without_literals(rows.text(i, 9)),
          .transaction_s = optional_number(rows, i, 10),
          .statement_s = optional_number(rows, i, 11),
          .state_s = optional_number(rows, i, 12),
          .waits_for = rows.text(i, 13),
          .blocked_by = rows.integers(i, 14),
          .xmin_age = rows.integer(i, 15),
          .hidden = !rows.is_null(i, 16) && rows.boolean(i, 16)};
}

Session prepared_of(const Rows& rows, int i) {
  return {.role = rows.text(i, 1),
          .database = rows.text(i, 2),
          .backend = "prepared transaction",
          .state = "prepared",
          .query = "PREPARE TRANSACTION " + rows.text(i, 0),
          .transaction_s = rows.number(i, 3),
          .state_s = rows.number(i, 3),
          .xmin_age = rows.integer(i, 4)};
}

}  // namespace

task<State> read_state(db::Connection& connection) {
  State state;
  state.taken_at_ms = now_ms();
  const Rows server = co_await connection.query(kServer);
  take_server(server, state);
  const Rows sessions = co_await connection.query(kSessions);
  for (int i = 0; i < sessions.size(); ++i) state.sessions.push_back(session_of(sessions, i));
  const Rows prepared = co_await connection.query(kPrepared);
  for (int i = 0; i < prepared.size(); ++i) state.sessions.push_back(prepared_of(prepared, i));
  const Rows replicas = co_await connection.query(kReplicas);
  for (int i = 0; i < replicas.size(); ++i)
    state.replicas.push_back({.name = replicas.text(i, 0),
                              .client = replicas.text(i, 1),
                              .state = replicas.text(i, 2),
                              .sync = replicas.text(i, 3),
                              .lag_bytes = replicas.optional_integer(i, 4),
                              .lag_s = optional_number(replicas, i, 5)});
  const Rows slots = co_await connection.query(kSlots);
  for (int i = 0; i < slots.size(); ++i)
    state.slots.push_back({.name = slots.text(i, 0),
                           .type = slots.text(i, 1),
                           .active = slots.boolean(i, 2),
                           .wal_status = slots.text(i, 3),
                           .kept_bytes = slots.optional_integer(i, 4),
                           .xmin_age = slots.integer(i, 5)});
  if (server.boolean(0, 18)) {
    const Rows wal = co_await connection.query(kWal);
    state.room.wal_bytes = wal.integer(0, 0);
  } else {
    state.notes.emplace_back("how much WAL there is may not be asked by this role: GRANT pg_monitor TO it");
  }
  co_return state;
}

}  // namespace cairn::triage
