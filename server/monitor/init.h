// The files of `cairn monitor init`: what Prometheus, Alertmanager and Grafana need to watch this server.
#pragma once

#include <string>
#include <vector>

namespace cairn::monitor {

struct InitOptions {
  std::string directory;
  std::string target;  // host:port of the server's /metrics
  bool tls = false;
  bool credentials = false;  // the server asks for them: Prometheus reads a token from a file
};

struct File {
  std::string path;  // below the directory
  std::string text;
};

std::vector<File> monitoring_files(const InitOptions& options);
// Grafana's JSON model.
std::string dashboard_json();

}  // namespace cairn::monitor
