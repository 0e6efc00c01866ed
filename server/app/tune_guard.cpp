// `cairn tune guard`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "tuner/guard/guard_cli.h"
#include "workload/api.h"

namespace cairn::app {
namespace {

struct Options {
  tuner::GuardOptions guard;
  std::vector<std::string> files;
};

tuner::GuardOptions complete(const Options& options, const TuneDatabase& database) {
  tuner::GuardOptions guard = options.guard;
  for (workload::FileStatement& statement : workload::statements_of_files(options.files))
    guard.statements.push_back({std::move(statement.name), std::move(statement.sql)});
  guard.connection_string = database.connection_string();
  return guard;
}

std::shared_ptr<Options> add_common(CommandLine& line, CLI::App* command) {
  const auto options = std::make_shared<Options>();
  command
      ->add_option(
          "files", options->files,
          "SQL files, or directories of them; a statement is named after its file, with #n where there are more")
      ->required();
  command->add_option("--file", options->guard.file, "Where the plans are kept (default: cairn-guard.json)");
  command->add_flag("--run", options->guard.run,
                    "Run each SELECT too (read-only, rolled back), for its blocks and time");
  command->add_option("--rounds", options->guard.rounds, "How often, with --run; the median counts (default: 5)")
      ->check(CLI::Range(1, 1000));
  command->add_option("--timeout-s", options->guard.timeout_s, "Stop a statement after so many seconds (default: 60)")
      ->check(CLI::Range(1, 86400));
  command->add_flag("--json", options->guard.json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  return options;
}

void add_save(CommandLine& line, CLI::App* guard) {
  CLI::App* command = line.add(guard, "save", "Keep the plans and figures of statements in a file");
  command->footer(
      "The file takes the place of the one that was there; it is for the repository of the program that sends the\n"
      "statements.\n"
      "Example: cairn tune guard save queries/ --database-url postgresql://reader@host/db");
  const auto options = add_common(line, command);
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    return tuner::run_guard_save(complete(*options, database), std::cout);
  });
}

void add_check(CommandLine& line, CLI::App* guard) {
  CLI::App* command = line.add(guard, "check", "Plan the statements again; exit with 1 when one has got worse");
  command->footer(
      "Worse: a table read as a whole that was not, a sort or hash that spills, other joins at a higher cost, or a\n"
      "cost or number of blocks over its ratio. Times are told; they are judged with --time-ratio only.\n"
      "Example: cairn tune guard check queries/ --database-url postgresql://reader@host/db --run");
  const auto options = add_common(line, command);
  tuner::GuardLimits& limits = options->guard.limits;
  command->add_option("--cost-ratio", limits.cost_ratio, "How much more a statement may cost (default: 1.5)")
      ->check(CLI::Range(1.0, 1e6));
  command->add_option("--blocks-ratio", limits.blocks_ratio, "How many more blocks it may read (default: 1.5)")
      ->check(CLI::Range(1.0, 1e6));
  command
      ->add_option("--time-ratio", limits.time_ratio,
                   "How much longer it may run, beside a calibration on the same machine (default: not judged)")
      ->check(CLI::Range(1.0, 1e6));
  command->add_option("--min-cost", limits.cost_min, "What costs less is not judged (default: 100)")
      ->check(CLI::Range(0.0, 1e12));
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    return tuner::run_guard_check(complete(*options, database), std::cout);
  });
}

}  // namespace

void add_tune_guard(CommandLine& line, CLI::App* tune) {
  CLI::App* guard = line.add(tune, "guard", "Fail a build when a statement's plan or figures get worse");
  guard->require_subcommand(1);
  guard->footer("Example: cairn tune guard save queries/      and in the build: cairn tune guard check queries/");
  add_save(line, guard);
  add_check(line, guard);
}

}  // namespace cairn::app
