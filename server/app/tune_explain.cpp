// `cairn tune explain`: options.
#include <fstream>
#include <iostream>
#include <iterator>

#include "app/commands.h"
#include "app/tune_database.h"
#include "base/error.h"
#include "tuner/plan/explain.h"

namespace cairn::app {
namespace {

constexpr const char* kStandardInput = "-";
constexpr const char* kNullParameter = "\\N";

struct Options {
  tuner::ExplainOptions explain;
  std::string file;
  std::vector<std::string> parameters;
  bool json = false;
};

std::string contents(const std::string& file) {
  if (file == kStandardInput)
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  std::ifstream in(file, std::ios::binary);
  if (!in) throw invalid("cannot read " + file + ": give --file the name of a file with one SQL statement");
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

int run(const CommandLine& line, Options& options) {
  if (options.explain.statement == kStandardInput) options.file = kStandardInput;
  if (!options.file.empty()) options.explain.statement = contents(options.file);
  for (const std::string& value : options.parameters)
    options.explain.parameters.push_back(value == kNullParameter ? std::nullopt : std::optional(value));
  const TuneDatabase database(line.settings());
  return tuner::run_explain(database.connection_string(), options.explain, options.json, std::cout);
}

}  // namespace

void add_tune_explain(CommandLine& line, CLI::App* tune) {
  CLI::App* command =
      line.add(tune, "explain", "Read a statement's plan: what is wrong, why, what it costs, what would mend it");
  const auto options = std::make_shared<Options>();
  CLI::Option* statement =
      command->add_option("statement", options->explain.statement, "One SQL statement; - reads it from standard input");
  CLI::Option* file = command->add_option("--file", options->file, "Read it from this file; - is standard input");
  statement->excludes(file);
  command->add_flag("--analyze", options->explain.analyze,
                    "Run it (read-only, rolled back) and show what really happened; only a SELECT, VALUES or TABLE");
  command->add_option("--parameters", options->parameters, "Values for $1, $2, …; \\N is NULL")->type_name("VALUE");
  command
      ->add_flag("--logged", options->explain.logged,
                 "The plan of its slowest call in the server's log (auto_explain); the statement or profile's id")
      ->excludes("--analyze");
  command->add_option("--log", options->explain.log,
                      "The server's log, on this machine (default: read through the server, where it may be)");
  command->add_option("--timeout-s", options->explain.timeout_s, "Stop it after so many seconds (default: 60)")
      ->check(CLI::Range(1, 86400));
  command->add_flag("--json", options->json, "Print JSON, with PostgreSQL's own plan in it");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  command->footer(
      "Example: cairn tune explain --analyze 'SELECT * FROM runs WHERE status = $1' --parameters failed\n"
      "         cairn tune explain --file query.sql --database-url postgresql://reader@host/db");
  line.on(command, [&line, statement, file, options] {
    if (statement->empty() && file->empty()) throw invalid("give a statement, --file, or - for standard input");
    return run(line, *options);
  });
}

}  // namespace cairn::app
