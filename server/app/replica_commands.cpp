// `cairn replica`: options of its commands.
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "base/error.h"
#include "base/log.h"
#include "replicas/api.h"

namespace cairn::app {
namespace {

using Action = int (*)(const replicas::Options&, std::ostream&);
using Shared = std::shared_ptr<replicas::Options>;

ServerConfig embedded(const CommandLine& line) {
  log::configure(log::Format::kText, "error");
  ServerConfig config = line.settings();
  if (!config.database_url.empty())
    throw invalid(
        "replicas of a database of your own (database_url) are made by its own means: `cairn replica` is for the "
        "embedded one");
  return config;
}

CLI::App* add(CommandLine& line, CLI::App* parent, const char* name, const char* help, Action action,
              const Shared& options) {
  CLI::App* command = line.add(parent, name, help);
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "postgres_bin"});
  line.on(command, [&line, options, action] {
    const ServerConfig config = embedded(line);
    const CommandDatabase database(config);
    options->data_dir = config.data_dir;
    options->postgres_bin = config.postgres_bin;
    options->connection_string = database.superuser_connection_string();
    if (replicas::Replicas* own = database.replicas()) options->look = [own] { own->look(); };
    return action(*options, std::cout);
  });
  return command;
}

// Also where the primary does not start any more, which is when it is wanted most.
void add_promote(CommandLine& line, CLI::App* parent, const Shared& options) {
  CLI::App* command = line.add(parent, "promote", "Make a replica the primary, in the primary's place");
  command->footer(
      "The primary is stopped first, for good: what it acknowledged is on a synchronous replica, and on any other "
      "that\n"
      "was connected. Refused when the primary runs and the replica lacks some of it. Reads go on meanwhile, writes "
      "get\n"
      "503 for a second or two. Other replicas follow the new primary. The former primary stays until it is removed.\n"
      "Example: cairn replica promote near --data-dir ~/cairn");
  command->add_option("name", options->name, "The replica")->required();
  command->add_flag("--json", options->json, "Print JSON");
  line.add_settings(command, {"data_dir", "postgres_bin"});
  line.on(command, [&line, options] {
    const ServerConfig config = embedded(line);
    options->data_dir = config.data_dir;
    if (cluster::running_server(config.data_dir)) return replicas::promote(*options, std::cout);
    cluster::Cluster cluster(cluster_options(config));
    try {
      cluster.start();
    } catch (const Error& error) {
      std::cerr << "the primary does not start: " << error.what() << "\n";
    }
    replicas::Replicas own(cluster);
    options->look = [&own] { own.look(); };
    own.look();
    return replicas::promote(*options, std::cout);
  });
}

}  // namespace

void add_replica(CommandLine& line) {
  CLI::App* replica =
      line.add("replica", "Replicas of the embedded PostgreSQL: reads go to them, and one can take over");
  replica->require_subcommand(1);
  replica->footer(
      "Example: cairn replica add near --synchronous --data-dir ~/cairn\n"
      "         cairn replica promote near --data-dir ~/cairn");
  const auto options = std::make_shared<replicas::Options>();
  CLI::App* added =
      add(line, replica, "add", "Copy the primary and let the server run the copy", &replicas::add, options);
  added->footer(
      "It lies in <data_dir>/replicas/NAME and follows the primary. The server sends searches, metric histories and "
      "latest\n"
      "features to it as long as it has all that was acknowledged before, and is at most a second behind.\n"
      "Example: cairn replica add near --synchronous --data-dir ~/cairn");
  added->add_option("name", options->name, "Its name: lower-case letters, digits, underscores")->required();
  added->add_flag("--synchronous", options->synchronous,
                  "A commit is acknowledged only when this one has it on its disk, or another of the synchronous ones");
  CLI::App* listed = add(line, replica, "list", "The replicas, and how far behind they are", &replicas::list, options);
  listed->footer("Example: cairn replica list --data-dir ~/cairn");
  add_promote(line, replica, options);
  CLI::App* removed =
      add(line, replica, "remove", "Stop a replica, or a former primary, and remove its files and its slot",
          &replicas::remove, options);
  removed->footer("Example: cairn replica remove near --data-dir ~/cairn");
  removed->add_option("name", options->name, "The replica")->required();
}

}  // namespace cairn::app
