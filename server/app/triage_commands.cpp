// `cairn triage`: options.
#include <iostream>

#include "app/commands.h"
#include "app/tune_database.h"
#include "triage/api.h"

namespace cairn::app {
namespace {

constexpr double kWatch_s = 2;

void add_signal(CommandLine& line, CLI::App* triage, bool terminate) {
  CLI::App* command = line.add(triage, terminate ? "terminate" : "cancel",
                               terminate ? "End sessions; their open transactions are rolled back"
                                         : "End the statements that sessions run; the sessions stay");
  command->footer(
      std::string("Says first what would be done. Who did it, to whom, is written down before it is done: in "
                  "the audit log of\nCairn's database, elsewhere in PostgreSQL's log. Exit code 1 where one "
                  "has not ended.\nExample: cairn triage ") +
      (terminate ? "terminate" : "cancel") + " 712 --yes");
  const auto options = std::make_shared<triage::SignalOptions>();
  options->terminate = terminate;
  command->add_option("pids", options->pids, "Processes, as `cairn triage` lists them")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31));
  command->add_flag("--yes", options->yes, "Do it");
  command->add_flag("--json", options->json, "Print one JSON object");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options] {
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return triage::run_signal(*options, std::cout);
  });
}

}  // namespace

void add_triage(CommandLine& line) {
  CLI::App* command = line.add("triage", "Show what is wrong with a database right now, and end what is in the way");
  command->footer(
      "Who waits for whom, the longest transactions and statements, connections, replication, disk. Exit code 1 when\n"
      "something is critical.\n"
      "Example: cairn triage --watch --database-url postgresql://user@host/db\n"
      "         cairn triage terminate 712 --yes");
  const auto options = std::make_shared<triage::TriageOptions>();
  CLI::Option* watch =
      command->add_option("--watch", options->watch_s, "Look again and again, after so many seconds (2), until Ctrl-C");
  watch->expected(0, 1)->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--json", options->json, "Print one JSON object a look");
  line.add_settings(command, {"data_dir", "database_url", "postgres_bin"});
  line.on(command, [&line, options, watch] {
    if (watch->count() > 0 && options->watch_s == 0) options->watch_s = kWatch_s;
    const TuneDatabase database(line.settings());
    options->connection_string = database.connection_string();
    return triage::run_triage(*options, std::cout);
  });
  add_signal(line, command, false);
  add_signal(line, command, true);
}

}  // namespace cairn::app
