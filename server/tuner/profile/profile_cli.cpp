#include "tuner/profile/profile_cli.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/json.h"
#include "base/reactor.h"
#include "base/table.h"
#include "tuner/profile/activity.h"
#include "tuner/profile/logged.h"
#include "tuner/profile/snapshots.h"

namespace cairn::tuner {
namespace {

constexpr double kSampleGapS = 0.1;
constexpr size_t kShownText = 90;
constexpr double kPercent = 100;
constexpr double kMiB = 1 << 20;

struct Findings {
  Profile profile;
  std::vector<TableScans> tables;
  WaitSamples waits;
  Logged logged;
  std::string snapshot;  // the name under which the reading was saved
};

std::chrono::nanoseconds seconds(double s) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(s));
}

task<> wait_and_sample(db::Pool& pool, const ProfileOptions& options, WaitSamples& waits) {
  const double gap_s =
      options.interval_s > 0 && options.samples > 0 ? options.interval_s / options.samples : kSampleGapS;
  for (int i = 0; i < options.samples; ++i) {
    co_await sample_waits(pool, waits);
    if (options.interval_s > 0 || i + 1 < options.samples) co_await sleep_for(seconds(gap_s));
  }
  if (options.samples == 0) co_await sleep_for(seconds(options.interval_s));
}

task<Findings> find(db::Pool& pool, const ProfileOptions& options, std::ostream& progress) {
  const Snapshots snapshots(options.state_directory);
  std::optional<Reading> before;
  if (!options.since.empty()) before = snapshots.load(options.since);
  Findings findings;
  if (options.interval_s > 0) {
    before = co_await read_statements(pool);
    progress << fmt::format("counting for {} s", options.interval_s) << std::endl;
  }
  co_await wait_and_sample(pool, options, findings.waits);
  const Reading reading = co_await read_statements(pool);
  findings.profile = before ? make_profile(*before, reading, options.order) : make_profile(reading, options.order);
  if (findings.waits.hidden > 0)
    findings.profile.notes.push_back(
        {"what sessions of other roles wait for may not be read", "GRANT pg_read_all_stats to this role"});
  if (options.tables) findings.tables = co_await read_table_scans(pool, options.top);
  findings.logged = co_await read_logged(pool, options.log);
  if (options.save) findings.snapshot = snapshots.save(reading);
  co_return findings;
}

std::string time_text(const std::optional<int64_t>& ms) {
  if (!ms) return "an unknown time";
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<time_t>(*ms / 1000)));
}

std::string percent(const std::optional<double>& ratio) {
  return ratio ? fmt::format("{:.1f} %", *ratio * kPercent) : "-";
}

std::string milliseconds(double ms) { return fmt::format("{:.{}f}", ms, ms < 10 ? 3 : 1); }

std::optional<double> hit_ratio(const Counters& counters) {
  const int64_t blocks = counters.shared_hits + counters.shared_reads;
  if (blocks <= 0) return std::nullopt;
  return static_cast<double>(counters.shared_hits) / static_cast<double>(blocks);
}

template <class Values, class F>
std::string joined(const Values& values, F&& text) {
  std::string all;
  for (const auto& value : values) all += (all.empty() ? "" : ", ") + text(value);
  return all;
}

std::string text_of(const StatementGroup& group) {
  if (group.id == "hidden") return "(statements of other roles)";
  return group.text.empty() ? "(its text is not known)" : on_one_line(group.text);
}

void print_statements(const Profile& profile, int64_t top, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{{"share", "total ms", "mean ms", "max ms", "± ms", "calls", "rows", "hits",
                                              "temp", "WAL MiB", "role", "id", "statement"}};
  for (const StatementGroup& group : profile.groups) {
    if (static_cast<int64_t>(rows.size()) > top) break;
    const Counters& counters = group.counters;
    rows.push_back({percent(group.share), milliseconds(counters.total_ms), milliseconds(counters.mean_ms()),
                    (counters.max_is_bound ? "≤ " : "") + milliseconds(counters.max_ms),
                    milliseconds(counters.stddev_ms()), std::to_string(counters.calls), std::to_string(counters.rows),
                    percent(hit_ratio(counters)), std::to_string(counters.temp_blocks),
                    fmt::format("{:.1f}", static_cast<double>(counters.wal_bytes) / kMiB),
                    joined(group.roles, [](const std::string& role) { return role; }), group.id,
                    (group.nested ? "(in functions) " : "") + text_of(group)});
  }
  if (rows.size() > 1) print_table(out, rows, kShownText);
}

