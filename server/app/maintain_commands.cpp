// `cairn maintain` and `cairn runbook`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "maintain/api.h"

namespace cairn::app {
namespace {

using Options = std::shared_ptr<maintain::MaintainOptions>;

void add_choice(CLI::App* command, const Options& options) {
  command
      ->add_option("--only", options->kinds,
                   "Kinds, with commas between them: freeze, vacuum, analyze, reindex, drop-invalid; on request: "
                   "drop-duplicate, drop-covered, drop-unused; to look at: vacuum-full")
      ->delimiter(',');
  command->add_option("--table", options->tables, "Only these tables, named as in SQL, with their partitions");
}

void add_measure(CLI::App* command, const Options& options) {
  command
      ->add_option("--measure-s", options->measure_s,
                   "Seconds that pgstattuple may read, to measure bloat (default: 60; 0: it is estimated)")
      ->check(CLI::Range(0.0, 86400.0));
  command->add_flag("--json", options->json, "Print one JSON object");
}

void add_wait(CLI::App* command, const Options& options) {
  command
      ->add_option("--wait", options->wait_s,
                   "Seconds to wait for another cairn, for open transactions and for locks (default: 60)")
      ->check(CLI::Range(0.0, 86400.0));
}

template <class Run>
void on(CommandLine& line, CLI::App* command, const Options& options, Run run) {
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, run] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return run(*options);
  });
}

void add_plan(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "plan", "Show what a database needs done, and why; change nothing");
  command->footer("Example: cairn maintain plan --database-url postgresql://user@host/db");
  const auto options = std::make_shared<maintain::MaintainOptions>();
  add_choice(command, options);
  add_measure(command, options);
  on(line, command, options,
     [](const maintain::MaintainOptions& chosen) { return maintain::run_plan(chosen, std::cout); });
}

void add_run(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "run", "Do what `plan` shows, blocking neither readers nor writers");
  command->footer(
      "What is on request is done when --only names it. Each statement is in the history, with what would undo it.\n"
      "Exit code 1 when one failed or was left.\n"
      "Example: cairn maintain run --only reindex --table public.training_runs\n"
      "         cairn maintain run --only drop-duplicate --database-url postgresql://owner@host/db");
  const auto options = std::make_shared<maintain::MaintainOptions>();
  add_choice(command, options);
  add_wait(command, options);
  add_measure(command, options);
  on(line, command, options,
     [](const maintain::MaintainOptions& chosen) { return maintain::run_maintain(chosen, std::cout, std::cerr); });
}

void add_monthly(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "monthly", "Go through the monthly checklist: maintain, check, report");
  command->footer(
      "Compares with the report before it. The server does it by itself, on the first Sunday of each month.\n"
      "Example: cairn maintain monthly --dry-run");
  const auto options = std::make_shared<maintain::MaintainOptions>();
  command->add_flag("--dry-run", options->dry_run, "Change nothing, and keep no report");
  add_wait(command, options);
  add_measure(command, options);
  on(line, command, options,
     [](const maintain::MaintainOptions& chosen) { return maintain::run_monthly(chosen, std::cout, std::cerr); });
}

void add_history(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "history", "Show what was done, by whom, and what came of it");
  command->footer("Example: cairn maintain history --job monthly\n         cairn maintain history 12");
  const auto options = std::make_shared<maintain::HistoryOptions>();
  command->add_option("run", options->run_id, "A run, with each of its statements");
  command->add_option("--job", options->job, "Only this job's");
  command->add_option("--limit", options->limit, "At most so many (default: 20)")->check(CLI::Range(1, 100000));
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return maintain::run_history(*options, std::cout);
  });
}

void add_jobs_command(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "jobs", "Show or change the server's schedule");
  command->footer(
      "Schedules are as cron has them, in UTC; 0#1 is the first Sunday of the month. In its quiet hours only is a job "
      "begun.\n"
      "Example: cairn maintain jobs\n"
      "         cairn maintain jobs maintain --schedule '30 2 * * *' --quiet-hours 02:00-06:00");
  const auto options = std::make_shared<maintain::JobOptions>();
  CLI::Option* name = command->add_option("job", options->name, "The job to change");
  command->add_option("--schedule", options->schedule, "Five fields, or 'N seconds'")->needs(name);
  command->add_option("--quiet-hours", options->quiet_hours, "HH:MM-HH:MM in UTC, or any")->needs(name);
  CLI::Option* enable = command->add_flag("--enable", options->enable, "Run it again")->needs(name);
  command->add_flag("--disable", options->disable, "Do not run it")->needs(name)->excludes(enable);
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return maintain::run_jobs(*options, std::cout);
  });
}

}  // namespace

void add_maintain(CommandLine& line) {
  CLI::App* parent = line.add("maintain", "Keep a database healthy: VACUUM, ANALYZE, REINDEX, indexes of no use");
  parent->require_subcommand(1);
  parent->footer(
      "Example: cairn maintain plan --database-url postgresql://user@host/db\n"
      "         cairn maintain run");
  add_plan(line, parent);
  add_run(line, parent);
  add_monthly(line, parent);
  add_history(line, parent);
  add_jobs_command(line, parent);
}

void add_runbook(CommandLine& line) {
  CLI::App* command = line.add("runbook", "Go through a procedure step by step: what is found, and what to do next");
  command->footer(
      "Changes nothing. Without a name: what there is.\n"
      "Example: cairn runbook emergency --database-url postgresql://user@host/db");
  const auto options = std::make_shared<maintain::RunbookOptions>();
  command->add_option("name", options->name, "slow-query, bloat, emergency or monthly");
  command->add_option("--queryid", options->queryid,
                      "For slow-query: this statement, as pg_stat_statements numbers it");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return maintain::run_runbook(*options, std::cout);
  });
}

}  // namespace cairn::app
