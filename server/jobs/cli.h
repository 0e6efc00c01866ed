// `cairn jobs`: the queue from the command line, straight in the database.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "jobs/store.h"

namespace cairn::jobs {

struct JobsOptions {
  enum class Action { kList, kAdd, kShow, kRequeue, kCancel, kWork };
  Action action = Action::kList;
  std::string connection_string;
  bool json = false;

  Listing listing;
  NewJob job;
  std::vector<int64_t> ids;
  Take take;
  std::vector<std::string> command;
  double poll_s = 1;
  bool until_empty = false;
};

// Results go to `out`, what happens meanwhile to `progress`. Returns the exit code; throws Error.
int run_jobs(const JobsOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::jobs
