// The dashboard as Grafana imports it: text 002's six panels first, by their titles, then more of the same database,
// then the server itself.
#include <vector>

#include "base/json.h"
#include "monitor/init.h"

namespace cairn::monitor {
namespace {

struct Target {
  const char* expr;
  const char* legend;
};

struct Threshold {
  const char* color;
  double from;
};

struct Panel {
  const char* title;
  const char* unit;  // Grafana's name of it
  std::vector<Target> targets;
  std::vector<Threshold> thresholds = {};
  const char* type = "timeseries";
};

struct Row {
  const char* title;
  std::vector<Panel> panels;
};

std::vector<Panel> text_002_panels() {
  return {
      {"Query Latency (P50, P95, P99)",
       "ms",
       {{"histogram_quantile(0.50, sum by (le) "
         "(rate(pg_stat_statements_exec_time_bucket{instance=~\"$instance\"}[5m])))",
         "P50"},
        {"histogram_quantile(0.95, sum by (le) "
         "(rate(pg_stat_statements_exec_time_bucket{instance=~\"$instance\"}[5m])))",
         "P95"},
        {"histogram_quantile(0.99, sum by (le) "
         "(rate(pg_stat_statements_exec_time_bucket{instance=~\"$instance\"}[5m])))",
         "P99"}}},
      {"Cache Hit Ratio",
       "percent",
       {{"pg_cache_hit_ratio{instance=~\"$instance\"}", "Cache Hit %"}},
       {{"red", 0}, {"yellow", 80}, {"green", 90}}},
      {"Slow Queries (>100ms)", "short", {{"pg_slow_queries{instance=~\"$instance\"}", "Slow Queries"}}},
      {"Database Size", "bytes", {{"pg_database_size_bytes{instance=~\"$instance\"}", "{{datname}}"}}},
      {"Active Connections",
       "short",
       {{"sum(pg_connections{instance=~\"$instance\",state=\"active\"})", "Active"},
        {"sum(pg_connections{instance=~\"$instance\",state=\"idle\"})", "Idle"},
        {"sum(pg_connections{instance=~\"$instance\",state=~\"idle in transaction.*\"})", "Idle in transaction"}}},
      {"Deadlocks", "ops", {{"rate(pg_deadlocks{instance=~\"$instance\"}[5m])", "Deadlocks/sec"}}},
  };
}

std::vector<Panel> database_panels() {
  return {
      {"Transactions",
       "ops",
       {{"sum by (datname) (rate(pg_stat_database_xact_commit{instance=~\"$instance\"}[5m]))", "{{datname}} committed"},
        {"sum by (datname) (rate(pg_stat_database_xact_rollback{instance=~\"$instance\"}[5m]))",
         "{{datname}} rolled back"}}},
      {"Statements by time",
       "s",
       {{"topk(10, sum by (queryid) (rate(pg_stat_statements_seconds_total{instance=~\"$instance\"}[5m])))",
         "{{queryid}}"}}},
      {"Rows written",
       "ops",
       {{"sum(rate(pg_stat_database_tup_inserted{instance=~\"$instance\"}[5m]))", "Inserted"},
        {"sum(rate(pg_stat_database_tup_updated{instance=~\"$instance\"}[5m]))", "Updated"},
        {"sum(rate(pg_stat_database_tup_deleted{instance=~\"$instance\"}[5m]))", "Deleted"}}},
      {"Largest tables", "bytes", {{"topk(10, pg_table_sizes{instance=~\"$instance\"})", "{{table_name}}"}}},
      {"Dead rows",
       "short",
       {{"topk(10, pg_stat_user_tables_n_dead_tup{instance=~\"$instance\"})", "{{schemaname}}.{{relname}}"}}},
      {"Largest indexes that nothing uses",
       "bytes",
       {{"topk(10, pg_index_usage_bytes{instance=~\"$instance\"} and pg_index_usage{instance=~\"$instance\"} == 0)",
         "{{index_name}}"}}},
      {"Locks", "short", {{"sum by (mode) (pg_locks_count{instance=~\"$instance\"})", "{{mode}}"}}},
      {"Longest transaction", "s", {{"max(pg_stat_activity_max_tx_duration{instance=~\"$instance\"})", "Seconds"}}},
      {"Log written", "Bps", {{"rate(pg_wal_position_bytes{instance=~\"$instance\"}[5m])", "WAL"}}},
      {"Checkpoints",
       "ops",
       {{"rate(pg_stat_bgwriter_checkpoints_timed_total{instance=~\"$instance\"}[5m])", "By time"},
        {"rate(pg_stat_bgwriter_checkpoints_req_total{instance=~\"$instance\"}[5m])", "Forced"}}},
      {"Temporary files", "Bps", {{"sum(rate(pg_stat_database_temp_bytes{instance=~\"$instance\"}[5m]))", "Written"}}},
      {"Replication lag", "s", {{"pg_replication_lag_seconds{instance=~\"$instance\"}", "{{instance}}"}}},
      {"Age of the oldest row",
       "short",
       {{"max by (datname) (pg_database_wraparound_age_datfrozenxid{instance=~\"$instance\"})", "{{datname}}"}}},
      {"PostgreSQL", "short", {{"pg_up{instance=~\"$instance\"}", "Up"}}, {{"red", 0}, {"green", 1}}, "stat"},
  };
}

std::vector<Panel> server_panels() {
  return {
      {"Requests",
       "reqps",
       {{"sum by (class) (rate(cairn_http_responses_total{instance=~\"$instance\"}[5m]))", "{{class}}"}}},
      {"Request latency",
       "s",
       {{"histogram_quantile(0.50, sum by (le) "
         "(rate(cairn_http_request_duration_seconds_bucket{instance=~\"$instance\"}[5m])))",
         "P50"},
        {"histogram_quantile(0.99, sum by (le) "
         "(rate(cairn_http_request_duration_seconds_bucket{instance=~\"$instance\"}[5m])))",
         "P99"}}},
      {"Pool",
       "short",
       {{"cairn_pool_in_use{instance=~\"$instance\"}", "In use"},
        {"cairn_pool_open{instance=~\"$instance\"}", "Open"},
        {"cairn_pool_waiting{instance=~\"$instance\"}", "Requests waiting"}}},
      {"Alerts", "short", {{"count by (alertname) (ALERTS{alertstate=\"firing\"}) or vector(0)", "{{alertname}}"}}},
  };
}

constexpr int kWidth = 8, kHeight = 8, kInARow = 3;

void write_grid(json::Writer& out, int x, int y, int width, int height) {
  out.key("gridPos");
  out.begin_object();
  out.field("x", x);
  out.field("y", y);
  out.field("w", width);
  out.field("h", height);
  out.end_object();
}

void write_source(json::Writer& out) {
  out.key("datasource");
  out.raw(R"({"type":"prometheus","uid":"cairn-prometheus"})");
}

void write_thresholds(json::Writer& out, const std::vector<Threshold>& thresholds) {
  if (thresholds.empty()) return;
  out.key("thresholds");
  out.begin_object();
  out.field("mode", "absolute");
  out.key("steps");
  out.begin_array();
  for (const Threshold& threshold : thresholds) {
    out.begin_object();
    out.field("color", threshold.color);
    out.key("value");
    if (&threshold == &thresholds.front())
      out.null();
    else
      out.number(threshold.from);
    out.end_object();
  }
  out.end_array();
  out.end_object();
}

void write_panel(json::Writer& out, const Panel& panel, int id) {
  out.field("id", id);
  out.field("type", panel.type);
  out.field("title", panel.title);
  write_source(out);
  out.key("fieldConfig");
  out.begin_object();
  out.key("defaults");
  out.begin_object();
  out.field("unit", panel.unit);
  write_thresholds(out, panel.thresholds);
  out.end_object();
  out.key("overrides");
  out.raw("[]");
  out.end_object();
  out.key("targets");
  out.begin_array();
  char reference = 'A';
  for (const Target& target : panel.targets) {
    out.begin_object();
    out.field("refId", std::string(1, reference++));
    write_source(out);
    out.field("expr", target.expr);
    out.field("legendFormat", target.legend);
    out.end_object();
  }
  out.end_array();
}

// The servers to choose from.
void write_instances(json::Writer& out) {
  out.key("templating");
  out.begin_object();
  out.key("list");
  out.begin_array();
  out.begin_object();
  out.field("name", "instance");
  out.field("label", "Server");
  out.field("type", "query");
  write_source(out);
  out.field("query", "label_values(pg_up, instance)");
  out.field("refresh", 2);
  out.field("includeAll", true);
  out.field("multi", true);
  out.field("allValue", ".*");
  out.end_object();
  out.end_array();
  out.end_object();
}

}  // namespace

std::string dashboard_json() {
  const Row rows[] = {{"Text 002", text_002_panels()}, {"Database", database_panels()}, {"Server", server_panels()}};
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("uid", "cairn");
  out.field("title", "ML Registry Database Performance");
  out.field("schemaVersion", 36);
  out.field("editable", true);
  out.field("refresh", "30s");
  out.key("time");
  out.raw(R"({"from":"now-1h","to":"now"})");
  write_instances(out);
  out.key("panels");
  out.begin_array();
  int id = 0, y = 0;
  for (const Row& row : rows) {
    out.begin_object();
    out.field("id", ++id);
    out.field("type", "row");
    out.field("title", row.title);
    write_grid(out, 0, y++, kWidth * kInARow, 1);
    out.end_object();
    int place = 0;
    for (const Panel& panel : row.panels) {
      out.begin_object();
      write_grid(out, place % kInARow * kWidth, y + place / kInARow * kHeight, kWidth, kHeight);
      write_panel(out, panel, ++id);
      out.end_object();
      ++place;
    }
    y += (place + kInARow - 1) / kInARow * kHeight;
  }
  out.end_array();
  out.end_object();
  return text + "\n";
}

}  // namespace cairn::monitor
