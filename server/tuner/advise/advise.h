// A set of indexes for a workload: proposed from its statements, tried in hypothesis, chosen within a budget. Reads
// only; what may not be read or tried is a note.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "tuner/advise/advice.h"

namespace cairn::tuner {

struct AdviceLimits {
  std::optional<int64_t> bytes_max = {};
  std::optional<double> write_percent_max = {};  // how much longer writes may take
  double seconds_max = 30;
  int calls_max = 100000;
  bool allow_extension = false;
  // Of one core of the server, for planning. Where the planner is asked elsewhere, on a clone, there is no limit.
  double cpu_percent_max = 50;
  std::string planner = {};  // the clone's connection string; empty: the database itself
};

// `workload`: statements of SELECT, INSERT, UPDATE, DELETE or MERGE, with placeholders or without.
Advice advise(Reactor& reactor, const std::string& connection_string, std::vector<AdviceStatement> workload,
              const AdviceLimits& limits);

}  // namespace cairn::tuner
