#include "triage/findings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "triage/tree.h"

namespace cairn::triage {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

constexpr double kLongStatement_s = 300;
constexpr double kLongTransaction_s = 300;
constexpr double kIdleInTransaction_s = 60;
constexpr double kConnectionsShare = 0.8;
constexpr double kCacheHitsMin = 0.9;
constexpr double kLag_s = 30;
constexpr double kLagBytes = 256 * kMiB;
constexpr double kSlotBytes = 2 * kGiB;
constexpr double kFreeShareMin = 0.1;
constexpr double kFreeBytesMin = 1 * kGiB;
// Transaction numbers run out at two thousand million; at a tenth before that PostgreSQL begins to warn loudly.
constexpr int64_t kAgeCritical = 1'000'000'000;
constexpr size_t kShownText = 80;

class Search {
 public:
  explicit Search(const State& state) : state_(state) {}

  std::vector<Finding> all() {
    blocking();
    transactions();
    statements();
    connections();
    database();
    replication();
    room();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Finding& a, const Finding& b) { return a.critical && !b.critical; });
    return std::move(found_);
  }

 private:
  void add(bool critical, std::string subject, std::string what, std::string to_do) {
    found_.push_back({critical, std::move(subject), std::move(what), std::move(to_do)});
  }

  void blocking() {
    for (const TreeLine& line : blocking_tree(state_.sessions)) {
      if (line.depth > 0) continue;
      const std::string holds = fmt::format("{} session{}", line.holds_back, line.holds_back == 1 ? "" : "s");
      if (line.in_cycle) {
        add(true, "blocking", fmt::format("process {} and others wait for each other", line.pid),
            "PostgreSQL ends one of them after deadlock_timeout");
        continue;
      }
      const Session* session = find_session(state_, line.pid);
      if (session == nullptr) {
        add(true, "blocking", fmt::format("process {} holds back {}", line.pid, holds),
            "it has ended since: look again");
      } else if (session->pid == 0) {
        add(true, "blocking", fmt::format("a prepared transaction holds back {}", holds),
            "COMMIT PREPARED or ROLLBACK PREPARED one of pg_prepared_xacts");
      } else {
        const bool idle = session->state.starts_with("idle in transaction");
        add(true, "blocking",
            fmt::format("{} holds back {}; {}{}", shown_session(*session), holds,
                        session->state.empty() ? "what it does is not shown" : session->state,
                        session->state_s ? " for " + shown_age(*session->state_s) : ""),
            fmt::format("cairn triage {} {}", idle ? "terminate" : "cancel", session->pid));
      }
    }
  }

  void transactions() {
    for (const Session& session : state_.sessions) {
      const double age = session.transaction_s.value_or(0);
      const bool idle = session.state.starts_with("idle in transaction");
      const bool prepared = session.pid == 0;
      if (session.backend != "client backend" && !prepared) continue;
      if (age < (idle ? kIdleInTransaction_s : kLongTransaction_s)) continue;
      if (!idle && !prepared && session.state == "active" && session.statement_s.value_or(0) >= kLongStatement_s)
        continue;  // it is among the statements
      add(false, "transaction",
          fmt::format("{} has a transaction open for {}{}{}", shown_session(session), shown_age(age),
                      idle ? ", and does nothing in it" : "",
                      session.xmin_age > 0
                          ? fmt::format("; no VACUUM removes what died in its {} transactions", session.xmin_age)
                          : ""),
          prepared ? "COMMIT PREPARED or ROLLBACK PREPARED it"
                   : fmt::format("cairn triage terminate {}{}", session.pid,
                                 idle ? "; set idle_in_transaction_session_timeout against the next one" : ""));
    }
  }

  void statements() {
    for (const Session& session : state_.sessions) {
      if (session.backend != "client backend" || session.state != "active" || !session.blocked_by.empty()) continue;
      if (session.statement_s.value_or(0) < kLongStatement_s) continue;
      add(false, "statement",
          fmt::format("{} has been running one statement for {}: {}", shown_session(session),
                      shown_age(*session.statement_s), shortened(session.query, kShownText)),
          fmt::format("cairn triage cancel {}; `cairn tune explain` says why it takes so long", session.pid));
    }
  }

  void connections() {
    const auto used = std::count_if(state_.sessions.begin(), state_.sessions.end(),
                                    [](const Session& session) { return session.backend == "client backend"; });
    if (static_cast<double>(used) <= kConnectionsShare * static_cast<double>(state_.connections_max)) return;
    add(used >= state_.connections_max, "connections",
        fmt::format("{} of {} connections are in use", used, state_.connections_max),
        "look for a client that opens too many (above); put PgBouncer before PostgreSQL");
  }

  void database() {
    if (state_.cache_hit_ratio && *state_.cache_hit_ratio < kCacheHitsMin)
      add(false, "cache", fmt::format("only {:.1f} % of blocks were found in the cache", 100 * *state_.cache_hit_ratio),
          "`cairn tune profile --order cache` names the statements; `cairn tune advise` says whether shared_buffers is "
          "too small");
    if (state_.deadlocks > 0)
      add(false, "deadlocks",
          fmt::format("{} deadlock{} in {}", state_.deadlocks, state_.deadlocks == 1 ? "" : "s",
                      shown_age(state_.statistics_s)),
          "the server's log names the statements: let transactions take their locks in one order, and try again");
    if (state_.transaction_age > state_.freeze_max_age)
      add(state_.transaction_age > kAgeCritical, "wraparound",
          fmt::format("database {} has transactions that are {} old, and autovacuum_freeze_max_age is {}",
                      state_.oldest_database, state_.transaction_age, state_.freeze_max_age),
          "`cairn maintain run --only freeze`, and end what holds the oldest transaction open");
  }

  void replication() {
    for (const Replica& replica : state_.replicas) {
      if (replica.lag_s.value_or(0) < kLag_s && static_cast<double>(replica.lag_bytes.value_or(0)) < kLagBytes)
        continue;
      add(false, "replication",
          fmt::format(
              "replica {} is {} behind", on_one_line(replica.name),
              replica.lag_bytes ? shown_bytes(static_cast<double>(*replica.lag_bytes)) : shown_age(*replica.lag_s)),
          "look at its load, its disk and the network; hot_standby_feedback and long queries there hold it back");
    }
    for (const Slot& slot : state_.slots) {
      const double kept = static_cast<double>(slot.kept_bytes.value_or(0));
      if (slot.wal_status == "lost")
        add(true, "replication", "slot " + slot.name + " has lost the WAL that it needs",
            "make its replica anew; SELECT pg_drop_replication_slot('" + slot.name + "')");
      else if (!slot.active && kept >= kSlotBytes)
        add(true, "replication",
            fmt::format("slot {} is used by nobody and keeps {} of WAL", slot.name, shown_bytes(kept)),
            "start its replica, or SELECT pg_drop_replication_slot('" + slot.name + "'): else the disk fills up");
    }
  }

  void room() {
    if (!state_.room.free_bytes || !state_.room.disk_bytes) return;
    const double free = *state_.room.free_bytes;
    const bool little = free < kFreeBytesMin;
    if (!little && free >= kFreeShareMin * *state_.room.disk_bytes) return;
    add(little, "disk",
        fmt::format("{} of {} are free on the database's disk", shown_bytes(free),
                    shown_bytes(*state_.room.disk_bytes)),
        "make room: `cairn maintain plan` names what can be won; PostgreSQL stops when its log finds no room");
  }

  const State& state_;
  std::vector<Finding> found_;
};

}  // namespace

