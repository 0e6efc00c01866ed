// Sizes of indexes that are not there. Of a B-tree: how much smaller it is than the sum of its entries, for PostgreSQL
// stores equal keys once, which hypopg does not reckon with. Of what hypopg does not know: from the column's
// statistics.
#pragma once

#include <cstdint>
#include <string>

#include "tuner/catalog/catalog.h"
#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

// Between 0 and 1; 1 where keys are not stored once, or nothing is known of them.
double deduplicated_share(const IndexDefinition& index, const Table& table);

struct EstimatedSize {
  int64_t bytes = 0;
  std::string how = {};  // "40000 rows with 5.9 elements each"
};
// Of a GIN, GiST, hash, HNSW or IVFFlat index over one column: within a factor of two, about.
EstimatedSize estimated_size(const IndexDefinition& index, const Table& table, const Catalog& catalog);

}  // namespace cairn::tuner
