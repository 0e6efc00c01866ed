// `cairn jobs work`: takes jobs one after the other and runs a program for each.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "jobs/store.h"

namespace cairn::jobs {

// A program that exits with this says that trying again is in vain (EX_DATAERR of sysexits.h).
constexpr int kDoNotRetry = 65;

struct WorkOptions {
  Take take;
  std::vector<std::string> command;
  double poll_s = 1;         // between looks at a queue in which nothing is due
  bool until_empty = false;  // end when nothing is due
  // Is told what happens, for people; and gets each job's document when it has ended.
  std::function<void(const std::string&)> say;
  std::function<void(const std::string&)> ended;
};

// Until SIGINT or SIGTERM, after which the job under way is finished; a second signal ends that too.
task<> work(Reactor& reactor, db::Pool& pool, WorkOptions options);

}  // namespace cairn::jobs
