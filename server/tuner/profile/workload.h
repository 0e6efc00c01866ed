// The statements that an advice is for, and how often they run.
#pragma once

#include <string>
#include <vector>

#include "base/reactor.h"
#include "tuner/advise/advice.h"

namespace cairn::tuner {

struct Workload {
  std::vector<AdviceStatement> statements;
  std::vector<std::string> notes;  // what could not be read
};

struct CountedOptions {
  std::string connection_string = {};
  std::string state_directory = {};
  std::string since = {};  // the name of a snapshot: only what was counted after it
  int top = 500;           // statements with the most time that can be planned
  std::string log = {};    // as for read_logged()
};

// What pg_stat_statements counted, with constants from the server's log.
Workload counted_workload(Reactor& reactor, const CountedOptions& options);

// Each statement counts as often as its text is there. Throws Error where a file is no SQL.
Workload workload_of_files(const std::vector<std::string>& paths);

}  // namespace cairn::tuner
