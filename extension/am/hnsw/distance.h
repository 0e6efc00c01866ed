// Distances between vectors as the index holds them: core's kernels behind core::DistanceFunction.
#pragma once

#include "am/hnsw/hnsw.h"

namespace cairn::hnsw {

// Null where the element type has no such metric. Cosine is of vectors of length one.
core::DistanceFunction distance_function(Element element, Metric metric);

// A sparse payload: the number of elements, their indices, their values.
struct SparsePayload {
  int32_t count;
  int32_t indices[];

  const float* values() const { return reinterpret_cast<const float*>(indices + count); }
};

}  // namespace cairn::hnsw
