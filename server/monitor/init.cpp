#include "monitor/init.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "monitor/cli.h"
#include "monitor/rules.h"

namespace cairn::monitor {
namespace {

namespace fs = std::filesystem;

std::string prometheus_yml(const InitOptions& options) {
  std::string text =
      "# prometheus --config.file=prometheus.yml\n"
      "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\n\n"
      "rule_files:\n  - rules/*.yml\n\n"
      "alerting:\n  alertmanagers:\n    - static_configs:\n        - targets: [127.0.0.1:9093]\n\n"
      "scrape_configs:\n  - job_name: cairn\n";
  if (options.tls) text += "    scheme: https\n";
  if (options.credentials)
    text +=
        "    # One of the server's tokens: cairn credentials token prometheus\n    authorization:\n"
        "      credentials_file: cairn.token\n";
  return text + "    static_configs:\n      - targets: [" + json::quote(options.target) + "]\n";
}

// One message a group of alerts, again after four hours; what follows from a server that is down is not told.
constexpr const char* kAlertmanager =
    "# prometheus-alertmanager --config.file=alertmanager.yml\n"
    "route:\n  receiver: default\n  group_by: [alertname, instance]\n  group_wait: 30s\n  group_interval: 5m\n"
    "  repeat_interval: 4h\n\n"
    "inhibit_rules:\n"
    "  - source_matchers: [alertname =~ \"CairnDown|PostgresDown\"]\n"
    "    target_matchers: [alertname !~ \"CairnDown|PostgresDown\"]\n    equal: [instance]\n\n"
    "receivers:\n  - name: default\n"
    "    # Tell somebody: an address and a mail server, or any program that takes a POST.\n"
    "    # email_configs:\n    #   - {to: oncall@example.com, from: prometheus@example.com, smarthost: "
    "'localhost:25'}\n"
    "    # webhook_configs:\n    #   - url: http://127.0.0.1:8080/alerts\n";

constexpr const char* kDataSource =
    "apiVersion: 1\ndatasources:\n  - name: Prometheus\n    uid: cairn-prometheus\n    type: prometheus\n"
    "    access: proxy\n    url: http://127.0.0.1:9090\n    isDefault: true\n    jsonData:\n      timeInterval: 15s\n";

constexpr const char* kDashboardProvider =
    "apiVersion: 1\nproviders:\n  - name: cairn\n    type: file\n    options:\n"
    "      path: /var/lib/grafana/dashboards\n";

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::vector<File> monitoring_files(const InitOptions& options) {
  std::vector<File> files{{"prometheus.yml", prometheus_yml(options)}, {"alertmanager.yml", kAlertmanager}};
  std::string last;
  for (const Rule& rule : rules()) {
    if (rule.group == last) continue;
    last = rule.group;
    files.push_back({"rules/" + last + ".yml", rule_file(last)});
  }
  files.push_back({"grafana/provisioning/datasources/cairn.yml", kDataSource});
  files.push_back({"grafana/provisioning/dashboards/cairn.yml", kDashboardProvider});
  files.push_back({"grafana/dashboards/cairn.json", dashboard_json()});
  return files;
}

int run_init(const InitOptions& options, std::ostream& out) {
  const fs::path root = options.directory;
  const std::vector<File> files = monitoring_files(options);
  for (const File& file : files) {
    const fs::path path = root / file.path;
    if (fs::exists(path) && contents(path) != file.text)
      throw Error(ErrorCode::kResourceAlreadyExists,
                  path.string() + " is there already, with other contents: move it away, or name another directory");
  }
  for (const File& file : files) {
    const fs::path path = root / file.path;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    std::ofstream to(path, std::ios::binary);
    to << file.text;
    to.close();
    if (!to)
      throw Error(ErrorCode::kInvalidState, "cannot write " + path.string() + ": see its directory's permissions");
    out << path.string() << "\n";
  }
  out << fmt::format(
      "\nThen, in {}:\n  prometheus --config.file=prometheus.yml\n"
      "  prometheus-alertmanager --config.file=alertmanager.yml\n"
      "Grafana: copy grafana/provisioning to /etc/grafana, and grafana/dashboards to /var/lib/grafana.\n",
      options.directory);
  if (options.credentials)
    out << "The server asks for credentials: put a token of its (cairn credentials token) into cairn.token there.\n";
  return 0;
}

}  // namespace cairn::monitor
