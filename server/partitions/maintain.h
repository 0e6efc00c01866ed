#pragma once

#include <string>
#include <vector>

#include "partitions/journal.h"

namespace cairn::partitions {

struct MaintainReport {
  std::string table = {};
  bool dry_run = false;
  std::vector<std::string> made = {};
  std::vector<std::string> detached = {};
  int64_t moved = 0;       // rows, out of the default partition
  int64_t in_default = 0;  // rows that stay in it
  bool failed = false;     // with the last of the problems
  std::vector<std::string> problems = {};
};

task<MaintainReport> maintain(Session& session, Managed table, bool dry_run);

// A table that may become a partition. In the caller's transaction.
task<> make_partition_table(Session& session, const Managed& table, std::string name);

}  // namespace cairn::partitions
