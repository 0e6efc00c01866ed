// `cairn features training-set`: options of its commands.
#include "app/training_set_commands.h"
#include "app/database_command.h"
#include "features/training_cli.h"

namespace cairn::app {
namespace {

using features::TrainingSetOptions;

void add_create(CommandLine& line, CLI::App* sets) {
  CLI::App* create = line.add(sets, "create", "Join features to rows, as they were at each row's time");
  create->footer(
      "The spine's rows have the join keys, event_timestamp, and any columns besides, such as a label.\n"
      "Example: cairn features training-set create trips-2026-01 --features stats:conv_rate,stats:trips \\\n"
      "           --spine-query \"SELECT driver_id, asked_at AS event_timestamp, accepted FROM orders\" -o train.csv");
  const auto options = on_database<TrainingSetOptions>(line, create, features::run_training_set_create);
  create->add_option("name", options->name, "To keep it by, so that it can be made again");
  CLI::Option_group* spine = create->add_option_group("spine");
  spine->add_option("--spine-query", options->query, "A SELECT; it runs read-only");
  spine->add_option("--spine-table", options->table, "A table or view, with its schema");
  spine->add_option("--spine-csv", options->csv, "A CSV file; - is standard input");
  spine->require_option(1);
  create->add_option("--features", options->features, "feature_view:feature, separated by commas")->delimiter(',');
  create->add_option("--feature-service", options->feature_service, "Instead of --features");
  create->add_flag("--full-feature-names", options->full_names, "Name columns feature_view__feature");
  create->add_flag("--late-too", options->late_too, "Let values count that came to be known after the row's time");
  create->add_option("--known-by", options->known_by, "Leave out what came to be known after this time");
  create->add_option("-o,--output", options->output, "CSV file to write; - is standard output");
  create->add_option("--to-table", options->to_table, "Make this table instead, in the database");
}

}  // namespace

void add_training_sets(CommandLine& line, CLI::App* parent) {
  CLI::App* sets = line.add(parent, "training-set", "Make training sets, and keep how they were made");
  sets->require_subcommand(1);
  add_create(line, sets);
  on_database<TrainingSetOptions>(line, line.add(sets, "list", "List those that are kept"),
                                  features::run_training_set_list);
  const auto named = [&](CLI::App* command, int (*run)(const TrainingSetOptions&, std::ostream&)) {
    const auto options = on_database<TrainingSetOptions>(line, command, run);
    command->add_option("name", options->name, "The training set")->required();
    return options;
  };
  named(line.add(sets, "show", "What one was made of, and the runs that were trained on it"),
        features::run_training_set_show);
  named(line.add(sets, "remove", "Forget how one was made"), features::run_training_set_remove);
  CLI::App* again = line.add(sets, "again", "Make one again, byte for byte, or say that it cannot be");
  const auto made_again = named(again, features::run_training_set_again);
  again->add_option("-o,--output", made_again->output, "CSV file to write; - is standard output");
  CLI::App* log_input = line.add(sets, "log-input", "Link it to the run that was trained on it");
  const auto linked = named(log_input, features::run_training_set_log_input);
  log_input->add_option("--run-id", linked->run_id, "The run")->required();
}

}  // namespace cairn::app
