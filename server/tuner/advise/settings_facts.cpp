// What propose_settings() looks at, as far as the role may read it.
#include <algorithm>
#include <filesystem>

#include "db/pool.h"
#include "tuner/advise/settings_advice.h"

namespace cairn::tuner {
namespace {

using db::Rows;
using db::Statement;

constexpr double kBlock = 8192;

// reset_val: what a new session of the role has, whatever this one has set.
constexpr Statement kSettings{
    "tune_settings",
    "/* cairn tune */ SELECT name, CASE WHEN vartype IN ('integer', 'real') THEN reset_val::float8 * CASE unit WHEN "
    "'B' "
    "THEN 1 WHEN 'kB' THEN 1024 WHEN '8kB' THEN 8192 WHEN 'MB' THEN 1048576 ELSE 1 END ELSE 0 END, "
    "CASE WHEN vartype IN ('integer', 'real') THEN reset_val || CASE unit WHEN '8kB' THEN ' blocks of 8 kB' ELSE "
    "coalesce(' ' || unit, '') END ELSE reset_val END, context = 'postmaster', context = 'sighup' FROM pg_settings "
    "WHERE name = ANY (ARRAY['shared_buffers', 'effective_cache_size', 'work_mem', 'maintenance_work_mem', "
    "'random_page_cost', 'effective_io_concurrency', 'default_statistics_target', 'max_parallel_workers_per_gather', "
    "'jit', 'max_wal_size', 'wal_compression', 'max_connections', 'autovacuum_vacuum_scale_factor', "
    "'autovacuum_analyze_scale_factor'])"};
constexpr Statement kOfDatabase{
    "tune_settings_database",
    "/* cairn tune */ SELECT split_part(s, '=', 1), substr(s, strpos(s, '=') + 1) FROM pg_db_role_setting r, "
    "unnest(r.setconfig) s WHERE r.setrole = 0 AND r.setdatabase = (SELECT oid FROM pg_database WHERE datname = "
    "current_database())"};
constexpr Statement kOfSystem{"tune_settings_system",
                              "/* cairn tune */ SELECT name, setting FROM pg_file_settings WHERE sourcefile ~ "
                              "'postgresql\\.auto\\.conf$' ORDER BY seqno"};
constexpr Statement kPlace{
    "tune_settings_place",
    "/* cairn tune */ SELECT current_setting('server_version_num')::int8, current_database()::text, "
    "pg_database_size(current_database())::float8, (SELECT coalesce(max(relpages), 0)::float8 * "
    "8192 FROM pg_class WHERE relkind = 'i'), (SELECT blks_hit::float8 FROM pg_stat_database "
    "WHERE datname = current_database()), (SELECT blks_read::float8 FROM pg_stat_database WHERE "
    "datname = current_database())"};
// Nothing for a server that is not reached by a socket of this machine, or a role that may not see it.
constexpr Statement kDirectory{"tune_settings_directory",
                               "/* cairn tune */ SELECT setting FROM pg_settings WHERE name = 'data_directory' AND "
                               "inet_server_addr() IS NULL"};
constexpr Statement kCheckpoints{
    "tune_checkpoints",
    "/* cairn tune */ SELECT checkpoints_timed::float8, checkpoints_req::float8 FROM pg_stat_bgwriter"};
constexpr Statement kCheckpoints17{
    "tune_checkpoints_17",
    "/* cairn tune */ SELECT num_timed::float8, num_requested::float8 FROM pg_stat_checkpointer"};
constexpr Statement kWal{"tune_wal", "/* cairn tune */ SELECT wal_bytes::float8, wal_fpi::float8 FROM pg_stat_wal"};
constexpr Statement kChurn{
    "tune_churn",
    "/* cairn tune */ SELECT s.schemaname::text, s.relname::text, greatest(s.n_live_tup, c.reltuples)::float8, "
    "s.n_dead_tup::float8, s.n_tup_ins::float8, s.n_tup_upd::float8, s.n_tup_del::float8, s.autovacuum_count::int8, "
    "coalesce(c.reloptions, '{}')::text[] FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid "
    "WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0 ORDER BY 1, 2"};
constexpr Statement kStatements{
    "tune_statements_place",
    "/* cairn tune */ SELECT n.nspname::text, string_to_array(e.extversion, '.')::int[] >= '{1,8}', "
    "string_to_array(e.extversion, '.')::int[] >= '{1,10}' FROM pg_extension e JOIN pg_namespace n ON n.oid = "
    "e.extnamespace WHERE e.extname = 'pg_stat_statements'"};

task<> read_machine(db::Pool& pool, SettingsFacts& facts) {
  const Rows shown = co_await pool.query(kDirectory);
  if (shown.empty()) co_return;
  const std::string directory = shown.text(0, 0);
  std::error_code failure;
  if (std::filesystem::exists(directory, failure) && !failure) facts.machine = cluster::inspect_machine(directory);
}

task<> read_spills(db::Pool& pool, SettingsFacts& facts) {
  const Rows place = co_await pool.query(kStatements);
  if (place.empty() || !place.boolean(0, 1)) co_return;
  const std::string view = db::quote_identifier(place.text(0, 0)) + ".pg_stat_statements";
  const std::string jit = place.boolean(0, 2)
                              ? "coalesce(sum(jit_generation_time + jit_inlining_time + jit_optimization_time + "
                                "jit_emission_time), 0)::float8, coalesce(sum(total_exec_time) FILTER (WHERE "
                                "jit_functions > 0), 0)::float8"
                              : "0::float8, 0::float8";
  const std::string text =
      "/* cairn tune */ SELECT coalesce(sum(calls) FILTER (WHERE temp_blks_written > 0), 0)::float8, "
      "coalesce(max(temp_blks_written::float8 / greatest(calls, 1)), 0)::float8, coalesce(max(mean_exec_time) FILTER "
      "(WHERE calls > 1), 0)::float8, " +
      jit + " FROM " + view +
      " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ~* "
      "'^\\s*(select|with|insert|update|delete|merge)'";
  const Statement statement{"", text};
  const Rows rows = co_await pool.query(statement);
  facts.spilled_calls = rows.number(0, 0);
  facts.spill_bytes_max = rows.number(0, 1) * kBlock;
  facts.slowest_mean_ms = rows.number(0, 2);
  facts.jit_ms = rows.number(0, 3);
  facts.jit_run_ms = rows.number(0, 4);
}

// What cannot be read is not known, and so no evidence.
task<Rows> rows_or_none(db::Pool& pool, Statement statement, bool& known) {
  try {
    known = true;
    co_return co_await pool.query(statement);
  } catch (const db::DbError& error) {
    if (error.is_unavailable()) throw;
  }
  known = false;
  co_return Rows(nullptr);
}

task<> read_tables(db::Pool& pool, SettingsFacts& facts) {
  const Rows rows = co_await pool.query(kChurn);
  for (int row = 0; row < rows.size(); ++row) {
    TableChurn table{.table = {rows.text(row, 0), rows.text(row, 1)},
                     .rows = rows.number(row, 2),
                     .dead = rows.number(row, 3),
                     .inserted = rows.number(row, 4),
                     .updated = rows.number(row, 5),
                     .deleted = rows.number(row, 6),
                     .vacuums = rows.integer(row, 7)};
    for (const std::string& option : rows.texts(row, 8)) {
      const size_t equals = option.find('=');
      if (equals != std::string::npos) table.options[option.substr(0, equals)] = option.substr(equals + 1);
    }
    facts.tables.push_back(std::move(table));
  }
}

}  // namespace

task<SettingsFacts> read_settings_facts(db::Pool& pool) {
  SettingsFacts facts;
  const Rows settings = co_await pool.query(kSettings);
  for (int row = 0; row < settings.size(); ++row)
    facts.settings[settings.text(row, 0)] = {.number = settings.number(row, 1),
                                             .text = settings.text(row, 2),
                                             .restart = settings.boolean(row, 3),
                                             .reload = settings.boolean(row, 4)};
  const Rows database = co_await pool.query(kOfDatabase);
  for (int row = 0; row < database.size(); ++row) facts.of_database[database.text(row, 0)] = database.text(row, 1);
  bool known = false;
  const Rows system = co_await rows_or_none(pool, kOfSystem, known);
  if (known) facts.of_system.emplace();
  for (int row = 0; known && row < system.size(); ++row) (*facts.of_system)[system.text(row, 0)] = system.text(row, 1);

  const Rows place = co_await rows_or_none(pool, kPlace, known);
  if (known) {
    facts.version = static_cast<int>(place.integer(0, 0));
    facts.database = place.text(0, 1);
    facts.database_bytes = place.number(0, 2);
    facts.largest_index_bytes = place.number(0, 3);
    facts.block_hits = place.number(0, 4);
    facts.block_reads = place.number(0, 5);
  }
  co_await read_machine(pool, facts);
  const Rows checkpoints = co_await rows_or_none(pool, facts.version >= 170000 ? kCheckpoints17 : kCheckpoints, known);
  if (known) {
    facts.checkpoints_timed = checkpoints.number(0, 0);
    facts.checkpoints_forced = checkpoints.number(0, 1);
  }
  const Rows wal = co_await rows_or_none(pool, kWal, known);
  if (known) {
    facts.wal_bytes = wal.number(0, 0);
    facts.wal_page_images = wal.number(0, 1);
  }
  co_await read_spills(pool, facts);
  co_await read_tables(pool, facts);
  co_return facts;
}

task<> add_settings(db::Pool& pool, Advice& advice) {
  const SettingsFacts facts = co_await read_settings_facts(pool);
  std::vector<Change> changes = propose_settings(facts);
  for (Change& change : changes) advice.changes.push_back(std::move(change));
  if (!facts.of_system)
    advice.notes.push_back(
        "Settings of the whole server are not proposed: what ALTER SYSTEM has set may not be read, so it could not be "
        "put back. A superuser may run: GRANT SELECT ON pg_file_settings TO the role, and GRANT EXECUTE ON FUNCTION "
        "pg_show_all_file_settings() TO it.");
}

}  // namespace cairn::tuner
