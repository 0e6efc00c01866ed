// `cairn tune advise`.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "tuner/advise/advise.h"

namespace cairn::tuner {

struct AdviseOptions {
  std::string connection_string;
  std::string state_directory;
  std::vector<std::string> files;  // SQL; none: what pg_stat_statements counted
  std::string since;               // a snapshot: only what was counted after it
  int top = 500;                   // statements with the most time
  std::string log;                 // the server's, on this machine; empty: it is read through the server
  std::optional<double> budget_mb;
  AdviceLimits limits;
  bool json = false;
};

// The advice goes to `out`, and into a file of its own below the state directory. Returns the exit code; throws Error.
int run_advise(const AdviseOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