std::string shown_age(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return seconds < 172800 ? fmt::format("{:.1f} h", seconds / 3600) : fmt::format("{:.0f} d", seconds / 86400);
}

std::string shown_bytes(double bytes) {
  if (bytes < kMiB) return fmt::format("{:.0f} kB", bytes / 1024);
  return bytes < kGiB ? fmt::format("{:.1f} MB", bytes / kMiB) : fmt::format("{:.1f} GB", bytes / kGiB);
}

std::string shortened(const std::string& text, size_t most) {
  std::string line = on_one_line(text);
  if (line.size() <= most) return line;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
  return line.substr(0, end) + "…";
}

std::string shown_session(const Session& session) {
  if (session.pid == 0) return "a prepared transaction (" + shortened(session.query, kShownText) + ")";
  std::string who = session.role.empty() ? session.backend : "role " + session.role;
  if (!session.application.empty()) who += ", " + session.application;
  return fmt::format("process {} ({})", session.pid, on_one_line(who));
}

const Session* find_session(const State& state, int64_t pid) {
  const auto found = std::find_if(state.sessions.begin(), state.sessions.end(),
                                  [&](const Session& session) { return session.pid == pid; });
  return found == state.sessions.end() ? nullptr : &*found;
}

std::vector<Finding> find_trouble(const State& state) { return Search(state).all(); }

}  // namespace cairn::triage
