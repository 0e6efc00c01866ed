// Commands that work on one database and print what they did.
#pragma once

#include <concepts>
#include <iostream>
#include <memory>

#include "app/commands.h"
#include "app/database.h"
#include "base/log.h"

namespace cairn::app {

// Gives a command --json and the settings that say which database; `run(options, out)` or `run(options, out, err)` is
// called with the database's connection string, and returns the exit code. Options has `json` and `connection_string`.
template <class Options, class Run>
std::shared_ptr<Options> on_database(CommandLine& line, CLI::App* command, Run run) {
  const auto options = std::make_shared<Options>();
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, run] {
    log::configure(log::Format::kText, "warn");
    const CommandDatabase database(line.settings());
    options->connection_string = database.connection_string();
    if constexpr (std::invocable<Run, const Options&, std::ostream&, std::ostream&>)
      return run(*options, std::cout, std::cerr);
    else
      return run(*options, std::cout);
  });
  return options;
}

}  // namespace cairn::app
