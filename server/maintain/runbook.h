// `cairn runbook`: procedures, each step of which looks by itself, says what it found and what to do next. It changes
// nothing.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace cairn::maintain {

struct RunbookOptions {
  std::string connection_string = {};
  std::string name = {};     // empty: they are listed
  std::string queryid = {};  // slow-query: this statement, as pg_stat_statements numbers it
  bool json = false;
};

struct RunbookStep {
  std::string title = {};
  std::vector<std::string> found = {};
  std::vector<std::string> next = {};  // commands, or what to do
};

struct Runbook {
  std::string name = {};
  std::string when = {};  // to use it
};
const std::vector<Runbook>& runbooks();

// Returns the exit code. Throws Error(kResourceDoesNotExist) for a name that there is none of.
int run_runbook(const RunbookOptions& options, std::ostream& out);

}  // namespace cairn::maintain
