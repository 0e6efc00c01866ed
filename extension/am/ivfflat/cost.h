// The access method's callback that estimates what a scan costs.
#pragma once

#include "pg/am.h"

namespace cairn::ivfflat {

void estimate_cost(PlannerInfo* root, IndexPath* path, double loops, Cost* startup, Cost* total,
                   Selectivity* selectivity, double* correlation, double* pages);

}  // namespace cairn::ivfflat