void print_tables(const std::vector<TableScans>& tables, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{
      {"table", "MiB", "live rows", "sequential scans", "rows read so", "index scans"}};
  for (const TableScans& table : tables)
    rows.push_back({table.schema + "." + table.table, fmt::format("{:.1f}", static_cast<double>(table.bytes) / kMiB),
                    std::to_string(table.live_rows), std::to_string(table.sequential_scans),
                    std::to_string(table.sequential_rows), std::to_string(table.index_scans)});
  out << "\n";
  print_table(out, rows);
}

// What a statement waited for, over all its queryids.
std::map<std::string, int64_t> waits_of(const StatementGroup& group, const WaitSamples& waits) {
  std::map<std::string, int64_t> sessions;
  for (const int64_t queryid : group.queryids) {
    const auto found = waits.statements.find(queryid);
    if (found == waits.statements.end()) continue;
    for (const auto& [event, count] : found->second) sessions[event] += count;
  }
  return sessions;
}

void print_statement_waits(const Findings& findings, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{{"id", "sessions a sample", "waits for"}};
  for (const StatementGroup& group : findings.profile.groups)
    for (const auto& [event, sessions] : waits_of(group, findings.waits))
      rows.push_back({group.id, fmt::format("{:.2f}", static_cast<double>(sessions) / findings.waits.samples), event});
  if (rows.size() > 1) print_table(out, rows);
}

void print_waits(const WaitSamples& waits, std::ostream& out) {
  std::vector<std::pair<std::string, int64_t>> events(waits.sessions.begin(), waits.sessions.end());
  std::stable_sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::vector<std::string>> rows{{"active sessions", "sessions a sample"}};
  for (const auto& [event, sessions] : events)
    rows.push_back({event, fmt::format("{:.2f}", static_cast<double>(sessions) / waits.samples)});
  out << "\n";
  if (events.empty())
    out << "no session was active in " << waits.samples << " samples\n";
  else
    print_table(out, rows);
}

// Those of the shown statements that are in the server's log.
void print_logged(const Findings& findings, int64_t top, std::ostream& out) {
  const Logged& logged = findings.logged;
  std::vector<std::vector<std::string>> rows{{"id", "in the log", "slowest ms", "plans", "slowest plan ms"}};
  for (const StatementGroup& group : findings.profile.groups) {
    if (top-- <= 0) break;
    const LoggedStatement* found = logged.find(group.id);
    if (found == nullptr) continue;
    rows.push_back({group.id, std::to_string(found->calls), found->slowest_ms ? milliseconds(*found->slowest_ms) : "-",
                    std::to_string(found->plans), found->plan.empty() ? "-" : milliseconds(found->plan_ms)});
  }
  out << "\nlog: ";
  if (!logged.read.empty()) out << on_one_line(logged.read) << (logged.note.empty() ? "" : ": ");
  out << on_one_line(logged.note) << "\n";
  if (rows.size() == 1) return;
  print_table(out, rows);
  out << "a plan of it: cairn tune explain --logged ID\n";
}

void print_text(const Findings& findings, const ProfileOptions& options, std::ostream& out) {
  const Profile& profile = findings.profile;
  out << fmt::format("database {} on PostgreSQL {}", on_one_line(profile.database), profile.server_version);
  if (!profile.extension_version.empty())
    out << fmt::format(": {} statements, {} calls, {} ms, since {}", profile.groups.size(), profile.all.calls,
                       milliseconds(profile.all.total_ms), time_text(profile.since_ms));
  out << "\n";
  if (profile.cache_hit_ratio)
    out << "cache hits of the whole database: " << percent(profile.cache_hit_ratio)
        << (profile.cache_since_ms ? ", since " + time_text(profile.cache_since_ms) : "") << "\n";
  for (const Note& note : profile.notes)
    out << "note: " << on_one_line(note.what) << (note.remedy.empty() ? "" : "\n      " + on_one_line(note.remedy))
        << "\n";
  if (!profile.groups.empty()) out << "\n";
  print_statements(profile, options.top, out);
  if (options.tables) print_tables(findings.tables, out);
  if (options.samples > 0) {
    print_waits(findings.waits, out);
    print_statement_waits(findings, out);
  }
  print_logged(findings, options.top, out);
  if (!findings.snapshot.empty()) out << "\nsaved as snapshot " << findings.snapshot << "\n";
}

template <class Values, class F>
void write_array(json::Writer& writer, const char* name, const Values& values, F&& write) {
  writer.key(name);
  writer.begin_array();
  for (const auto& value : values) write(value);
  writer.end_array();
}

