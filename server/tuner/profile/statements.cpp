#include "tuner/profile/statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

constexpr int kOldestVersion = 108;
constexpr int kVersionWithInfo = 109;   // pg_stat_statements_info, toplevel
constexpr int kVersionWithSince = 111;  // stats_since
constexpr const char* kDenied = "42501";

constexpr const char* kInstall = "install PostgreSQL's contrib modules (Debian: postgresql-contrib), then ";

// "1.10" as 110.
int version_number(const std::string& version) {
  const size_t dot = version.find('.');
  if (dot == std::string::npos) return 0;
  return std::atoi(version.c_str()) * 100 + std::atoi(version.c_str() + dot + 1);
}

// pg_stat_statements.max is known to everybody once the library was loaded at the server's start.
constexpr db::Statement kServer{"tune_server", R"(/* cairn tune */
SELECT clock_timestamp(), d.oid::int8, d.datname::text, current_setting('server_version'), current_user::text,
       current_setting('pg_stat_statements.max', true) IS NOT NULL,
       coalesce(current_setting('pg_stat_statements.track', true), ''),
       coalesce(current_setting('compute_query_id', true), ''),
       coalesce(s.blks_hit, 0)::int8, coalesce(s.blks_read, 0)::int8, s.stats_reset,
       (SELECT string_agg(quote_literal(btrim(library, ' "')) || ', ', '')
        FROM pg_settings g, unnest(string_to_array(g.setting, ',')) library WHERE g.name = 'shared_preload_libraries'),
       EXISTS (SELECT FROM pg_settings WHERE name = 'shared_preload_libraries'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')
FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
WHERE d.datname = current_database())"};

struct Server {
  std::string role;
  bool loaded = false;
  bool available = false;
};

task<Server> read_server(db::Pool& pool, Reading& reading) {
  const db::Rows rows = co_await pool.query(kServer);
  reading.taken_at_ms = rows.timestamp_ms(0, 0);
  reading.database_id = rows.integer(0, 1);
  reading.database = rows.text(0, 2);
  reading.server_version = rows.text(0, 3);
  reading.cache_hits = rows.integer(0, 8);
  reading.cache_reads = rows.integer(0, 9);
  reading.database_reset_at_ms = rows.optional_timestamp_ms(0, 10);
  if (rows.text(0, 6) == "none")
    reading.notes.push_back({"no statement is counted: pg_stat_statements.track is none",
                             "ALTER SYSTEM SET pg_stat_statements.track = 'top'; SELECT pg_reload_conf();"});
  if (rows.text(0, 7) == "off")
    reading.notes.push_back({"no statement is counted, unless another module numbers them: compute_query_id is off",
                             "ALTER SYSTEM SET compute_query_id = 'auto'; SELECT pg_reload_conf();"});
  Server server{rows.text(0, 4), rows.boolean(0, 5), rows.boolean(0, 13)};
  if (!server.loaded) {
    // Who may not see what is loaded already must not be told to overwrite it.
    const std::string setting = rows.boolean(0, 12)
                                    ? fmt::format("ALTER SYSTEM SET shared_preload_libraries = {}'pg_stat_statements';",
                                                  rows.optional_text(0, 11).value_or(""))
                                    : "add it to shared_preload_libraries,";
    reading.notes.push_back(
        {"what ran is not known: the server did not load pg_stat_statements", setting + " then restart PostgreSQL"});
  }
  co_return server;
}

constexpr db::Statement kExtension{"tune_extension", R"(/* cairn tune */
SELECT e.extversion, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements')"};

// The view's schema quoted; empty, and a note, when there is none that can be read.
task<std::string> find_view(db::Pool& pool, const Server& server, Reading& reading, std::string& version) {
  const db::Rows rows = co_await pool.query(kExtension);
  if (rows.empty()) {
    reading.notes.push_back(
        {"what ran is not known: extension pg_stat_statements is not in database " + reading.database,
         "CREATE EXTENSION pg_stat_statements;"});
    co_return "";
  }
  version = rows.text(0, 0);
  if (version_number(version) < kOldestVersion) {
    reading.notes.push_back({"what ran is not known: pg_stat_statements " + version + " is older than 1.8",
                             std::string(kUpdateExtension.sql)});
    co_return "";
  }
  co_return server.loaded ? db::quote_identifier(rows.text(0, 1)) : "";
}

// {0}: the schema, {1}: whether it is top level, {2}: since when it is counted.
constexpr std::string_view kStatements = R"(/* cairn tune */
SELECT s.userid::int8, coalesce(r.rolname::text, s.userid::text), s.queryid, {1}, s.query, s.calls, s.rows,
       s.total_exec_time, s.mean_exec_time, s.stddev_exec_time, s.max_exec_time, s.shared_blks_hit,
       s.shared_blks_read, s.temp_blks_read + s.temp_blks_written, s.wal_bytes::int8, {2}
FROM {0}.pg_stat_statements s LEFT JOIN pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND NOT coalesce(starts_with(s.query, '/* cairn tune */'), false)
ORDER BY s.total_exec_time DESC)";

StatementRow statement_of(const db::Rows& rows, int i) {
  StatementRow row;
  row.role_id = rows.integer(i, 0);
  row.role = rows.text(i, 1);
  row.hidden = rows.is_null(i, 2);
  row.queryid = rows.optional_integer(i, 2).value_or(0);
  row.top_level = rows.boolean(i, 3);
  if (!row.hidden) row.text = without_literals(rows.optional_text(i, 4).value_or(""));
  Counters& counters = row.counters;
  counters.calls = rows.integer(i, 5);
  counters.rows = rows.integer(i, 6);
  counters.total_ms = rows.number(i, 7);
  const double mean = rows.number(i, 8), deviation = rows.number(i, 9);
  counters.squares_ms2 = static_cast<double>(counters.calls) * (mean * mean + deviation * deviation);
  counters.max_ms = rows.number(i, 10);
  counters.shared_hits = rows.integer(i, 11);
  counters.shared_reads = rows.integer(i, 12);
  counters.temp_blocks = rows.integer(i, 13);
  counters.wal_bytes = rows.integer(i, 14);
  if (!row.hidden) row.since_ms = rows.optional_timestamp_ms(i, 15);
  row.fingerprint = fingerprint(row.text).value_or("");
  return row;
}

void note_hidden(Reading& reading, const Server& server, int64_t hidden) {
  if (hidden == 0) return;
  reading.notes.push_back(
      {fmt::format("{} statements of other roles are counted, but role {} may not read them", hidden, server.role),
       "GRANT pg_read_all_stats TO " + db::quote_identifier(server.role) + ";"});
}

// Statements that may not be read become one row a role.
void take_statements(const db::Rows& rows, const Server& server, Reading& reading) {
  std::map<std::pair<int64_t, bool>, StatementRow> hidden;
  int64_t hidden_count = 0;
  for (int i = 0; i < rows.size(); ++i) {
    StatementRow row = statement_of(rows, i);
    if (!row.hidden) {
      reading.statements.push_back(std::move(row));
      continue;
    }
    ++hidden_count;
    const std::pair key{row.role_id, row.top_level};
    const auto [place, first] = hidden.try_emplace(key, row);
    if (!first) place->second.counters += row.counters;
  }
  for (auto& [key, row] : hidden) reading.statements.push_back(std::move(row));
  note_hidden(reading, server, hidden_count);
}

constexpr std::string_view kInfo = R"(/* cairn tune */
SELECT dealloc, stats_reset FROM {0}.pg_stat_statements_info)";

}  // namespace

