#include "maintain/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ostream>

#include "base/table.h"
#include "maintain/schedule.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using triage::shown_bytes;

constexpr size_t kShownText = 110;

std::string when_of(const Action& action) {
  if (is_usual(action.kind)) return "";
  return action.kind == Kind::kVacuumFull ? "by hand"
                                          : fmt::format("on request: run --only {}", kind_name(action.kind));
}

void write_action(json::Writer& writer, const Action& action) {
  writer.field("kind", kind_name(action.kind));
  writer.field("schema", action.table.schema);
  writer.field("table", action.table.name);
  writer.field("object", action.object);
  writer.field("statement", action.statement);
  if (!action.undo.empty()) writer.field("undo", action.undo);
  writer.field("reason", action.reason);
  writer.field("bytes", action.bytes);
  writer.field("gain_bytes", action.gain_bytes);
  writer.field("usual", is_usual(action.kind));
}

std::string run_line(const json::Fields& run) {
  const int64_t started = run.integer("started_at").value_or(0);
  const auto finished = run.integer("finished_at");
  return fmt::format("{}  {}  {}{}", shown_time(started / 1000), run.string("job").value_or(""),
                     run.string("state").value_or(""),
                     finished ? fmt::format(" in {:.1f} s", static_cast<double>(*finished - started) / 1000) : "");
}

}  // namespace

std::string shown_time(int64_t at_s) {
  return fmt::format("{:%Y-%m-%d %H:%M}", fmt::gmtime(static_cast<time_t>(at_s)));
}

void print_plan(const Plan& plan, std::ostream& out) {
  out << fmt::format(
      "database {}: bloat of {} tables and indexes measured, of {} estimated; oldest transaction {} old ({})\n",
      on_one_line(plan.database), plan.measured, plan.estimated, plan.age,
      plan.oldest_table.empty() ? "no table" : on_one_line(plan.oldest_table));
  for (const std::string& note : plan.notes) out << "note: " << on_one_line(note) << "\n";
  if (plan.actions.empty()) out << "nothing needs to be done\n";
  double won = 0;
  for (const Action& action : plan.actions) {
    const std::string when = when_of(action);
    out << "\n"
        << on_one_line(action.statement) << ";" << (when.empty() ? "" : "    (" + when + ")") << "\n    "
        << on_one_line(action.reason);
    if (action.gain_bytes > 0) out << "; wins about " << shown_bytes(static_cast<double>(action.gain_bytes));
    out << "\n";
    if (is_usual(action.kind)) won += static_cast<double>(action.gain_bytes);
  }
  const auto usual = std::count_if(plan.actions.begin(), plan.actions.end(),
                                   [](const Action& action) { return is_usual(action.kind); });
  if (usual > 0)
    out << fmt::format("\n`cairn maintain run` does {} of them{}\n", usual,
                       won > 0 ? ", and wins about " + shown_bytes(won) : "");
}

std::string plan_json(const Plan& plan) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("database", plan.database);
  writer.field("taken_at", plan.taken_at_ms);
  writer.field("measured", plan.measured);
  writer.field("estimated", plan.estimated);
  writer.field("oldest_transaction_age", plan.age);
  writer.field("oldest_table", plan.oldest_table);
  writer.field("autovacuum_freeze_max_age", plan.freeze_max_age);
  writer.key("actions");
  writer.begin_array();
  for (const Action& action : plan.actions) {
    writer.begin_object();
    write_action(writer, action);
    writer.end_object();
  }
  writer.end_array();
  writer.key("notes");
  writer.begin_array();
  for (const std::string& note : plan.notes) writer.string(note);
  writer.end_array();
  writer.end_object();
  return text;
}

