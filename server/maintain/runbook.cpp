#include "maintain/runbook.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"
#include "base/table.h"
#include "maintain/jobs.h"
#include "maintain/plan.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using db::Rows;
using triage::shortened;
using triage::shown_age;
using triage::shown_bytes;
using Steps = std::vector<RunbookStep>;

constexpr double kSlowMean_ms = 100;
constexpr size_t kShown = 10;
constexpr size_t kShownText = 100;
constexpr double kMeasure_s = 30;
constexpr double kDeadPercent = 20;

// -- slow-query --------------------------------------------------------------------------------------------------

task<RunbookStep> find_slow(db::Pool& pool, const std::string& queryid, std::string& statement) {
  RunbookStep step{.title = "Which statements are slow"};
  const tuner::Reading reading = co_await tuner::read_statements(pool);
  for (const tuner::Note& note : reading.notes)
    step.found.push_back(note.what + (note.remedy.empty() ? "" : ": " + note.remedy));
  std::vector<tuner::StatementRow> slow;
  for (const tuner::StatementRow& row : reading.statements) {
    const bool asked = !queryid.empty() && std::to_string(row.queryid) == queryid;
    if (!row.hidden && (queryid.empty() ? row.counters.mean_ms() >= kSlowMean_ms : asked)) slow.push_back(row);
  }
  if (slow.empty() && !queryid.empty())
    throw not_found("pg_stat_statements has no statement " + queryid + " in this database");
  std::stable_sort(slow.begin(), slow.end(),
                   [](const auto& a, const auto& b) { return a.counters.mean_ms() > b.counters.mean_ms(); });
  for (size_t i = 0; i < slow.size() && i < kShown; ++i)
    step.found.push_back(fmt::format("{}: {:.1f} ms on average, {:.1f} ms at most, {} calls: {}", slow[i].queryid,
                                     slow[i].counters.mean_ms(), slow[i].counters.max_ms, slow[i].counters.calls,
                                     shortened(slow[i].text, kShownText)));
  if (slow.empty()) {
    step.found.push_back(fmt::format("no statement takes {:.0f} ms on average", kSlowMean_ms));
    co_return step;
  }
  statement = slow.front().text;
  if (slow.size() > 1) step.next.emplace_back("cairn runbook slow-query --queryid N    for another one than the first");
  step.next.emplace_back("cairn tune profile --order mean --save    so that it can be compared afterwards");
  co_return step;
}

task<RunbookStep> look_at_plan(db::Pool& pool, std::string statement, std::vector<std::string>& tables) {
  RunbookStep step{.title = "What its plan does"};
  std::string failure;
  try {
    db::Lease lease = co_await pool.acquire();
    tuner::ExplainOptions options{.statement = statement};
    const tuner::Explained explained = co_await tuner::explain(*lease, options);
    for (const auto& [name, facts] : explained.facts.tables)
      tables.push_back(db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name));
    for (const tuner::Finding& finding : explained.findings) {
      step.found.push_back(finding.what + ": " + finding.why);
      if (!finding.mend.text.empty()) step.next.push_back(finding.mend.text);
      step.next.insert(step.next.end(), finding.mend.statements.begin(), finding.mend.statements.end());
    }
    if (explained.generic)
      step.found.emplace_back(
          "planned without values for its parameters: `cairn tune explain --analyze` with some tells more");
  } catch (const Error& error) {
    failure = error.what();
  }
  if (!failure.empty()) step.found.push_back("it cannot be planned here: " + failure);
  if (step.found.empty()) step.found.emplace_back("nothing that is known to be slow");
  step.next.emplace_back(
      "cairn tune explain STATEMENT --analyze    runs it, if it only reads, and shows where the time goes");
  co_return step;
}

task<RunbookStep> check_statistics(db::Pool& pool, std::vector<std::string> tables) {
  RunbookStep step{.title = "Whether its tables' statistics are fresh"};
  if (tables.empty()) {
    step.found.emplace_back("which tables it reads is not known");
    co_return step;
  }
  PlanOptions options{.kinds = {Kind::kAnalyze, Kind::kVacuum}, .tables = std::move(tables), .measure_s = 0};
  const Plan made = co_await plan(pool, options);
  for (const Action& action : made.actions) {
    step.found.push_back(action.object + ": " + action.reason);
    step.next.push_back("cairn maintain run --only vacuum,analyze --table " + action.object);
  }
  if (made.actions.empty()) step.found.emplace_back("they are");
  co_return step;
}

task<Steps> slow_query(db::Pool& pool, const RunbookOptions& options) {
  Steps steps;
  std::string statement;
  std::vector<std::string> tables;
  RunbookStep first = co_await find_slow(pool, options.queryid, statement);
  steps.push_back(std::move(first));
  if (statement.empty()) co_return steps;
  RunbookStep second = co_await look_at_plan(pool, statement, tables);
  steps.push_back(std::move(second));
  RunbookStep third = co_await check_statistics(pool, tables);
  steps.push_back(std::move(third));
  steps.push_back(
      {.title = "Mend it",
       .next = {
           "cairn tune advise; cairn tune prove last; cairn tune apply last    for indexes: measured on a copy first",
           "cairn tune advise also proposes another text of the statement, where there is a better one"}});
  steps.push_back(
      {.title = "See that it helped",
       .next = {"cairn tune verify; cairn tune profile --since last", "cairn tune undo --last    takes it back"}});
  co_return steps;
}