double Counters::stddev_ms() const {
  if (calls == 0) return 0;
  const double mean = mean_ms();
  return std::sqrt(std::max(0.0, squares_ms2 / static_cast<double>(calls) - mean * mean));
}

Counters& Counters::operator+=(const Counters& other) {
  calls += other.calls;
  rows += other.rows;
  total_ms += other.total_ms;
  squares_ms2 += other.squares_ms2;
  // A known longest call that is above the other's bound is known to be the longest of both.
  if (other.max_ms > max_ms || (other.max_ms == max_ms && !other.max_is_bound)) max_is_bound = other.max_is_bound;
  max_ms = std::max(max_ms, other.max_ms);
  shared_hits += other.shared_hits;
  shared_reads += other.shared_reads;
  temp_blocks += other.temp_blocks;
  wal_bytes += other.wal_bytes;
  return *this;
}

Counters since(const Counters& before, const Counters& after) {
  Counters counters = after;
  counters.calls -= before.calls;
  counters.rows -= before.rows;
  counters.total_ms -= before.total_ms;
  counters.squares_ms2 = std::max(0.0, after.squares_ms2 - before.squares_ms2);
  counters.max_is_bound = counters.calls > 1 && after.max_ms <= before.max_ms;
  if (after.max_ms <= before.max_ms) counters.max_ms = std::min(after.max_ms, counters.total_ms);
  counters.shared_hits -= before.shared_hits;
  counters.shared_reads -= before.shared_reads;
  counters.temp_blocks -= before.temp_blocks;
  counters.wal_bytes -= before.wal_bytes;
  return counters;
}

bool has_grown(const Counters& before, const Counters& after) {
  return after.calls >= before.calls && after.rows >= before.rows && after.total_ms >= before.total_ms &&
         after.max_ms >= before.max_ms && after.shared_hits >= before.shared_hits &&
         after.shared_reads >= before.shared_reads && after.temp_blocks >= before.temp_blocks &&
         after.wal_bytes >= before.wal_bytes;
}

task<Reading> read_statements(db::Pool& pool) {
  Reading reading;
  const Server server = co_await read_server(pool, reading);
  std::string version;
  const std::string schema = co_await find_view(pool, server, reading, version);
  if (schema.empty()) co_return reading;
  const int number = version_number(version);
  const std::string statements_sql =
      fmt::format(kStatements, schema, number >= kVersionWithInfo ? "s.toplevel" : "true",
                  number >= kVersionWithSince ? "s.stats_since" : "NULL::timestamptz");
  const std::string info_sql = fmt::format(kInfo, schema);
  const db::Statement statements{"", statements_sql}, info{"", info_sql};
  try {
    const db::Rows rows = co_await pool.query(statements);
    if (number >= kVersionWithInfo) {
      const db::Rows row = co_await pool.query(info);
      reading.evictions = row.integer(0, 0);
      reading.reset_at_ms = row.optional_timestamp_ms(0, 1);
    }
    take_statements(rows, server, reading);
    reading.extension_version = version;
  } catch (const db::DbError& error) {
    if (error.sqlstate() != kDenied) throw;
    const std::string role = db::quote_identifier(server.role);
    reading.notes.push_back(
        {fmt::format("what ran is not known: {}", error.what()),
         fmt::format("GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON {0}.pg_stat_statements{2} TO {1};", schema,
                     role, number >= kVersionWithInfo ? fmt::format(", {}.pg_stat_statements_info", schema) : "")});
  }
  co_return reading;
}

}  // namespace cairn::tuner
