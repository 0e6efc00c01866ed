// `cairn tune refresh`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "base/error.h"
#include "tuner/views/view_refresh.h"

namespace cairn::app {

void add_tune_refresh(CommandLine& line, CLI::App* tune) {
  CLI::App* command = line.add(tune, "refresh", "Refresh the materialized views that keep aggregates ready");
  const auto options = std::make_shared<tuner::RefreshOptions>();
  command->add_option("views", options->views, "Views, named as in SQL (default: all that are kept fresh)");
  CLI::Option* due = command->add_flag("--due", options->only_due, "Only those whose schedule or changes say so");
  CLI::Option* status = command->add_flag("--status", options->status, "Refresh nothing: show age, changes and hits");
  status->excludes(due);
  command->add_option("--every-s", options->every_s, "From now on: refresh after so many seconds (at first: 300)")
      ->check(CLI::Range(1, 31536000))
      ->excludes(status);
  command
      ->add_option("--max-changes", options->changes_max,
                   "From now on: refresh after so many changed rows, too; 0: whatever the changes (at first)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 53))
      ->excludes(status);
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  command->footer(
      "Readers are not blocked: REFRESH MATERIALIZED VIEW CONCURRENTLY. Exit code 1 when a view could not be "
      "refreshed.\n"
      "Example: cairn tune refresh --due        once a minute, by cron\n"
      "         cairn tune refresh public.mv_runs --every-s 60 --max-changes 10000");
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return tuner::run_refresh(*options, std::cout);
  });
}

}  // namespace cairn::app
