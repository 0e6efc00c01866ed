// `cairn features`: options of the feature store's commands.
#include "app/database_command.h"
#include "app/training_set_commands.h"
#include "features/cli.h"

namespace cairn::app {
namespace {

using features::FeaturesOptions;

void add_feast(CommandLine& line, CLI::App* features) {
  CLI::App* out = line.add(features, "export-registry", "Write a registry.db for Feast's SDK");
  out->footer(
      "With it a stock Feast SDK reads and writes here: feature_store.yaml names the project, `registry: FILE` and\n"
      "`online_store: {type: remote, path: URL}`.\n"
      "Example: cairn features export-registry registry.db --project rides");
  const auto exported = on_database<FeaturesOptions>(line, out, features::run_export_registry);
  exported->project = "cairn";
  out->add_option("file", exported->file, "Where it is written")->required();
  out->add_option("--project", exported->project, "The project in feature_store.yaml")->capture_default_str();
  CLI::App* in = line.add(features, "import-registry", "Declare what a Feast repository's registry.db declares");
  in->footer(
      "What has no counterpart here (views computed by Python, types) is named and left out; values stay where they "
      "are.\n"
      "Example: cairn features import-registry feature_repo/data/registry.db --dry-run");
  const auto imported = on_database<FeaturesOptions>(line, in, features::run_import_registry);
  in->add_option("file", imported->file, "The registry.db; - is standard input")->required();
  in->add_option("--project", imported->project, "Whose definitions are taken, where it has several projects");
  in->add_flag("--dry-run", imported->dry_run, "Say what would change, and change nothing");
}

void add_write(CommandLine& line, CLI::App* features) {
  CLI::App* write = line.add(features, "write", "Write the rows of a file to a feature view");
  write->footer(
      "Columns: the join keys, every feature, and event_timestamp and created (absent: now). All rows are looked at\n"
      "before any is written. Run again after a failure, it does what is left: what is there changes nothing.\n"
      "Example: cairn features write stats trips.csv");
  const auto options = on_database<FeaturesOptions>(line, write, features::run_write);
  write->add_option("view", options->view, "The feature view")->required();
  write->add_option("file", options->file, "The rows; - is standard input")->required();
  write->add_option("--format", options->format, "csv, with a header, or binary, as COPY writes it")
      ->check(CLI::IsMember({"csv", "binary"}));
  write->add_option("--columns", options->columns, "The columns of a binary file in their order, separated by commas")
      ->delimiter(',');
}

void add_rollup(CommandLine& line, CLI::App* features) {
  CLI::App* rollup = line.add(features, "rollup", "Work out what the rollups of feature views lack");
  rollup->footer(
      "The server does it every minute. Windows are exact at any time: what is not rolled up is read from the "
      "history.\n"
      "Example: cairn features rollup driver_stats");
  const auto options = on_database<FeaturesOptions>(line, rollup, features::run_rollup);
  rollup->add_option("view", options->view, "The feature view (absent: all that have a rollup_s)");
}

}  // namespace

void add_features(CommandLine& line) {
  CLI::App* features = line.add("features", "Declare entities, feature views and feature services");
  features->require_subcommand(1);
  features->footer("Example: cairn features apply features.toml --dry-run\n         cairn features list");
  on_database<FeaturesOptions>(line, line.add(features, "list", "List the feature views"), features::run_list);
  CLI::App* apply = line.add(features, "apply", "Make what a file declares so; what it does not name stays");
  apply->footer(
      "The file is TOML or JSON: entities, feature_views, feature_services (docs/reference/features.md). A feature "
      "that\n"
      "its view does not name any more is removed; what would give stored values another meaning is refused.\n"
      "Example: cairn features apply features.toml");
  const auto options = on_database<FeaturesOptions>(line, apply, features::run_apply);
  apply->add_option("file", options->file, "Where they are declared; - is standard input, JSON")->required();
  apply->add_flag("--dry-run", options->dry_run, "Say what would change, and change nothing");
  add_write(line, features);
  add_rollup(line, features);
  add_training_sets(line, features);
  CLI::App* health =
      line.add(features, "health", "How fresh features are, how often missing, in which range, how far drifted");
  health->footer(
      "Of the latest values. Drift is the population stability index against the saved baseline: below 0.1 is little,\n"
      "above 0.25 has drifted.\n"
      "Example: cairn features health --save-baseline");
  const auto look = on_database<FeaturesOptions>(line, health, features::run_health);
  health->add_flag("--save-baseline", look->save_baseline, "Measure drift from what is there now");
  add_feast(line, features);
}

}  // namespace cairn::app
