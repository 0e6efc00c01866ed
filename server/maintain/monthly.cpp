#include "maintain/monthly.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "maintain/report.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using triage::shown_age;
using triage::shown_bytes;

constexpr double kSlowMean_ms = 100;
constexpr int64_t kSlowCallsMin = 2;
constexpr size_t kSlowMost = 50;
constexpr size_t kShownSlow = 10;
constexpr size_t kShownText = 90;
constexpr double kCacheHitsMin = 0.9;
constexpr double kConnectionsShare = 0.8;
constexpr int64_t kVerifiedWithin_s = 40 * 86400;  // a month, and some days in which it failed or the server was down

const char* state_name(CheckState state) {
  switch (state) {
    case CheckState::kGood:
      return "good";
    case CheckState::kDone:
      return "done";
    case CheckState::kAttention:
      return "attention";
    case CheckState::kByHand:
      return "by hand";
  }
  return "";
}

Check check_maintenance(const Monthly& month, bool done) {
  Check check{.name = "maintenance"};
  if (!done) {
    const auto usual = std::count_if(month.plan.actions.begin(), month.plan.actions.end(),
                                     [](const Action& action) { return is_usual(action.kind); });
    check.what.push_back(fmt::format("{} statements would be run", usual));
    for (const Action& action : month.plan.actions)
      if (is_usual(action.kind)) check.what.push_back(action.statement + ": " + action.reason);
    check.state = usual > 0 ? CheckState::kAttention : CheckState::kGood;
    if (usual > 0) check.to_do.emplace_back("cairn maintain run");
    return check;
  }
  check.what.push_back(summary_of(month.outcomes));
  check.state = month.outcomes.empty() ? CheckState::kGood : CheckState::kDone;
  for (const Outcome& outcome : month.outcomes) {
    if (outcome.state == "done") continue;
    check.state = CheckState::kAttention;
    check.what.push_back(outcome.state + ": " + outcome.action.statement +
                         (outcome.error.empty() ? "" : ": " + outcome.error));
  }
  if (check.state == CheckState::kAttention) check.to_do.emplace_back("cairn maintain run");
  for (const std::string& note : month.plan.notes) check.what.push_back(note);
  return check;
}

Check check_indexes(const Monthly& month) {
  Check check{.name = "unused indexes"};
  std::set<std::string> kinds;
  for (const Action& action : month.plan.actions) {
    if (action.kind != Kind::kDropDuplicate && action.kind != Kind::kDropCovered && action.kind != Kind::kDropUnused)
      continue;
    check.what.push_back(
        fmt::format("{} ({}): {}", action.object, shown_bytes(static_cast<double>(action.bytes)), action.reason));
    if (kinds.insert(std::string(kind_name(action.kind))).second)
      check.to_do.push_back(fmt::format("cairn maintain run --only {}", kind_name(action.kind)));
  }
  check.state = check.what.empty() ? CheckState::kGood : CheckState::kAttention;
  if (check.what.empty()) check.what.emplace_back("each index is used, and none is there twice");
  return check;
}

Check check_bloat(const Monthly& month, bool done) {
  Check check{.name = "bloat"};
  for (const Outcome& outcome : month.outcomes)
    if (outcome.action.kind == Kind::kReindex && outcome.state == "done" && outcome.bytes_after)
      check.what.push_back(fmt::format("{} rebuilt: {} before, {} after", outcome.action.object,
                                       shown_bytes(static_cast<double>(outcome.action.bytes)),
                                       shown_bytes(static_cast<double>(*outcome.bytes_after))));
  check.state = check.what.empty() ? CheckState::kGood : CheckState::kDone;
  for (const Action& action : month.plan.actions) {
    const bool full = action.kind == Kind::kVacuumFull;
    if (!full && (done || action.kind != Kind::kReindex)) continue;
    check.state = CheckState::kAttention;
    check.what.push_back(action.object + ": " + action.reason);
    check.to_do.push_back(action.statement + (full ? "    in a window" : ""));
  }
  if (check.what.empty())
    check.what.push_back(fmt::format("none that is worth a rebuild ({} measured, {} estimated)", month.plan.measured,
                                     month.plan.estimated));
  return check;
}

Check check_statements(const Monthly& month) {
  Check check{.name = "slow statements"};
  std::set<int64_t> known;
  if (month.before)
    for (const SlowStatement& statement : month.before->slow) known.insert(statement.queryid);
  size_t fresh = 0;
  for (const SlowStatement& statement : month.now.slow) {
    if (known.contains(statement.queryid) || ++fresh > kShownSlow) continue;
    check.what.push_back(fmt::format("{:.0f} ms on average, {} calls: {}", statement.mean_ms, statement.calls,
                                     triage::shortened(statement.text, kShownText)));
  }
  const size_t old = month.now.slow.size() - fresh;
  if (fresh > kShownSlow) check.what.push_back(fmt::format("and {} more", fresh - kShownSlow));
  if (old > 0) check.what.push_back(fmt::format("{} that were slow before", old));
  if (month.now.calls == 0) check.what.emplace_back("not known: `cairn tune setup` says what is missing");
  check.state = fresh > 0 || month.now.calls == 0 ? CheckState::kAttention : CheckState::kGood;
  if (fresh > 0) check.to_do.emplace_back("cairn runbook slow-query");
  if (check.what.empty()) check.what.push_back(fmt::format("none takes {:.0f} ms on average", kSlowMean_ms));
  return check;
}

