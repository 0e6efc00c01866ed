// `cairn tune guard`: the file of guard.h written and checked against a database.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tuner/guard/guard.h"

namespace cairn::tuner {

struct GuardedText {
  std::string name;
  std::string text;
};

struct GuardOptions {
  std::string connection_string = {};
  std::string file = "cairn-guard.json";
  std::vector<GuardedText> statements = {};
  // Not only planned: run in read-only transactions that are rolled back, so often, after a round that counts for
  // nothing.
  bool run = false;
  int rounds = 5;
  int timeout_s = 60;
  GuardLimits limits = {};
  bool json = false;
};

// Both return the exit code; check gives 1 when a statement is worse or can no longer be planned.
int run_guard_save(const GuardOptions& options, std::ostream& out);
int run_guard_check(const GuardOptions& options, std::ostream& out);

}  // namespace cairn::tuner
