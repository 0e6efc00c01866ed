// The cosine distance from its parts.
#pragma once

#include "kernels/distance.h"
#include "pg/pg.h"

namespace cairn {

// A NaN passes: the distance to a zero vector is one.
inline double clamp_cosine(double similarity) {
  if (similarity > 1) return 1;
  if (similarity < -1) return -1;
  return similarity;
}

inline double cosine_distance_of(const core::CosineParts& parts) {
  const double norms = sqrt(static_cast<double>(parts.norm_a) * static_cast<double>(parts.norm_b));
  return 1 - clamp_cosine(static_cast<double>(parts.dot) / norms);
}

}  // namespace cairn
