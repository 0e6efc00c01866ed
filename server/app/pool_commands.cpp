// `cairn pool`: options.
#include <filesystem>
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "base/error.h"
#include "base/log.h"
#include "pooler/api.h"

namespace cairn::app {
namespace {

// A role of the same server: the last of two words for one thing counts.
constexpr const char* kSuperuser = " user=postgres";

pooler::Context context(const ServerConfig& config, const CommandDatabase& database) {
  pooler::Context context;
  context.data_dir = config.data_dir;
  context.connection_string = database.connection_string();
  if (config.database_url.empty()) context.superuser_connection = database.connection_string() + kSuperuser;
  context.server_connections = config.pool_size + config.max_overflow;
  return context;
}

// `config` and `start`: with PgBouncer's own words for its settings.
CLI::App* add_configuring(CommandLine& line, CLI::App* pool, bool starting, const char* name, const char* help) {
  CLI::App* command = line.add(pool, name, help);
  const auto options = std::make_shared<pooler::Options>();
  const auto dry_run = std::make_shared<bool>(false);
  command->add_option("--listen-addr", options->listen_addr, "Address to listen on (default: 127.0.0.1)");
  command->add_option("--listen-port", options->listen_port, "Port to listen on (default: 6432)")
      ->check(CLI::Range(1, 65535));
  command->add_option("--pool-mode", options->pool_mode, "transaction (default), session or statement")
      ->check(CLI::IsMember({"transaction", "session", "statement"}));
  command->add_option("--max-client-conn", options->max_client_conn, "Clients at most (default: 1000)")
      ->check(CLI::Range(1, 1000000));
  command
      ->add_option("--default-pool-size", options->default_pool_size,
                   "Connections to PostgreSQL for a role and database (default: 25)")
      ->check(CLI::Range(1, 10000));
  command->add_option("--reserve-pool-size", options->reserve_pool_size, "More of them for who has waited (default: 5)")
      ->check(CLI::Range(0, 10000));
  command->add_option("--reserve-pool-timeout", options->reserve_pool_timeout_s, "for so many seconds (default: 3)")
      ->check(CLI::Range(0, 3600));
  command
      ->add_option("--server-idle-timeout", options->server_idle_timeout_s,
                   "Seconds after which one that nobody uses is closed (default: 600)")
      ->check(CLI::Range(0, 86400));
  command
      ->add_option("--max-db-connections", options->max_db_connections,
                   "Connections to PostgreSQL in all (default: what max_connections leaves, at most 100)")
      ->check(CLI::Range(1, 10000));
  if (!starting) command->add_flag("--dry-run", *dry_run, "Print pgbouncer.ini, write nothing");
  line.add_settings(
      command, {"data_dir", "database_url", "postgres_bin", "pool_size", "max_overflow", "tls_certificate", "tls_key"});
  line.on(command, [&line, options, dry_run, starting] {
    log::configure(log::Format::kText, "warn");
    const ServerConfig config = line.settings();
    options->tls_certificate = config.tls_certificate;
    options->tls_key = config.tls_key;
    const CommandDatabase database(config);
    if (starting && database.cluster() != nullptr)
      throw Error(ErrorCode::kInvalidState, "no server runs on " + config.data_dir +
                                                ", so its PostgreSQL does not either: start `cairn serve` first");
    const int done = pooler::configure(context(config, database), *options, *dry_run, std::cout);
    if (!starting || done != 0) return done;
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    return pooler::start(std::filesystem::absolute(config.data_dir), program, std::cout);
  });
  return command;
}

CLI::App* add_simple(CommandLine& line, CLI::App* pool, const char* name, const char* help,
                     std::function<int(const std::string&)> action) {
  CLI::App* command = line.add(pool, name, help);
  line.add_settings(command, {"data_dir"});
  line.on(command, [&line, action = std::move(action)] {
    log::configure(log::Format::kText, "warn");
    return action(line.settings().data_dir);
  });
  return command;
}

}  // namespace

void add_pool(CommandLine& line) {
  CLI::App* pool = line.add("pool", "Run PgBouncer before PostgreSQL, for clients with many connections");
  pool->require_subcommand(1);
  pool->footer(
      "Example: cairn pool start --data-dir ~/cairn --default-pool-size 20\n"
      "         psql \"host=127.0.0.1 port=6432 dbname=cairn user=ann\"");
  add_configuring(line, pool, false, "config", "Write PgBouncer's files; one that runs takes them over");
  add_configuring(line, pool, true, "start", "Write them, start PgBouncer in the background and keep it running");
  add_simple(line, pool, "run", "Run PgBouncer with the files that are there, in the foreground, as for systemd",
             [](const std::string& data_dir) { return pooler::watch(data_dir, std::cout); });
  const auto as_json = std::make_shared<bool>(false);
  add_simple(line, pool, "status", "Show its pools; exit code 3 when it does not run",
             [as_json](const std::string& data_dir) { return pooler::show_status(data_dir, *as_json, std::cout); })
      ->add_flag("--json", *as_json, "Print one JSON object");
  add_simple(line, pool, "stop", "Let clients' transactions end, for up to ten seconds, and stop it",
             [](const std::string& data_dir) { return pooler::stop(data_dir, std::cout); });
}

}  // namespace cairn::app