void write_logged(json::Writer& writer, const LoggedStatement* logged) {
  if (logged == nullptr) return;
  writer.key("logged");
  writer.begin_object();
  writer.field("calls", logged->calls);
  writer.field("slowest_ms", logged->slowest_ms);
  writer.field("plans", logged->plans);
  if (!logged->plan.empty()) writer.field("slowest_plan_ms", logged->plan_ms);
  writer.end_object();
}

void write_events(json::Writer& writer, const char* name, const std::map<std::string, int64_t>& sessions) {
  writer.key(name);
  writer.begin_object();
  for (const auto& [event, count] : sessions) writer.field(event, count);
  writer.end_object();
}

void write_group(json::Writer& writer, const StatementGroup& group, const Findings& findings) {
  const Counters& counters = group.counters;
  writer.begin_object();
  writer.field("id", group.id);
  writer.field("text", group.text);
  // As strings: a program that reads JSON's numbers as doubles would change them.
  write_array(writer, "queryids", group.queryids, [&](int64_t id) { writer.string(std::to_string(id)); });
  write_array(writer, "roles", group.roles, [&](const std::string& role) { writer.string(role); });
  writer.field("share", group.share);
  writer.field("calls", counters.calls);
  writer.field("rows", counters.rows);
  writer.field("total_ms", counters.total_ms);
  writer.field("mean_ms", counters.mean_ms());
  writer.field("max_ms", counters.max_ms);
  writer.field("max_is_bound", counters.max_is_bound);
  writer.field("stddev_ms", counters.stddev_ms());
  writer.field("shared_hits", counters.shared_hits);
  writer.field("shared_reads", counters.shared_reads);
  writer.field("cache_hit_ratio", hit_ratio(counters));
  writer.field("temp_blocks", counters.temp_blocks);
  writer.field("wal_bytes", counters.wal_bytes);
  writer.field("nested", group.nested);
  writer.field("from_zero", group.from_zero);
  write_logged(writer, findings.logged.find(group.id));
  if (findings.waits.samples > 0) write_events(writer, "waits", waits_of(group, findings.waits));
  writer.end_object();
}

void write_tables(json::Writer& writer, const std::vector<TableScans>& tables) {
  write_array(writer, "tables", tables, [&](const TableScans& table) {
    writer.begin_object();
    writer.field("schema", table.schema);
    writer.field("table", table.table);
    writer.field("bytes", table.bytes);
    writer.field("live_rows", table.live_rows);
    writer.field("sequential_scans", table.sequential_scans);
    writer.field("sequential_rows", table.sequential_rows);
    writer.field("index_scans", table.index_scans);
    writer.end_object();
  });
}

void write_waits(json::Writer& writer, const WaitSamples& waits) {
  writer.key("waits");
  writer.begin_object();
  writer.field("samples", waits.samples);
  writer.field("hidden", waits.hidden);
  write_events(writer, "sessions", waits.sessions);
  writer.end_object();
}

void print_json(const Findings& findings, const ProfileOptions& options, std::ostream& out) {
  const Profile& profile = findings.profile;
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("database", profile.database);
  writer.field("server_version", profile.server_version);
  if (!profile.extension_version.empty()) writer.field("pg_stat_statements", profile.extension_version);
  writer.field("taken_at", profile.taken_at_ms);
  writer.field("since", profile.since_ms);
  writer.field("evictions", profile.evictions);
  writer.field("cache_hit_ratio", profile.cache_hit_ratio);
  writer.field("cache_since", profile.cache_since_ms);
  writer.field("statement_count", static_cast<int64_t>(profile.groups.size()));
  writer.field("calls", profile.all.calls);
  writer.field("total_ms", profile.all.total_ms);
  const size_t shown = std::min(profile.groups.size(), static_cast<size_t>(options.top));
  write_array(writer, "statements", std::span(profile.groups).first(shown),
              [&](const StatementGroup& group) { write_group(writer, group, findings); });
  if (options.tables) write_tables(writer, findings.tables);
  if (options.samples > 0) write_waits(writer, findings.waits);
  write_array(writer, "notes", profile.notes, [&](const Note& note) {
    writer.begin_object();
    writer.field("what", note.what);
    writer.field("remedy", note.remedy);
    writer.end_object();
  });
  writer.key("log");
  writer.begin_object();
  writer.field("read", findings.logged.read);
  writer.field("note", findings.logged.note);
  writer.end_object();
  if (!findings.snapshot.empty()) writer.field("snapshot", findings.snapshot);
  writer.end_object();
  out << text << "\n";
}

}  // namespace

int run_profile(const ProfileOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const Findings findings = reactor.block_on(find(pool, options, progress));
  if (options.json)
    print_json(findings, options, out);
  else
    print_text(findings, options, out);
  return 0;
}

}  // namespace cairn::tuner