// -- bloat -------------------------------------------------------------------------------------------------------

RunbookStep actions_step(const char* title, const Plan& plan, std::initializer_list<Kind> kinds, const char* none) {
  RunbookStep step{.title = title};
  for (const Action& action : plan.actions) {
    if (std::find(kinds.begin(), kinds.end(), action.kind) == kinds.end()) continue;
    step.found.push_back(action.object + ": " + action.reason);
    step.next.push_back(
        action.kind == Kind::kVacuumFull
            ? action.statement + "    in a window"
            : fmt::format("cairn maintain run --only {} --table {}", kind_name(action.kind),
                          db::quote_identifier(action.table.schema) + "." + db::quote_identifier(action.table.name)));
  }
  if (step.found.empty()) step.found.emplace_back(none);
  return step;
}

RunbookStep largest_tables(const Facts& facts) {
  RunbookStep step{.title = "Where dead rows and free room are"};
  std::vector<TableState> tables = facts.tables;
  std::stable_sort(tables.begin(), tables.end(),
                   [](const TableState& a, const TableState& b) { return a.dead > b.dead; });
  for (size_t i = 0; i < tables.size() && i < kShown; ++i) {
    const TableState& table = tables[i];
    if (table.dead == 0 && table.free_percent.value_or(0) < kDeadPercent) continue;
    step.found.push_back(fmt::format("{}.{}: {}, {:.0f} dead rows ({:.1f} %){}", table.name.schema, table.name.name,
                                     shown_bytes(static_cast<double>(table.bytes)), table.dead,
                                     100 * table.dead / std::max(1.0, table.live + table.dead),
                                     table.free_percent ? fmt::format(", {:.0f} % free", *table.free_percent) : ""));
  }
  if (step.found.empty()) step.found.emplace_back("no table has any");
  return step;
}

RunbookStep autovacuum_step(const Facts& facts, const Plan& plan) {
  RunbookStep step{.title = "Keep it from coming back"};
  for (const TableState& table : facts.tables) {
    const bool bloated = std::any_of(plan.actions.begin(), plan.actions.end(), [&](const Action& action) {
      return action.oid == table.oid && (action.kind == Kind::kVacuum || action.kind == Kind::kVacuumFull);
    });
    if (!bloated || table.options.contains("autovacuum_vacuum_scale_factor")) continue;
    const std::string name = db::quote_identifier(table.name.schema) + "." + db::quote_identifier(table.name.name);
    step.found.push_back(name + " is vacuumed as any other table: when a fifth of it has changed");
    step.next.push_back("ALTER TABLE " + name +
                        " SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000)");
  }
  if (step.found.empty()) step.found.emplace_back("autovacuum's settings fit");
  return step;
}

task<Steps> bloat(db::Pool& pool, const RunbookOptions&) {
  PlanOptions options{.measure_s = kMeasure_s};
  const Facts facts = co_await read_facts(pool, options);
  const Plan made = make_plan(facts, options);
  RunbookStep held{.title = "What keeps VACUUM from removing rows", .found = made.notes};
  if (held.found.empty()) held.found.emplace_back("nothing");
  Steps steps{largest_tables(facts),
              held,
              actions_step("VACUUM where a fifth is dead", made, {Kind::kFreeze, Kind::kVacuum}, "no table needs it"),
              actions_step("Rebuild bloated indexes", made, {Kind::kReindex, Kind::kDropInvalid}, "no index needs it"),
              actions_step("Where VACUUM is not enough", made, {Kind::kVacuumFull}, "nowhere"),
              autovacuum_step(facts, made)};
  co_return steps;
}

// -- emergency ---------------------------------------------------------------------------------------------------

RunbookStep findings_step(const char* title, const triage::State& state, std::initializer_list<const char*> subjects,
                          const char* none) {
  RunbookStep step{.title = title};
  for (const triage::Finding& finding : triage::find_trouble(state)) {
    if (std::find(subjects.begin(), subjects.end(), finding.subject) == subjects.end()) continue;
    step.found.push_back(finding.what);
    step.next.push_back(finding.to_do);
  }
  if (step.found.empty()) step.found.emplace_back(none);
  return step;
}

RunbookStep who_works(const triage::State& state) {
  RunbookStep step{.title = "What is going on"};
  std::vector<triage::Session> active;
  for (const triage::Session& session : state.sessions)
    if (session.backend == "client backend" && session.state != "idle") active.push_back(session);
  std::stable_sort(active.begin(), active.end(),
                   [](const auto& a, const auto& b) { return a.statement_s.value_or(0) > b.statement_s.value_or(0); });
  for (size_t i = 0; i < active.size() && i < kShown; ++i)
    step.found.push_back(fmt::format(
        "{}: {}{}{}: {}", triage::shown_session(active[i]), active[i].state,
        active[i].statement_s ? " for " + shown_age(*active[i].statement_s) : "",
        active[i].wait_type.empty() ? "" : ", waits for " + active[i].wait_type + " " + active[i].wait_event,
        shortened(active[i].query, kShownText)));
  if (active.size() > kShown) step.found.push_back(fmt::format("and {} more", active.size() - kShown));
  if (active.empty()) step.found.emplace_back("no session is at work");
  step.next.emplace_back("cairn triage --watch");
  return step;
}

