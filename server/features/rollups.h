// Rollups: what windows are put together from, kept beside the history of the feature views that ask for it
// (docs/formats/feature-store.md). Writers mark what they touch; here it is worked out.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "db/pool.h"

namespace cairn::features {

struct RolledUp {
  std::string view;
  int64_t buckets = 0;  // that were worked out, of entities and times
};

// Works out what was written to the views with a rollup since the last time, or to one of them; of a view that newly
// asks for one, all. In transactions of a few thousand buckets: no writer or reader waits, several callers take turns,
// and what is broken off is done by the next. `may_go_on` is asked before each. Throws Error(kResourceDoesNotExist)
// where there is no such view, Error(kInvalidParameterValue) where it has no rollup.
task<std::vector<RolledUp>> roll_up(
    db::Pool& pool, std::optional<std::string> view, std::function<bool()> may_go_on = [] { return true; });

// Whether that would do anything. It only reads.
task<bool> has_rollups_due(db::Pool& pool);

}  // namespace cairn::features
