#include <cstdlib>
#include <ostream>

#include "base/json.h"
#include "base/table.h"
#include "pooler/api.h"
#include "pooler/console.h"
#include "pooler/place.h"

namespace cairn::pooler {
namespace {

constexpr int kNotFound = 3;
// The console's own pool is none of PostgreSQL's.
constexpr const char* kConsole = "pgbouncer";
constexpr const char* kSettings[] = {"pool_mode",          "max_client_conn",      "default_pool_size",
                                     "reserve_pool_size",  "reserve_pool_timeout", "server_idle_timeout",
                                     "max_db_connections", "listen_addr",          "listen_port"};
// Of SHOW POOLS: a client is active while it has a connection of PostgreSQL or asks for nothing.
constexpr const char* kPoolColumns[] = {"cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "maxwait"};
constexpr const char* kTotals[] = {"total_xact_count", "total_query_count", "total_wait_time", "avg_xact_time",
                                   "avg_wait_time"};

void write_json(const std::string& ini, pid_t watcher, const Console& console, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  const auto number = [&writer](const char* name, const std::string& value) {
    writer.field(name, int64_t(std::atoll(value.c_str())));
  };
  writer.begin_object();
  writer.field("running", true);
  writer.field("watcher", watcher);
  writer.field("version", console.show("VERSION").rows.front().front());
  writer.key("settings");
  writer.begin_object();
  for (const char* key : kSettings) writer.field(key, ini_value(ini, key));
  writer.end_object();
  const auto tables = [&](const char* name, const char* what, auto&& columns) {
    const Console::Table table = console.show(what);
    writer.key(name);
    writer.begin_array();
    for (const Console::Row& row : table.rows) {
      if (table.cell(row, "database") == kConsole) continue;
      writer.begin_object();
      writer.field("database", table.cell(row, "database"));
      if (const std::string user = table.cell(row, "user"); !user.empty()) writer.field("user", user);
      for (const char* column : columns) number(column, table.cell(row, column));
      writer.end_object();
    }
    writer.end_array();
  };
  tables("pools", "POOLS", kPoolColumns);
  tables("totals", "STATS", kTotals);
  writer.end_object();
  out << text << "\n";
}

void write_text(const std::string& ini, pid_t watcher, const Console& console, std::ostream& out) {
  out << console.show("VERSION").rows.front().front() << ", watched by process " << watcher << ", on "
      << ini_value(ini, "listen_addr") << ":" << ini_value(ini, "listen_port") << ", " << ini_value(ini, "pool_mode")
      << " mode\nat most " << ini_value(ini, "max_client_conn") << " clients; " << ini_value(ini, "default_pool_size")
      << " connections a role and database, " << ini_value(ini, "reserve_pool_size") << " more for who waits "
      << ini_value(ini, "reserve_pool_timeout") << " s, " << ini_value(ini, "max_db_connections")
      << " in all; closed after " << ini_value(ini, "server_idle_timeout") << " s without use\n\n";
  const Console::Table pools = console.show("POOLS");
  std::vector<std::vector<std::string>> rows{
      {"database", "role", "clients", "waiting", "connections in use", "idle", "longest wait s"}};
  for (const Console::Row& row : pools.rows) {
    if (pools.cell(row, "database") == kConsole) continue;
    const int idle = atoi(pools.cell(row, "sv_idle").c_str()) + atoi(pools.cell(row, "sv_used").c_str());
    rows.push_back({pools.cell(row, "database"), pools.cell(row, "user"), pools.cell(row, "cl_active"),
                    pools.cell(row, "cl_waiting"), pools.cell(row, "sv_active"), std::to_string(idle),
                    pools.cell(row, "maxwait")});
  }
  print_table(out, rows);
}

}  // namespace

int show_status(const std::string& data_dir, bool as_json, std::ostream& out) {
  const Place place(data_dir);
  const auto watcher = place.watcher();
  if (!watcher) {
    out << (as_json ? "{\"running\": false}" : "PgBouncer does not run: `cairn pool start` starts it") << "\n";
    return kNotFound;
  }
  const std::string ini = place.ini();
  const Console console(ini);
  if (as_json)
    write_json(ini, *watcher, console, out);
  else
    write_text(ini, *watcher, console, out);
  return 0;
}

}  // namespace cairn::pooler
