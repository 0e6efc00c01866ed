// `cairn tune`: options of the tuner's commands.
#include <iostream>
#include <map>

#include "app/commands.h"
#include "app/tune_database.h"
#include "base/error.h"
#include "tuner/advise/advise_cli.h"
#include "tuner/profile/profile_cli.h"
#include "tuner/profile/setup.h"

namespace cairn::app {
namespace {

const std::map<std::string, tuner::Order> kOrders{{"total", tuner::Order::kTotal}, {"mean", tuner::Order::kMean},
                                                  {"max", tuner::Order::kMax},     {"calls", tuner::Order::kCalls},
                                                  {"rows", tuner::Order::kRows},   {"cache", tuner::Order::kCache},
                                                  {"temp", tuner::Order::kTemp},   {"wal", tuner::Order::kWal}};

void add_profile(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "profile", "Show the statements that take the database's time");
  command->footer(
      "Statements come from pg_stat_statements, whose counters are never reset, grouped by their shape. With --since\n"
      "or --interval: what was counted in between. What may not be read is said, with what would allow it.\n"
      "Example: cairn tune profile --database-url postgresql://user@host/db --order mean\n"
      "         cairn tune profile --save         and after the change: cairn tune profile --since last");
  auto options = std::make_shared<tuner::ProfileOptions>();
  auto order = std::make_shared<std::string>("total");
  CLI::Option* since =
      command->add_option("--since", options->since, "Only what was counted since this snapshot; last: the newest");
  command->add_option("--interval", options->interval_s, "Count for so many seconds from now")
      ->check(CLI::Range(0.01, 86400.0))
      ->excludes(since);
  command->add_option("--top", options->top, "Statements to show (default: 20)")->check(CLI::Range(1, 1000000));
  command
      ->add_option("--order", *order,
                   "By total (default), mean or max time, calls, rows, cache (blocks read past it), temp or wal")
      ->check(CLI::Validator(CLI::IsMember(&kOrders)).description(""));  // it is in the help already
  command->add_flag("--tables", options->tables, "Show the tables that are read as a whole, too");
  command->add_option("--samples", options->samples, "Look so often at what sessions wait for")
      ->check(CLI::Range(1, 100000));
  command->add_option("--log", options->log,
                      "The server's log, on this machine (default: read through the server, where it may be)");
  command->add_flag("--save", options->save, "Keep the counters as a snapshot");
  command->add_option("--state-dir", options->state_directory,
                      "Where snapshots are (default: tuner in the data directory; for --database-url a folder of its "
                      "own in $XDG_STATE_HOME/cairn/tuner)");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, order] {
    const TuneDatabase database(line.settings());
    options->order = kOrders.at(*order);
    options->connection_string = database.connection_string();
    options->state_directory = database.state_directory(options->state_directory);
    return tuner::run_profile(*options, std::cout, std::cerr);
  });
}

void add_advise(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "advise", "Propose indexes, with the gain, size and write cost of each");
  command->footer(
      "The workload is what pg_stat_statements counted, or the statements of SQL files; each counts as often as it is\n"
      "there. Indexes are shown to the planner by hypopg: none is built, and no statement of the workload is run.\n"
      "Example: cairn tune advise --database-url postgresql://user@host/db --budget-mb 500 --max-write-cost 10");
  auto options = std::make_shared<tuner::AdviseOptions>();
  CLI::Option* files = command->add_option("--files", options->files, "SQL files instead of pg_stat_statements");
  files->check(CLI::ExistingFile);
  command
      ->add_option("--since", options->since,
                   "Only what was counted since this snapshot of `profile`; last: the newest")
      ->excludes(files);
  command
      ->add_option("--log", options->log,
                   "The server's log, on this machine (default: read through the server, where it may be)")
      ->excludes(files);
  command->add_option("--top", options->top, "Only so many statements, those with the most time (default: 500)")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--budget-mb", options->budget_mb, "Megabytes that all indexes together may have")
      ->check(CLI::Range(0.0, 1e9));
  command
      ->add_option("--max-write-cost", options->limits.write_percent_max,
                   "Per cent that the workload's writes may take longer")
      ->check(CLI::Range(0.0, 1e6));
  command->add_option("--seconds", options->limits.seconds_max, "For the search (default: 30)")
      ->check(CLI::Range(0.1, 86400.0));
  command->add_option("--planner-calls", options->limits.calls_max, "Questions to the planner (default: 100000)")
      ->check(CLI::Range(1, 1000000000));
  command
      ->add_option("--max-db-cpu", options->limits.cpu_percent_max,
                   "Per cent of one core of the server that planning may take (default: 50)")
      ->check(CLI::Range(0.1, 100.0));
  command->add_option("--clone-url", options->limits.planner,
                      "Plan on this clone instead: a restored backup, a replica that was promoted");
  command->add_flag("--allow-extension", options->limits.allow_extension,
                    "CREATE EXTENSION hypopg, where it is not there");
  command->add_option("--state-dir", options->state_directory, "Where the advice is kept (default: as for profile)");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    options->state_directory = database.state_directory(options->state_directory);
    return tuner::run_advise(*options, std::cout, std::cerr);
  });
}

void add_setup(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "setup", "Say what the database lacks to be profiled");
  command->footer(
      "Exit code 0 when nothing is missing, 1 otherwise. Settings are never changed.\n"
      "Example: cairn tune setup --apply --database-url postgresql://superuser@host/db");
  auto options = std::make_shared<tuner::SetupOptions>();
  command->add_flag("--apply", options->apply, "Make or update the extension pg_stat_statements");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return tuner::run_setup(*options, std::cout);
  });
}

}  // namespace

void add_tune(CommandLine& line) {
  CLI::App* tune = line.add("tune", "Find what makes a database slow, and mend it");
  tune->require_subcommand(1);
  tune->footer(
      "Example: cairn tune profile --database-url postgresql://user@host/db\n"
      "         cairn tune advise --budget-mb 500");
  add_profile(line, tune);
  add_tune_explain(line, tune);
  add_setup(line, tune);
  add_advise(line, tune);
  add_tune_prove(line, tune);
  add_tune_refresh(line, tune);
  add_tune_apply(line, tune);
  add_tune_guard(line, tune);
  add_tune_autopilot(line, tune);
  add_tune_report(line, tune);
}

}  // namespace cairn::app
