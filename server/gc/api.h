// `cairn gc`: removes for good what was deleted long enough ago: runs, logged models, experiments, and their artifacts.
//
// Invariants
//   * A thing's artifacts go before its row does, so whatever interrupts it, the next run finds the row and finishes.
//   * What a model version was made from is kept, with its artifacts.
//   * Rows are locked from the check until they are gone: nothing is restored in between.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>

#include "artifacts/api.h"
#include "db/pool.h"

namespace cairn::gc {

struct Options {
  std::chrono::milliseconds older_than{0};
  // Only say what would be removed.
  bool dry_run = false;
  bool json = false;
};

// An age as "30d", "12h" or "1d12h30m15s". Throws Error(kInvalidParameterValue).
std::chrono::milliseconds parse_age(const std::string& text);

// Prints the summary to `out`, progress to `progress`. Returns the exit code: 1 when artifacts could not be removed,
// and what they belong to was therefore kept.
task<int> collect(db::Pool& pool, artifacts::ArtifactStore& store, Options options, std::ostream& out,
                  std::ostream& progress);

}  // namespace cairn::gc
