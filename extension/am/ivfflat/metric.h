// Types and metrics of ivfflat: what an operator class means, a value as the index stores it, and distances.
//
// One geometry serves all metrics but Hamming's. For inner product and cosine, values are scaled to length 1 before
// they meet centroids and codes: the list that is nearest by angle is then the nearest by Euclid, and an inner product
// follows from the distance, <x, q> = |x| |q| (1 - d^2 / 2).
#pragma once

#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

// What support function 5 of an operator class returns; classes without one are for `vector`.
struct TypeSupport {
  VectorType type;
  int dimensions_max;
};

constexpr int kDistanceProc = 1;
constexpr int kNormProc = 2;
constexpr int kTypeProc = 5;
constexpr int kProcs = 5;

const TypeSupport* type_support(Relation index);
// From the address of the class's distance function; with a norm function, inner product means cosine.
Metric metric_of(Relation index);

// The content of a datum, detoasted, and its number of dimensions.
struct Value {
  const char* data;
  uint32 dimensions;
};
Value value_of(VectorType type, Datum datum);
// ERROR as the type's operators raise it when the dimensions are not the index's.
void check_dimensions(const Layout& layout, uint32 dimensions);

// A value as the index needs it. The caller gives the memory: data of payload_bytes, space of centroid_bytes.
struct Prepared {
  char* data;    // as it is stored
  float* space;  // where lists and codes are compared (bit: the bits, padded)
  float norm;    // what `space` was divided by, where the metric is inner product or cosine; else 1
};

// From `value`, which has the index's dimensions. False for a zero vector and cosine, which is not indexed (data and
// space are zero then). Pure: threads call it. `scratch` has layout.space floats.
bool prepare(const Layout& layout, Metric metric, const core::Rotation* rotation, const char* value, float* scratch,
             Prepared* out);

// The exact distance between stored data, in the order of the operator: the square for L2, minus the product for inner
// product and cosine.
float stored_distance(const Layout& layout, Metric metric, const char* a, const char* b);

}  // namespace cairn::ivfflat
