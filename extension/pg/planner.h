// What an access method tells the planner of a path that it must not take.
#pragma once

#include <limits>

#include "pg/am.h"

namespace cairn::pg {

// Not infinity, of which the planner would make NaN.
inline void refuse_path(IndexPath* path, Cost* startup, Cost* total) {
  *startup = *total = std::numeric_limits<double>::max();
#if PG_VERSION_NUM >= 180000
  path->path.disabled_nodes = 2;  // else enable_seqscan = off would choose it
#else
  (void)path;
#endif
}

}  // namespace cairn::pg
