// `cairn monitor` on the terminal.
#pragma once

#include <ostream>
#include <string>

#include "monitor/init.h"

namespace cairn::monitor {

// Prints the figures of the database once, as /metrics would.
int run_metrics(const std::string& connection_string, std::ostream& out);
// Writes the files; what is there already, and is not the same, is left alone: nothing is written then.
int run_init(const InitOptions& options, std::ostream& out);

struct AlertsOptions {
  std::string connection_string;
  bool all = false;
  bool json = false;
};
// The alerts that fire, as the server that watches the database has written them down.
int run_alerts(const AlertsOptions& options, std::ostream& out);

}  // namespace cairn::monitor