constexpr db::Statement kLogging{"runbook_logging",
                                 "/* cairn tune */ SELECT current_setting('log_min_duration_statement')"};

task<Steps> emergency(db::Pool& pool, const RunbookOptions&) {
  db::Lease lease = co_await pool.acquire();
  const triage::State state = co_await triage::read_state(*lease);
  const Rows logging = co_await lease->query(kLogging);
  RunbookStep log{.title = "Log slow statements for a while",
                  .found = {"log_min_duration_statement is " + logging.text(0, 0)},
                  .next = {"ALTER SYSTEM SET log_min_duration_statement = '500ms'; SELECT pg_reload_conf()",
                           "afterwards: ALTER SYSTEM RESET log_min_duration_statement; SELECT pg_reload_conf()"}};
  RunbookStep keep{.title = "If it is not over in 15 minutes: call somebody, and keep what you saw",
                   .next = {"cairn triage --json > triage.json; cairn tune profile --save",
                            "afterwards: cairn runbook slow-query; cairn runbook bloat"}};
  Steps steps{who_works(state),
              findings_step("Statements that run too long", state, {"statement"}, "none runs for five minutes"),
              findings_step("Who holds others back", state, {"blocking", "transaction"}, "nobody waits for a lock"),
              findings_step("Room, connections and replicas", state,
                            {"disk", "connections", "replication", "wraparound"}, "there is room, and nothing lags"),
              log,
              keep};
  co_return steps;
}

// -- monthly -----------------------------------------------------------------------------------------------------

task<Steps> monthly(db::Pool& pool, const RunbookOptions&) {
  History history(pool);
  std::optional<std::string> before;
  const bool there = co_await history.exists();
  if (there) before = co_await history.last_report("monthly");
  const Monthly month = co_await do_month(pool, nullptr, nullptr, before, kMeasure_s);
  Steps steps;
  for (const Check& check : month.checks)
    steps.push_back({.title = check.name, .found = check.what, .next = check.to_do});
  steps.push_back(
      {.title = "Do it", .next = {"cairn maintain monthly    does what can be done, and keeps the report"}});
  co_return steps;
}

using Procedure = task<Steps> (*)(db::Pool&, const RunbookOptions&);
constexpr std::pair<const char*, Procedure> kProcedures[] = {
    {"slow-query", slow_query}, {"bloat", bloat}, {"emergency", emergency}, {"monthly", monthly}};

void print_steps(const std::string& name, const Steps& steps, std::ostream& out) {
  out << "runbook " << name << "\n";
  for (size_t i = 0; i < steps.size(); ++i) {
    out << fmt::format("\n{}. {}\n", i + 1, steps[i].title);
    for (const std::string& found : steps[i].found) out << "   " << on_one_line(found) << "\n";
    for (const std::string& next : steps[i].next) out << "   -> " << on_one_line(next) << "\n";
  }
}

void print_steps_json(const std::string& name, const Steps& steps, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  const auto list = [&](const char* key, const std::vector<std::string>& lines) {
    writer.key(key);
    writer.begin_array();
    for (const std::string& line : lines) writer.string(line);
    writer.end_array();
  };
  writer.begin_object();
  writer.field("runbook", name);
  writer.key("steps");
  writer.begin_array();
  for (const RunbookStep& step : steps) {
    writer.begin_object();
    writer.field("title", step.title);
    list("found", step.found);
    list("next", step.next);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

const std::vector<Runbook>& runbooks() {
  static const std::vector<Runbook> all{{"slow-query", "an alert says that statements take over 500 ms"},
                                        {"bloat", "a table has doubled in size, and its rows have not"},
                                        {"emergency", "the CPU is at 90 %, statements time out"},
                                        {"monthly", "on the first Sunday of each month"}};
  return all;
}

int run_runbook(const RunbookOptions& options, std::ostream& out) {
  if (options.name.empty()) {
    std::vector<std::vector<std::string>> table{{"runbook", "when"}};
    for (const Runbook& runbook : runbooks()) table.push_back({runbook.name, runbook.when});
    print_table(out, table, 100);
    return 0;
  }
  const auto* found = std::find_if(std::begin(kProcedures), std::end(kProcedures),
                                   [&](const auto& one) { return one.first == options.name; });
  if (found == std::end(kProcedures))
    throw not_found("there is no runbook '" + options.name + "': there are slow-query, bloat, emergency and monthly");
  if (!options.queryid.empty() && options.name != "slow-query") throw invalid("--queryid is for slow-query");
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const Steps steps = reactor.block_on(found->second(pool, options));
  (options.json ? print_steps_json : print_steps)(options.name, steps, out);
  return 0;
}

}  // namespace cairn::maintain
