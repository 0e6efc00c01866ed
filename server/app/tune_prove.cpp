// `cairn tune prove`: options.
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "app/tune_clone.h"
#include "base/log.h"
#include "tuner/profile/state_files.h"
#include "tuner/prove/prove_cli.h"

namespace cairn::app {
namespace {

int run(const ServerConfig& config, const std::string& kind, tuner::ProveCommand command) {
  log::configure(log::Format::kText, "warn");
  const CommandDatabase database(config);
  complete_clone(command.prove.clone, kind, config, database.connection_string());
  if (command.state_directory.empty())
    command.state_directory = tuner::state_directory(config.data_dir, config.database_url);
  return tuner::run_prove(command, std::cout, std::cerr);
}

}  // namespace

void add_tune_prove(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "prove", "Try an advice on a clone: run its statements, before and after");
  command->footer(
      "The database itself is only read. What does not make a statement faster beyond noise, or changes its rows, is\n"
      "rejected. Exit code 0 when something was kept, 1 when nothing was.\n"
      "Example: cairn tune prove last --database-url postgresql://user@host/db --clone basebackup --clone-dir "
      "/var/tmp\n"
      "         cairn tune prove last --clone-url postgresql://user@other-host/restored");
  auto options = std::make_shared<tuner::ProveCommand>();
  command->add_option("advice", options->advice, "Its id; last: the newest (default)");
  const auto kind = add_clone_options(command, options->prove.clone);
  command->add_option("--log", options->prove.log,
                      "The server's log, on this machine (default: read through the server, where it may be)");
  command->add_option("--rounds", options->prove.rounds, "Timed runs of each set of values (default: 11)")
      ->check(CLI::Range(2, 1000));
  command
      ->add_option("--parameters", options->prove.parameter_sets,
                   "Sets of values for a statement with placeholders (default: 3)")
      ->check(CLI::Range(1, 100));
  command->add_option("--seconds", options->prove.seconds, "For running statements, about (default: 300)")
      ->check(CLI::Range(1.0, 1e6));
  command
      ->add_option(
          "--recall", options->prove.recall,
          "Share of an exact search's rows that one through an HNSW or IVFFlat index has to find (default: 0.95)")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", options->prove.seed, "Of the values drawn and of the intervals (default: 1)");
  command->add_option("--state-dir", options->state_directory, "Where the advice is kept (default: as for profile)");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, kind] { return run(line.settings(), *kind, *options); });
}

}  // namespace cairn::app
