// `cairn tune autopilot`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_clone.h"
#include "app/tune_database.h"
#include "base/error.h"
#include "tuner/apply/autopilot.h"

namespace cairn::app {
namespace {

void add_limits(CLI::App* command, tuner::AutopilotOptions& options, std::vector<std::string>& allowed,
                std::optional<double>& budget_mb) {
  command
      ->add_option("--allow", allowed,
                   "Kinds of changes: index (default), drop_index, statistics, setting, materialized_view")
      ->delimiter(',');
  command->add_option("--budget-mb", budget_mb, "Megabytes that new indexes together may have")
      ->check(CLI::Range(0.0, 1e9));
  command->add_option("--max-write-cost", options.limits.write_percent_max, "Per cent that writes may take longer")
      ->check(CLI::Range(0.0, 1e6));
  command
      ->add_option("--max-db-cpu", options.limits.cpu_percent_max,
                   "Per cent of one core of the server that planning may take (default: 50); none with --clone-url,\n"
                   "where the planner is asked")
      ->check(CLI::Range(0.1, 100.0));
  command->add_flag("--unproven", options.unproven, "Go by estimates where no clone can be had");
  command->add_flag("--dry-run", options.dry_run, "Advise and prove, and change nothing");
}

}  // namespace

void add_tune_autopilot(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "autopilot", "Profile, advise, prove, apply and verify, unattended");
  command->footer(
      "Says what it did and why. What it changed is in the journal: `cairn tune status`, `cairn tune undo`.\n"
      "Exit code 1 when a round could not be finished: no clone, a change that failed or did harm.\n"
      "Example: cairn tune autopilot --database-url postgresql://owner@host/db --budget-mb 500 --max-write-cost 10\n"
      "         cairn tune autopilot --watch 3600 --rounds 0 --interval 86400 --allow index,statistics");
  auto options = std::make_shared<tuner::AutopilotOptions>();
  auto allowed = std::make_shared<std::vector<std::string>>();
  auto budget_mb = std::make_shared<std::optional<double>>();
  add_limits(command, *options, *allowed, *budget_mb);
  const auto kind = add_clone_options(command, options->clone);
  command->add_option("--log", options->log,
                      "The server's log, on this machine (default: read through the server, where it may be)");
  command
      ->add_option("--watch", options->watch_s, "Seconds to count statements first (default: 0, all that is counted)")
      ->check(CLI::Range(0.0, 1e7));
  command
      ->add_option("--verify-seconds", options->verify_s, "Wait so long for calls that show the effect (default: 600)")
      ->check(CLI::Range(0.0, 1e7));
  command->add_option("--rounds", options->rounds, "How often; 0: until it is stopped (default: 1)")
      ->check(CLI::Range(0, 1000000));
  command->add_option("--interval", options->interval_s, "Seconds from one round to the next (default: 86400)")
      ->check(CLI::Range(0.0, 1e8));
  command->add_option("--state-dir", options->state_directory,
                      "Where advice and proofs are kept (default: as for profile)");
  command->add_flag("--json", options->json, "Print one JSON object a step");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, allowed, budget_mb, kind] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    options->state_directory = database.state_directory(options->state_directory);
    complete_clone(options->clone, *kind, database.config(), options->connection_string);
    if (!allowed->empty()) options->allowed.clear();
    for (const std::string& name : *allowed) options->allowed.insert(tuner::change_kind(name));
    options->limits.planner = options->clone.url;
    if (*budget_mb) options->limits.bytes_max = static_cast<int64_t>(**budget_mb * (1 << 20));
    return tuner::run_autopilot(*options, std::cout, std::cerr);
  });
}

}  // namespace cairn::app
