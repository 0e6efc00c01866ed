// `cairn tune report`: its options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "tuner/report/report_cli.h"

namespace cairn::app {

void add_tune_report(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "report", "Write what was measured and changed as documents");
  command->footer(
      "Writes docs/performance-baseline.md, docs/index-strategy.md, docs/performance-results.md,\n"
      "docs/performance-improvements.md, docs/runbook-performance-tuning.md and sql/50_indexes.sql: from\n"
      "pg_stat_statements, plans, the advice, its proof and the journal. Files of these names that it did not write "
      "stay.\n"
      "Example: cairn tune report --dir .");
  auto options = std::make_shared<tuner::ReportOptions>();
  command->add_option("--dir", options->directory, "Directory for docs/ and sql/")->required();
  command->add_option("--advice", options->advice,
                      "The advice that it is about (default: the last that was applied, else the newest)");
  command->add_option("--state-dir", options->state_directory, "Where the advice is (default: as for profile)");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    options->state_directory = database.state_directory(options->state_directory);
    return tuner::run_report(*options, std::cout, std::cerr);
  });
}

}  // namespace cairn::app