std::string change(double before, double now) {
  return before <= 0 ? "" : fmt::format(" ({:+.0f} % since the last report)", 100 * (now - before) / before);
}

Check check_baseline(const Monthly& month) {
  const Baseline &now = month.now, &before = month.before ? *month.before : Baseline();
  Check check{.name = "baseline", .state = CheckState::kDone};
  check.what.push_back("database " + shown_bytes(static_cast<double>(now.database_bytes)) +
                       change(static_cast<double>(before.database_bytes), static_cast<double>(now.database_bytes)));
  if (now.cache_hit_ratio) {
    std::string text = fmt::format("cache hits {:.1f} %", 100 * *now.cache_hit_ratio);
    if (before.cache_hit_ratio) text += fmt::format(" ({:.1f} % then)", 100 * *before.cache_hit_ratio);
    check.what.push_back(text);
  }
  if (now.calls > 0) {
    const double mean = now.total_ms / static_cast<double>(now.calls);
    check.what.push_back(fmt::format("{} calls, {:.2f} ms on average", now.calls, mean) +
                         (before.calls > 0 ? change(before.total_ms / static_cast<double>(before.calls), mean) : ""));
  }
  check.what.emplace_back(month.before ? "compared with " + shown_time(before.taken_at_ms / 1000) + " UTC"
                                       : "the first report: the next one is compared with it");
  return check;
}

Check check_thresholds(const Monthly& month) {
  const Baseline& now = month.now;
  Check check{.name = "alert thresholds"};
  const double used =
      static_cast<double>(now.connections) / static_cast<double>(std::max<int64_t>(1, now.connections_max));
  check.what.push_back(fmt::format("connections: {:.0f} % of {}; the alert is at {:.0f} %", 100 * used,
                                   now.connections_max, 100 * kConnectionsShare));
  if (now.cache_hit_ratio)
    check.what.push_back(fmt::format("cache hits: {:.1f} %; the alert is below {:.0f} %", 100 * *now.cache_hit_ratio,
                                     100 * kCacheHitsMin));
  const int64_t deadlocks = now.deadlocks - (month.before ? month.before->deadlocks : 0);
  if (deadlocks >= 0)
    check.what.push_back(fmt::format("deadlocks: {} {}; the alert is at the first", deadlocks,
                                     month.before ? "since the last report" : "since the statistics began"));
  if (used > kConnectionsShare || now.cache_hit_ratio.value_or(1) < kCacheHitsMin || deadlocks > 0) {
    check.state = CheckState::kAttention;
    check.to_do.emplace_back("cairn triage");
  }
  return check;
}

// Known only by restoring it: the job backup-verify does, where the server knows of a backup.
Check check_backup(const Monthly& month) {
  if (!month.verified)
    return {.name = "backup",
            .state = CheckState::kByHand,
            .what = {"that a backup can be restored is known only by restoring it"},
            .to_do = {"cairn backup verify"}};
  Check check{.name = "backup"};
  const Ending& last = *month.verified;
  check.what.push_back(
      fmt::format("verified {} UTC: {}: {}", shown_time(last.started_s), last.good ? "done" : "failed", last.summary));
  const int64_t age_s = month.now.taken_at_ms / 1000 - last.started_s;
  if (age_s > kVerifiedWithin_s)
    check.what.push_back(fmt::format("that is {} ago", shown_age(static_cast<double>(age_s))));
  if (!last.good || age_s > kVerifiedWithin_s) {
    check.state = CheckState::kAttention;
    check.to_do.emplace_back("cairn backup verify");
  }
  return check;
}

void write_baseline(json::Writer& writer, const Baseline& baseline) {
  writer.begin_object();
  writer.field("taken_at", baseline.taken_at_ms);
  writer.field("database_bytes", baseline.database_bytes);
  writer.field("cache_hit_ratio", baseline.cache_hit_ratio);
  writer.field("deadlocks", baseline.deadlocks);
  writer.field("connections", baseline.connections);
  writer.field("connections_max", baseline.connections_max);
  writer.field("calls", baseline.calls);
  writer.field("total_ms", baseline.total_ms);
  writer.key("slow_statements");
  writer.begin_array();
  for (const SlowStatement& statement : baseline.slow) {
    writer.begin_object();
    writer.field("queryid", std::to_string(statement.queryid));  // more digits than a double has
    writer.field("mean_ms", statement.mean_ms);
    writer.field("calls", statement.calls);
    writer.field("text", statement.text);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
}

}  // namespace

