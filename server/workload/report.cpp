#include "workload/report.h"

#include <fmt/format.h>

#include "base/json.h"

namespace cairn::workload {
namespace {

constexpr int kPercentiles[] = {50, 90, 95, 99};

double ms(uint64_t microseconds) { return static_cast<double>(microseconds) / 1000; }

std::string shown_ms(double value) { return fmt::format("{:.{}f}", value, value < 100 ? 2 : 0); }

void write_family(json::Writer& out, const FamilyReport& family) {
  out.begin_object();
  out.field("family", family.name);
  out.field("count", family.arrived);
  out.field("answered", family.answered());
  out.field("errors", family.errors);
  out.field("timeouts", family.timeouts);
  out.field("unfinished", family.unfinished);
  out.field("over_1s", family.over_1s);
  out.field("rows", family.rows);
  out.field("mean_ms", family.latencies.mean_us() / 1000);
  for (const int percent : kPercentiles)
    out.field(fmt::format("p{}_ms", percent), ms(family.latencies.percentile_us(percent)));
  out.field("max_ms", ms(family.latencies.max_us()));
  if (!family.first_error.empty()) out.field("first_error", family.first_error);
  out.end_object();
}

void write_database(json::Writer& out, const LoadReport& report) {
  const DatabaseFigures& database = report.database;
  out.begin_object();
  out.field("blocks_hit", database.blocks_hit);
  out.field("blocks_read", database.blocks_read);
  out.field("cache_hit_ratio", database.cache_hit_ratio());
  out.field("temp_bytes", database.temp_bytes);
  out.field("deadlocks", database.deadlocks);
  out.field("cpu_seconds", database.cpu_seconds);
  out.end_object();
}

std::vector<std::string> row_of(const FamilyReport& family) {
  const Latencies& latencies = family.latencies;
  std::vector<std::string> row = {family.name,
                                  std::to_string(family.arrived),
                                  std::to_string(family.errors),
                                  std::to_string(family.timeouts),
                                  std::to_string(family.rows),
                                  shown_ms(latencies.mean_us() / 1000)};
  for (const int percent : kPercentiles) row.push_back(shown_ms(ms(latencies.percentile_us(percent))));
  row.push_back(shown_ms(ms(latencies.max_us())));
  return row;
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

std::string shown_bytes(int64_t bytes) {
  if (bytes < 10 * 1024) return fmt::format("{} B", bytes);
  if (bytes < 10 * 1024 * 1024) return fmt::format("{} kB", bytes / 1024);
  return fmt::format("{} MB", bytes / 1024 / 1024);
}

}  // namespace

void FamilyReport::merge(const FamilyReport& other) {
  arrived += other.arrived;
  errors += other.errors;
  timeouts += other.timeouts;
  unfinished += other.unfinished;
  over_1s += other.over_1s;
  rows += other.rows;
  latencies.merge(other.latencies);
}

std::optional<double> DatabaseFigures::cache_hit_ratio() const {
  if (blocks_hit + blocks_read <= 0) return std::nullopt;
  return static_cast<double>(blocks_hit) / static_cast<double>(blocks_hit + blocks_read);
}

std::string to_json(const SeedReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("scale", report.scale);
  out.field("seed", report.seed);
  out.field("seconds", report.seconds);
  out.key("tables");
  out.begin_array();
  for (const SeededTable& table : report.tables) {
    out.begin_object();
    out.field("table", table.name);
    out.field("rows", table.rows);
    out.field("bytes", table.bytes);
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

std::string to_json(const LoadReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("duration_s", report.asked_duration_s);
  out.field("elapsed_s", report.elapsed_s);
  out.field("rate", report.asked_rate);
  out.field("achieved_rate", report.achieved_rate());
  out.field("seed", report.seed);
  out.field("connections", report.connections);
  out.field("ended_early", report.ended_early);
  out.field("waited_ms_mean", report.waited_ms_mean);
  out.key("families");
  out.begin_array();
  for (const FamilyReport& family : report.families) write_family(out, family);
  out.end_array();
  out.key("total");
  write_family(out, report.total);
  out.key("database");
  write_database(out, report);
  out.end_object();
  return text;
}

Table to_table(const SeedReport& report) {
  Table table = {{"table", "rows", "size"}};
  int64_t rows = 0, bytes = 0;
  for (const SeededTable& seeded : report.tables) {
    table.push_back({seeded.name, std::to_string(seeded.rows), shown_bytes(seeded.bytes)});
    rows += seeded.rows;
    bytes += seeded.bytes;
  }
  table.push_back({"total", std::to_string(rows), shown_bytes(bytes)});
  return table;
}

Table to_table(const LoadReport& report) {
  Table table = {{"family", "count", "errors", "time-outs", "rows", "mean ms", "P50", "P90", "P95", "P99", "max"}};
  for (const FamilyReport& family : report.families) table.push_back(row_of(family));
  table.push_back(row_of(report.total));
  return table;
}

std::vector<std::string> remarks(const LoadReport& report) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{:.1f} answers a second for {:.1f} s ({:g} asked), {} connections, seed {}{}",
                              report.achieved_rate(), report.elapsed_s, report.asked_rate, report.connections,
                              report.seed, report.ended_early ? ", ended early" : ""));
  if (report.total.over_1s > 0) lines.push_back(fmt::format("over a second: {}", report.total.over_1s));
  if (report.waited_ms_mean >= 1) {
    lines.push_back(
        fmt::format("of the mean, {} ms were waiting for a free connection", shown_ms(report.waited_ms_mean)));
  }
  if (report.total.unfinished > 0) lines.push_back(fmt::format("not finished: {}", report.total.unfinished));
  const DatabaseFigures& database = report.database;
  std::string line = "the database meanwhile: ";
  if (const auto ratio = database.cache_hit_ratio()) line += fmt::format("cache hits {:.1f} %, ", *ratio * 100);
  line += fmt::format("{} blocks read, temporary files {}", database.blocks_read, shown_bytes(database.temp_bytes));
  if (database.cpu_seconds && report.elapsed_s > 0) {
    line += fmt::format(", CPU {:.1f} s ({:.0f} % of a core)", *database.cpu_seconds,
                        *database.cpu_seconds / report.elapsed_s * 100);
  }
  lines.push_back(line);
  for (const FamilyReport& family : report.families) {
    if (!family.first_error.empty()) lines.push_back(one_line(family.name + ": " + family.first_error));
  }
  return lines;
}

}  // namespace cairn::workload
