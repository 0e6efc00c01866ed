// `cairn tune apply`, `status`, `undo`, `verify`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "tuner/apply/apply_cli.h"
#include "tuner/apply/verify.h"

namespace cairn::app {
namespace {

void add_wait(CLI::App* command, double& wait_s) {
  command
      ->add_option("--wait", wait_s,
                   "Seconds to wait for another cairn tune, for open transactions and for locks (default: 60)")
      ->check(CLI::Range(0.0, 86400.0));
}

void add_apply(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "apply", "Make the changes of an advice, without blocking who writes");
  command->footer(
      "What a proof kept is made: indexes CONCURRENTLY, a partitioned table's one partition after the other. Every\n"
      "change is in the journal (schema cairn_tune of the database) before it is begun.\n"
      "Example: cairn tune apply last --database-url postgresql://owner@host/db\n"
      "         cairn tune apply 20261122T013500.123Z --only 1,3 --unproven");
  const auto options = std::make_shared<tuner::ApplyOptions>();
  const auto json = std::make_shared<bool>(false);
  const auto state_dir = std::make_shared<std::string>();
  command->add_option("advice", options->advice, "Its id; last: the newest")->required();
  command->add_option("--only", options->only, "Numbers of changes, with commas between them")->delimiter(',');
  command->add_flag("--unproven", options->unproven, "Also what no proof kept");
  add_wait(command, options->wait_s);
  command->add_option("--state-dir", *state_dir, "Where the advice is kept (default: as for profile)");
  command->add_flag("--json", *json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, json, state_dir] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    options->state_directory = database.state_directory(*state_dir);
    return tuner::run_apply(*options, *json, std::cout, std::cerr);
  });
}

template <class Options>
void run_on_database(CommandLine& line, CLI::App* command, std::shared_ptr<Options> options,
                     int (*run)(const Options&, std::ostream&, std::ostream&)) {
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, run] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return run(*options, std::cout, std::cerr);
  });
}

void add_status(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "status", "Show what was applied, and what a killed apply left");
  command->footer(
      "Exit code 1 when something was left that is neither done nor removed.\n"
      "Example: cairn tune status --finish --database-url postgresql://owner@host/db");
  const auto options = std::make_shared<tuner::StatusOptions>();
  CLI::Option* finish = command->add_flag("--finish", options->finish, "Complete what was left");
  command->add_flag("--remove", options->remove, "Take away what was left")->excludes(finish);
  add_wait(command, options->wait_s);
  run_on_database(line, command, options, tuner::run_status);
}

void add_undo(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "undo", "Take changes back, without blocking who writes");
  command->footer(
      "By the journal alone; no advice is needed. What somebody else changed since stays as it is.\n"
      "Example: cairn tune undo 7\n"
      "         cairn tune undo --last --database-url postgresql://owner@host/db");
  const auto options = std::make_shared<tuner::UndoOptions>();
  CLI::Option* changes = command->add_option("changes", options->changes, "Ids of changes, as status lists them");
  CLI::Option* last = command->add_flag("--last", options->last, "All of the last apply");
  CLI::Option* all = command->add_flag("--all", options->all, "All that was applied");
  changes->excludes(last)->excludes(all);
  last->excludes(all);
  add_wait(command, options->wait_s);
  run_on_database(line, command, options, tuner::run_undo);
}

void add_verify(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "verify", "Measure what was applied, and take back what costs more than it gains");
  command->footer(
      "From pg_stat_statements: the last apply's statements, and all others on its tables, before it and since. Exit\n"
      "code 1 when a change does more harm than good.\n"
      "Example: cairn tune verify --wait 600 --database-url postgresql://owner@host/db");
  const auto options = std::make_shared<tuner::VerifyOptions>();
  command->add_flag("--keep", options->keep, "Take nothing back");
  command->add_option("--min-calls", options->calls_min, "Calls of a statement that are enough (default: 20)")
      ->check(CLI::Range(2, 1000000000));
  command->add_option("--wait", options->wait_s, "Wait for so many calls, for so many seconds at most (default: 0)")
      ->check(CLI::Range(0.0, 864000.0));
  run_on_database(line, command, options, tuner::run_verify);
}

}  // namespace

void add_tune_apply(CommandLine& line, CLI::App* tune) {
  add_apply(line, tune);
  add_status(line, tune);
  add_undo(line, tune);
  add_verify(line, tune);
}

}  // namespace cairn::app