void print_outcomes(const std::vector<Outcome>& outcomes, std::ostream& out) {
  std::vector<std::vector<std::string>> table{{"", "took", "before", "after", "statement"}};
  for (const Outcome& outcome : outcomes) {
    table.push_back({outcome.state, outcome.state == "left" ? "" : fmt::format("{:.1f} s", outcome.seconds),
                     shown_bytes(static_cast<double>(outcome.action.bytes)),
                     outcome.bytes_after ? shown_bytes(static_cast<double>(*outcome.bytes_after)) : "",
                     outcome.action.statement});
    if (!outcome.error.empty()) table.push_back({"", "", "", "", "  " + on_one_line(outcome.error)});
  }
  if (!outcomes.empty()) print_table(out, table, 200);
  out << summary_of(outcomes) << "\n";
}

void write_outcomes(json::Writer& writer, const std::vector<Outcome>& outcomes) {
  writer.begin_array();
  for (const Outcome& outcome : outcomes) {
    writer.begin_object();
    write_action(writer, outcome.action);
    writer.field("state", outcome.state);
    if (!outcome.error.empty()) writer.field("error", outcome.error);
    writer.field("seconds", outcome.seconds);
    writer.field("bytes_after", outcome.bytes_after);
    writer.end_object();
  }
  writer.end_array();
}

void print_jobs(const std::vector<JobRow>& jobs, std::ostream& out) {
  std::vector<std::vector<std::string>> table{{"job", "schedule (UTC)", "quiet hours", "next", "last run", ""}};
  for (const JobRow& job : jobs) {
    const auto next = next_due(job);
    table.push_back({job.name, job.schedule, job.quiet_hours.value_or("any time"),
                     !job.enabled ? "switched off"
                     : next       ? shown_time(*next)
                                  : "never",
                     job.last_started_s ? shown_time(*job.last_started_s) : "",
                     job.last_state + (job.last_summary.empty() ? "" : ": " + job.last_summary)});
  }
  if (jobs.empty())
    out << "there are no jobs in this database: `cairn serve` makes them\n";
  else
    print_table(out, table, kShownText);
}

std::string jobs_json(const std::vector<JobRow>& jobs) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.key("jobs");
  writer.begin_array();
  for (const JobRow& job : jobs) {
    writer.begin_object();
    writer.field("name", job.name);
    writer.field("schedule", job.schedule);
    writer.field("quiet_hours", job.quiet_hours);
    writer.field("enabled", job.enabled);
    const auto next = job.enabled ? next_due(job) : std::nullopt;
    if (next) writer.field("next_due_at", *next * 1000);
    if (job.last_started_s) writer.field("last_started_at", *job.last_started_s * 1000);
    writer.field("last_state", job.last_state);
    writer.field("last_summary", job.last_summary);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return text;
}

void print_runs(const std::string& runs_json, std::ostream& out) {
  const json::Document document("{\"runs\":" + runs_json + "}");
  std::vector<std::vector<std::string>> table{{"run", "started (UTC)", "job", "by", "state", "actions", "summary"}};
  for (const json::Fields& run : json::root_fields(document).objects("runs"))
    table.push_back({std::to_string(run.required_integer("run_id")),
                     shown_time(run.required_integer("started_at") / 1000), run.required_string("job"),
                     run.required_string("trigger"), run.required_string("state"),
                     std::to_string(run.required_integer("actions")), run.required_string("summary")});
  if (table.size() == 1)
    out << "nothing was done yet\n";
  else
    print_table(out, table, kShownText);
}

void print_run(const std::string& run_json, std::ostream& out) {
  const json::Document document(run_json);
  const json::Fields run = json::root_fields(document);
  out << run_line(run) << "\n" << on_one_line(run.string("summary").value_or("")) << "\n";
  for (const json::Fields& action : run.objects("actions")) {
    out << fmt::format("\n{}  {};\n    {}\n", action.required_string("state"),
                       on_one_line(action.required_string("statement")), on_one_line(action.required_string("reason")));
    if (const auto error = action.string("error"); error && !error->empty())
      out << "    " << on_one_line(*error) << "\n";
    if (const auto undo = action.string("undo"); undo && !undo->empty())
      out << "    made again by: " << on_one_line(*undo) << ";\n";
  }
}

}  // namespace cairn::maintain
