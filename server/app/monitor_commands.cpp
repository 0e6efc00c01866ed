// `cairn monitor`: options of the monitoring commands.
#include <iostream>

#include "app/commands.h"
#include "app/database.h"
#include "app/database_command.h"
#include "base/log.h"
#include "monitor/api.h"

namespace cairn::app {
namespace {

void add_init(CommandLine& line, CLI::App* monitor) {
  CLI::App* init = line.add(monitor, "init", "Write the files that Prometheus, Alertmanager and Grafana need");
  init->footer(
      "prometheus.yml, rules/*.yml, alertmanager.yml, Grafana's data source and dashboard, for the server that the\n"
      "settings describe. Files with other contents stay as they are.\n"
      "Example: cairn monitor init monitoring && cd monitoring && prometheus --config.file=prometheus.yml");
  const auto options = std::make_shared<monitor::InitOptions>();
  init->add_option("directory", options->directory, "Where they are written")->required();
  init->add_option("--target", options->target,
                   "The server, host:port; default: where the settings say that it listens");
  line.add_settings(init, {"host", "port", "tls_certificate", "tls_key", "credentials"});
  line.on(init, [&line, options] {
    const ServerConfig config = line.settings();
    options->tls = !config.tls_certificate.empty();
    options->credentials = !config.credentials.empty();
    if (options->target.empty()) options->target = config.host + ":" + std::to_string(config.port);
    return monitor::run_init(*options, std::cout);
  });
}

void add_alerts(CommandLine& line, CLI::App* monitor) {
  CLI::App* alerts = line.add(monitor, "alerts", "List the alerts that fire");
  alerts->footer(
      "As the server that runs on the database sees them, twice a minute, with or without a Prometheus. "
      "CAIRN_ALERT_WEBHOOK\n"
      "names a URL to which it sends them.\n"
      "Example: cairn monitor alerts --all");
  const auto options = on_database<monitor::AlertsOptions>(line, alerts, monitor::run_alerts);
  alerts->add_flag("--all", options->all, "Those of the last week, too");
}

}  // namespace

void add_monitor(CommandLine& line) {
  CLI::App* monitor = line.add("monitor", "Watch a database: metrics, alerts, files for Prometheus and Grafana");
  monitor->require_subcommand(1);
  monitor->footer("Example: cairn monitor metrics --database-url postgresql://user@host/db");
  CLI::App* metrics = line.add(monitor, "metrics", "Print a database's figures once, as Prometheus reads them");
  metrics->footer(
      "The server has the same at /metrics, with its own. Any PostgreSQL; the role pg_monitor sees all of it.\n"
      "Example: cairn monitor metrics --database-url postgresql://user@host/db | grep pg_connections");
  line.add_settings(metrics, {"data_dir", "database_url", "postgres_bin"});
  line.on(metrics, [&line] {
    log::configure(log::Format::kText, "warn");
    const CommandDatabase database(line.settings());
    return monitor::run_metrics(database.connection_string(), std::cout);
  });
  add_init(line, monitor);
  add_alerts(line, monitor);
}

}  // namespace cairn::app
