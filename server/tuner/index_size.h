// How much smaller a B-tree is than the sum of its entries: PostgreSQL stores equal keys once, which hypopg does not
// reckon with.
#pragma once

#include "tuner/catalog.h"
#include "tuner/index_definition.h"

namespace cairn::tuner {

// Between 0 and 1; 1 where keys are not stored once, or nothing is known of them.
double deduplicated_share(const IndexDefinition& index, const Table& table);

}  // namespace cairn::tuner
