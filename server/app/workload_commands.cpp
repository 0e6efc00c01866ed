// `cairn workload`: options of the two commands, and what they print.
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "base/log.h"
#include "base/table.h"
#include "db/pooler.h"
#include "workload/api.h"

namespace cairn::app {
namespace {

constexpr size_t kWidest = 60;
constexpr int kAllFailed = 1;

const workload::Say kSay = [](const std::string& line) { std::cerr << line << std::endl; };

// `action` gets the database's connection string and whether JSON is wanted.
void add(CommandLine& line, CLI::App* command, std::function<int(const std::string&, bool)> action) {
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, as_json, action = std::move(action)] {
    log::configure(log::Format::kText, "warn");
    const ServerConfig config = line.settings();
    if (!config.database_url.empty()) db::require_session(config.database_url, "cairn workload");
    const CommandDatabase database(config);
    return action(database.connection_string(), *as_json);
  });
}

void add_seed(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "seed", "Make a registry's tables, with primary keys alone, and fill them");
  command->footer(
      "Tables: environments, models, model_versions, deployments, training_runs, approvals. At scale 1: 500 models,\n"
      "2,000 versions, 20,000 deployments, 50,000 runs. Those of an earlier seed are replaced; if anything else has "
      "one\n"
      "of the names, nothing is touched (exit code 4).\n"
      "Example: createdb registry && cairn workload seed --database-url postgresql:///registry --scale 10");
  const auto options = std::make_shared<workload::SeedOptions>();
  command->add_option("--scale", options->scale, "Times the rows of scale 1 (default: 1)")
      ->check(CLI::Range(0.001, 10000.0));
  command->add_option("--seed", options->seed, "The same number makes the same rows (default: 1)")
      ->check(CLI::Range(int64_t{0}, workload::kMaxSeed));
  add(line, command, [options](const std::string& connection_string, bool as_json) {
    options->connection_string = connection_string;
    const workload::SeedReport report = workload::seed(*options, kSay);
    if (as_json)
      std::cout << to_json(report) << "\n";
    else
      print_table(std::cout, to_table(report));
    return 0;
  });
}

void add_run(CommandLine& line, CLI::App* parent) {
  CLI::App* command = line.add(parent, "run", "Send statements at a set rate and print their latencies by percentile");
  command->footer(
      "Requests arrive at random times, whether or not the earlier ones are answered; a latency counts from the time "
      "at\n"
      "which the request should have been sent. Ctrl-C ends early and prints what was measured.\n"
      "Exit codes: 0 done, 1 no request was answered.\n"
      "Example: cairn workload run --database-url postgresql:///registry --duration 60 --rate 10\n"
      "         cairn workload run --database-url postgresql:///shop --files queries/ --rate 50");
  const auto options = std::make_shared<workload::LoadOptions>();
  command->add_option("--duration", options->duration_s, "Seconds (default: 60)")->check(CLI::Range(0.1, 1e7));
  command->add_option("--rate", options->rate, "Requests a second (default: 10)")->check(CLI::Range(0.01, 1e5));
  CLI::Option* mix = command->add_option("--mix", options->mix, "Of the registry's statements (default: mixed, all)")
                         ->check(CLI::IsMember(workload::mixes()));
  command
      ->add_option("--files", options->files,
                   "SQL files instead, or directories of them: each statement is a family of its own")
      ->excludes(mix);
  command->add_option("--replace", options->replacements,
                      "FAMILY=FILE: the family's statement is the one in this file, with the same parameters");
  command
      ->add_option("--writes", options->writes_percent,
                   "Percent of the requests that insert a training run or a deployment (default: 0)")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--connections", options->connections, "Requests in PostgreSQL at a time (default: 10)")
      ->check(CLI::Range(1, 1000));
  command->add_option("--seed", options->seed, "The same number makes the same arrivals (default: 1)")
      ->check(CLI::Range(int64_t{0}, workload::kMaxSeed));
  command
      ->add_option("--statement-timeout-ms", options->statement_timeout_ms,
                   "Statements end after this time, and are counted as time-outs (default: as the server is set)")
      ->check(CLI::Range(1, 86400000));
  add(line, command, [options](const std::string& connection_string, bool as_json) {
    options->connection_string = connection_string;
    const workload::LoadReport report = workload::run_load(*options, kSay);
    if (as_json) {
      std::cout << to_json(report) << "\n";
    } else {
      print_table(std::cout, to_table(report), kWidest);
      for (const std::string& remark : remarks(report)) std::cout << remark << "\n";
    }
    return report.total.answered() == 0 && report.total.errors + report.total.timeouts > 0 ? kAllFailed : 0;
  });
}

}  // namespace

void add_workload(CommandLine& line) {
  CLI::App* workload = line.add("workload", "A registry's database at any scale, and a load on it or on any other");
  workload->require_subcommand(1);
  workload->footer(
      "Example: cairn workload seed --database-url postgresql:///registry\n"
      "         cairn workload run --database-url postgresql:///registry");
  add_seed(line, workload);
  add_run(line, workload);
}

}  // namespace cairn::app
