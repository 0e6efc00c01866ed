#include "triage/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "base/json.h"
#include "base/table.h"
#include "triage/tree.h"

namespace cairn::triage {
namespace {

constexpr size_t kShownSessions = 8;
constexpr size_t kShownText = 90;
constexpr size_t kShownLines = 200;  // of the tree

using Counts = std::vector<std::pair<std::string, int64_t>>;

// Most first.
Counts counted(const State& state, std::string (*key)(const Session&)) {
  std::map<std::string, int64_t> counts;
  for (const Session& session : state.sessions) {
    const std::string name = key(session);
    if (!name.empty()) ++counts[name];
  }
  Counts sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

std::string connection_state(const Session& session) {
  if (session.backend.empty() && session.pid != 0) return "not shown";
  if (session.backend != "client backend") return "";
  return session.state.empty() ? "not shown" : session.state;
}

// What those that are at work wait for. "Client" means that nothing is asked of them; PostgreSQL's own processes sleep
// in "Activity".
std::string wait(const Session& session) {
  if (session.wait_type == "Client" || session.wait_type == "Activity" || session.pid == 0) return "";
  if (!session.wait_type.empty()) return session.wait_type + ": " + session.wait_event;
  return session.state == "active" ? "running" : "";
}

std::string text_of(const Counts& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", on_one_line(name), count);
  return text;
}

int64_t connections(const State& state) {
  return std::count_if(state.sessions.begin(), state.sessions.end(),
                       [](const Session& session) { return session.backend == "client backend"; });
}

// The sessions that have been longest at what `age` tells.
std::vector<const Session*> longest(const State& state, std::optional<double> (*age)(const Session&)) {
  std::vector<const Session*> found;
  for (const Session& session : state.sessions)
    if (age(session)) found.push_back(&session);
  std::stable_sort(found.begin(), found.end(), [&](const auto* a, const auto* b) { return *age(*a) > *age(*b); });
  if (found.size() > kShownSessions) found.resize(kShownSessions);
  return found;
}

bool is_user(const Session& session) { return session.backend == "client backend" || session.pid == 0; }

std::optional<double> transaction_age(const Session& session) {
  return is_user(session) ? session.transaction_s : std::nullopt;
}

std::optional<double> statement_age(const Session& session) {
  return is_user(session) && session.state == "active" ? session.statement_s : std::nullopt;
}

void print_longest(const char* title, const State& state, std::optional<double> (*age)(const Session&),
                   std::ostream& out) {
  const auto sessions = longest(state, age);
  if (sessions.empty()) return;
  std::vector<std::vector<std::string>> table{{title, "for", "role", "application", "state", "waits for", "statement"}};
  for (const Session* session : sessions)
    table.push_back({session->pid == 0 ? "prepared" : std::to_string(session->pid), shown_age(*age(*session)),
                     session->role, session->application, session->state,
                     session->waits_for.empty() ? wait(*session) : session->waits_for,
                     shortened(session->query, kShownText)});
  out << "\n";
  print_table(out, table, kShownText);
}

std::string lag_text(const Replica& replica) {
  std::string text = replica.lag_bytes ? shown_bytes(static_cast<double>(*replica.lag_bytes)) : "?";
  if (replica.lag_s) text += fmt::format(", {:.1f} s", *replica.lag_s);
  return text;
}

void print_replication(const State& state, std::ostream& out) {
  if (!state.replicas.empty()) {
    std::vector<std::vector<std::string>> table{{"replica", "address", "state", "sync", "behind"}};
    for (const Replica& replica : state.replicas)
      table.push_back({replica.name, replica.client, replica.state, replica.sync, lag_text(replica)});
    out << "\n";
    print_table(out, table);
  }
  if (state.slots.empty()) return;
  std::vector<std::vector<std::string>> table{{"slot", "type", "in use", "WAL", "keeps"}};
  for (const Slot& slot : state.slots)
    table.push_back({slot.name, slot.type, slot.active ? "yes" : "no", slot.wal_status,
                     shown_bytes(static_cast<double>(slot.kept_bytes.value_or(0)))});
  out << "\n";
  print_table(out, table);
}

void print_room(const State& state, std::ostream& out) {
  out << fmt::format("\ndisk: database {}", shown_bytes(static_cast<double>(state.room.database_bytes)));
  if (state.room.wal_bytes) out << ", WAL " << shown_bytes(static_cast<double>(*state.room.wal_bytes));
  out << fmt::format(", temporary files {} since the statistics began",
                     shown_bytes(static_cast<double>(state.room.temporary_bytes)));
  if (state.room.free_bytes)
    out << fmt::format(", {} of {} free", shown_bytes(*state.room.free_bytes), shown_bytes(*state.room.disk_bytes));
  out << "\n";
  if (state.cache_hit_ratio) out << fmt::format("cache: {:.1f} % of blocks found\n", 100 * *state.cache_hit_ratio);
}

void write_age(json::Writer& writer, const char* name, const std::optional<double>& age) { writer.field(name, age); }

void write_counts(json::Writer& writer, const char* name, const Counts& counts) {
  writer.key(name);
  writer.begin_object();
  for (const auto& [key, count] : counts) writer.field(key, count);
  writer.end_object();
}

void write_session(json::Writer& writer, const Session& session) {
  writer.begin_object();
  writer.field("pid", session.pid);
  writer.field("role", session.role);
  writer.field("database", session.database);
  writer.field("application", session.application);
  writer.field("client", session.client);
  writer.field("backend_type", session.backend);
  writer.field("state", session.state);
  writer.field("wait_event_type", session.wait_type);
  writer.field("wait_event", session.wait_event);
  writer.field("query", session.query);
  write_age(writer, "transaction_s", session.transaction_s);
  write_age(writer, "statement_s", session.statement_s);
  write_age(writer, "state_s", session.state_s);
  if (!session.waits_for.empty()) writer.field("waits_for", session.waits_for);
  if (!session.blocked_by.empty()) {
    writer.key("blocked_by");
    writer.begin_array();
    for (const int64_t pid : session.blocked_by) writer.integer(pid);
    writer.end_array();
  }
  writer.field("xmin_age", session.xmin_age);
  writer.end_object();
}

void write_tree(json::Writer& writer, const State& state) {
  writer.key("blocking");
  writer.begin_array();
  for (const TreeLine& line : blocking_tree(state.sessions)) {
    writer.begin_object();
    writer.field("pid", line.pid);
    writer.field("depth", line.depth);
    writer.field("holds_back", line.holds_back);
    if (line.in_cycle) writer.field("in_cycle", true);
    writer.end_object();
  }
  writer.end_array();
}

void write_replication(json::Writer& writer, const State& state) {
  writer.key("replicas");
  writer.begin_array();
  for (const Replica& replica : state.replicas) {
    writer.begin_object();
    writer.field("name", replica.name);
    writer.field("client", replica.client);
    writer.field("state", replica.state);
    writer.field("sync_state", replica.sync);
    writer.field("lag_bytes", replica.lag_bytes);
    writer.field("lag_s", replica.lag_s);
    writer.end_object();
  }
  writer.end_array();
  writer.key("replication_slots");
  writer.begin_array();
  for (const Slot& slot : state.slots) {
    writer.begin_object();
    writer.field("name", slot.name);
    writer.field("type", slot.type);
    writer.field("active", slot.active);
    writer.field("wal_status", slot.wal_status);
    writer.field("kept_bytes", slot.kept_bytes);
    writer.end_object();
  }
  writer.end_array();
}

void write_findings(json::Writer& writer, const State& state) {
  writer.key("findings");
  writer.begin_array();
  for (const Finding& finding : find_trouble(state)) {
    writer.begin_object();
    writer.field("severity", finding.critical ? "critical" : "warning");
    writer.field("subject", finding.subject);
    writer.field("what", finding.what);
    writer.field("to_do", finding.to_do);
    writer.end_object();
  }
  writer.end_array();
  writer.key("notes");
  writer.begin_array();
  for (const std::string& note : state.notes) writer.string(note);
  writer.end_array();
}

}  // namespace

void print_finding(const Finding& finding, std::ostream& out) {
  out << (finding.critical ? "!! " : " ! ") << on_one_line(finding.what) << "\n   -> " << on_one_line(finding.to_do)
      << "\n";
}

void print_tree(const State& state, std::ostream& out) {
  const std::vector<TreeLine> lines = blocking_tree(state.sessions);
  if (lines.empty()) return;
  out << "\nwho waits for whom\n";
  for (size_t i = 0; i < lines.size() && i < kShownLines; ++i) {
    const TreeLine& line = lines[i];
    const Session* session = find_session(state, line.pid);
    std::string text = std::string(2 * static_cast<size_t>(line.depth), ' ') + (line.depth > 0 ? "└ " : "");
    if (session == nullptr) {
      out << text << "process " << line.pid << ", ended since\n";
      continue;
    }
    text += shown_session(*session);
    if (!session->waits_for.empty())
      text += fmt::format(" waits{} for {}", session->statement_s ? " " + shown_age(*session->statement_s) : "",
                          on_one_line(session->waits_for));
    else if (!session->state.empty())
      text += fmt::format(", {}{}", session->state, session->state_s ? " for " + shown_age(*session->state_s) : "");
    if (!line.waits_also.empty()) {
      text += line.in_cycle ? "; behind" : "; also behind";
      for (const int64_t pid : line.waits_also) text += " " + std::to_string(pid);
    }
    out << text << (session->pid == 0 ? "" : ": " + shortened(session->query, kShownText)) << "\n";
  }
  if (lines.size() > kShownLines) out << "and " << lines.size() - kShownLines << " more\n";
}

void print_sessions(const State& state, std::ostream& out) {
  out << fmt::format("connections: {} of {}", connections(state), state.connections_max);
  const std::string states = text_of(counted(state, connection_state));
  out << (states.empty() ? "" : ": " + states) << "\n";
  const std::string waits = text_of(counted(state, wait));
  if (!waits.empty()) out << "waits: " << waits << "\n";
  print_longest("transaction", state, transaction_age, out);
  print_longest("statement", state, statement_age, out);
}

void print_state(const State& state, std::ostream& out) {
  out << fmt::format("database {} on PostgreSQL {}, {}, up {}, {:%Y-%m-%d %H:%M:%S} UTC\n", on_one_line(state.database),
                     state.version, state.standby ? "a standby" : "primary", shown_age(state.up_s),
                     fmt::gmtime(static_cast<time_t>(state.taken_at_ms / 1000)));
  if (state.replay_lag_s) out << "its last transaction is " << shown_age(*state.replay_lag_s) << " old\n";
  const std::vector<Finding> findings = find_trouble(state);
  for (const Finding& finding : findings) print_finding(finding, out);
  if (findings.empty()) out << "nothing needs somebody\n";
  print_tree(state, out);
  out << "\n";
  print_sessions(state, out);
  print_replication(state, out);
  print_room(state, out);
  for (const std::string& note : state.notes) out << "note: " << note << "\n";
}

std::string state_json(const State& state) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("taken_at", state.taken_at_ms);
  writer.field("database", state.database);
  writer.field("server_version", state.version);
  writer.field("standby", state.standby);
  writer.field("replay_lag_s", state.replay_lag_s);
  writer.field("up_s", state.up_s);
  write_findings(writer, state);
  write_tree(writer, state);
  writer.field("connections", connections(state));
  writer.field("connections_max", state.connections_max);
  write_counts(writer, "connections_by_state", counted(state, connection_state));
  write_counts(writer, "waits", counted(state, wait));
  writer.key("sessions");
  writer.begin_array();
  for (const Session& session : state.sessions) write_session(writer, session);
  writer.end_array();
  write_replication(writer, state);
  writer.field("database_bytes", state.room.database_bytes);
  writer.field("wal_bytes", state.room.wal_bytes);
  writer.field("temporary_bytes", state.room.temporary_bytes);
  writer.field("disk_free_bytes", state.room.free_bytes);
  writer.field("disk_bytes", state.room.disk_bytes);
  writer.field("cache_hit_ratio", state.cache_hit_ratio);
  writer.field("deadlocks", state.deadlocks);
  writer.field("statistics_s", state.statistics_s);
  writer.field("oldest_transaction_age", state.transaction_age);
  writer.end_object();
  return text;
}

}  // namespace cairn::triage
