// Months of the history as partitions (docs/formats/feature-store.md).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "db/pool.h"

namespace cairn::features {

struct PartitionPolicy {
  int64_t months_ahead = 3;
  // A month gets a partition of its own when the default partition has so many rows of it. Fewer stay there: a few
  // stray times would make a partition each, and every read looks at all of them.
  int64_t rows_min = 10'000;
  // How long the last step waits for readers and writers, who meanwhile wait behind it; then it steps back.
  std::chrono::milliseconds lock_timeout{200};
};

struct PartitionReport {
  std::vector<std::string> made;  // history_2026_11
  int64_t moved = 0;              // rows that were in the default partition
};

// Makes what is missing (24 months at a time, because readers wait for each), and moves rows out of the default
// partition. Writers and readers go on: they wait at the end, for as long as it takes to copy what was written
// meanwhile. All or nothing, in one transaction. Nothing is made when somebody else is at it, when nothing is missing,
// or when no moment was found in which the tables could be locked: the next call does it.
task<PartitionReport> keep_partitions(db::Pool& pool, PartitionPolicy policy = {});

// Without end: keep_partitions() now and once an hour. What goes wrong is logged.
task<> keep_partitions_always(db::Pool& pool);

}  // namespace cairn::features
