// `cairn tune apply`, `status` and `undo`.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "tuner/apply/apply.h"

namespace cairn::tuner {

struct StatusOptions {
  std::string connection_string = {};
  bool finish = false;  // what a killed apply or undo left
  bool remove = false;
  double wait_s = 60;
  bool json = false;
};

struct UndoOptions {
  std::string connection_string = {};
  std::vector<int64_t> changes = {};  // ids of the journal
  bool last = false;                  // all of the last apply
  bool all = false;
  double wait_s = 60;
  bool json = false;
};

// The report goes to `out`. They return the exit code: 1 where a change failed; throw Error.
int run_apply(const ApplyOptions& options, bool json, std::ostream& out, std::ostream& progress);
int run_status(const StatusOptions& options, std::ostream& out, std::ostream& progress);
int run_undo(const UndoOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