task<Baseline> read_baseline(db::Pool& pool, std::vector<std::string>& notes) {
  Baseline baseline;
  {
    db::Lease lease = co_await pool.acquire();
    const triage::State state = co_await triage::read_state(*lease);
    baseline.taken_at_ms = state.taken_at_ms;
    baseline.database_bytes = state.room.database_bytes;
    baseline.cache_hit_ratio = state.cache_hit_ratio;
    baseline.deadlocks = state.deadlocks;
    baseline.connections_max = state.connections_max;
    baseline.connections =
        std::count_if(state.sessions.begin(), state.sessions.end(),
                      [](const triage::Session& session) { return session.backend == "client backend"; });
  }
  const tuner::Reading reading = co_await tuner::read_statements(pool);
  for (const tuner::Note& note : reading.notes)
    notes.push_back(note.what + (note.remedy.empty() ? "" : ": " + note.remedy));
  for (const tuner::StatementRow& row : reading.statements) {
    if (!row.top_level) continue;
    baseline.calls += row.counters.calls;
    baseline.total_ms += row.counters.total_ms;
    if (row.hidden || row.counters.mean_ms() < kSlowMean_ms || row.counters.calls < kSlowCallsMin) continue;
    baseline.slow.push_back({row.queryid, row.counters.mean_ms(), row.counters.calls, row.text});
  }
  std::stable_sort(baseline.slow.begin(), baseline.slow.end(),
                   [](const SlowStatement& a, const SlowStatement& b) { return a.mean_ms > b.mean_ms; });
  if (baseline.slow.size() > kSlowMost) baseline.slow.resize(kSlowMost);
  co_return baseline;
}

std::optional<Baseline> baseline_of(const std::string& report) {
  const json::Document document(report);
  const auto fields = json::root_fields(document).object("baseline");
  if (!fields) return std::nullopt;
  Baseline baseline{.taken_at_ms = fields->required_integer("taken_at"),
                    .database_bytes = fields->required_integer("database_bytes"),
                    .cache_hit_ratio = fields->number("cache_hit_ratio"),
                    .deadlocks = fields->required_integer("deadlocks"),
                    .connections = fields->required_integer("connections"),
                    .connections_max = fields->required_integer("connections_max"),
                    .calls = fields->required_integer("calls"),
                    .total_ms = fields->required_number("total_ms")};
  for (const json::Fields& statement : fields->objects("slow_statements"))
    baseline.slow.push_back({statement.required_integer("queryid"), statement.required_number("mean_ms"),
                             statement.required_integer("calls"), statement.required_string("text")});
  return baseline;
}

std::vector<Check> check_month(const Monthly& month, bool done) {
  return {check_maintenance(month, done), check_indexes(month), check_bloat(month, done), check_statements(month),
          check_baseline(month),          check_backup(month),  check_thresholds(month)};
}

void print_monthly(const Monthly& month, std::ostream& out) {
  out << fmt::format("monthly maintenance of database {}, {} UTC\n", on_one_line(month.plan.database),
                     shown_time(month.now.taken_at_ms / 1000));
  for (const Check& check : month.checks) {
    out << fmt::format("\n[{}] {}\n", state_name(check.state), check.name);
    for (const std::string& what : check.what) out << "    " << on_one_line(what) << "\n";
    for (const std::string& to_do : check.to_do) out << "    -> " << on_one_line(to_do) << "\n";
  }
}

std::string monthly_json(const Monthly& month) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("database", month.plan.database);
  writer.key("checks");
  writer.begin_array();
  for (const Check& check : month.checks) {
    writer.begin_object();
    writer.field("name", check.name);
    writer.field("state", state_name(check.state));
    writer.key("what");
    writer.begin_array();
    for (const std::string& what : check.what) writer.string(what);
    writer.end_array();
    writer.key("to_do");
    writer.begin_array();
    for (const std::string& to_do : check.to_do) writer.string(to_do);
    writer.end_array();
    writer.end_object();
  }
  writer.end_array();
  writer.key("outcomes");
  write_outcomes(writer, month.outcomes);
  writer.key("baseline");
  write_baseline(writer, month.now);
  writer.end_object();
  return text;
}

std::string monthly_summary(const Monthly& month) {
  const auto attention = std::count_if(month.checks.begin(), month.checks.end(),
                                       [](const Check& check) { return check.state == CheckState::kAttention; });
  return summary_of(month.outcomes) +
         (attention > 0 ? fmt::format("; {} of {} checks need attention", attention, month.checks.size()) : "");
}

}  // namespace cairn::maintain
