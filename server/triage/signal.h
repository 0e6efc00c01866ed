// `cairn triage cancel` and `terminate`, and POST /api/v1/database/sessions/{pid}/cancel and terminate: a statement
// ended, or a session; each written down before it is done.
//
// Where the database is Cairn's, in its audit log (audit.events). Elsewhere, and where nothing can be written (a
// standby, a full disk), in PostgreSQL's own log: an emergency is no time to make tables in somebody's database.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/task.h"

namespace cairn::triage {

struct SignalOptions {
  std::string connection_string = {};
  bool terminate = false;
  std::vector<int64_t> pids = {};
  bool yes = false;  // else it is only said what would be done
  bool json = false;
  // Only a process that began then (milliseconds since 1970): its number may be another one's by now. 0: any.
  int64_t began_at = 0;
  // Who asks, by HTTP; empty: the role that is connected.
  std::string actor = {};
  std::string request_id = {};
};

// Returns the exit code: 1 where one is still there after some seconds, or nothing was done for want of --yes. Throws
// Error before anything is done when there is no such process.
int run_signal(const SignalOptions& options, std::ostream& out);
// The same on the caller's reactor. `out` must outlive it.
task<int> signal_all(SignalOptions options, std::ostream& out);

}  // namespace cairn::triage
