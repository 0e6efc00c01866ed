// The one-bit code of a vector beside the centroid of its list.
#pragma once

#include <cmath>

#include "am/ivfflat/page.h"
#include "kernels/code.h"

namespace cairn::ivfflat {

// Pure. x and centroid as in Prepared::space; `residual` is memory for layout.space floats; fills code_bytes of `code`.
inline Factors make_code(const Layout& layout, const float* x, const float* centroid, float norm, float* residual,
                         uint8* code) {
  const uint32 n = layout.space;
  for (uint32 i = 0; i < n; ++i) residual[i] = x[i] - centroid[i];
  const core::SignBits sums = core::sign_bits(residual, n, code);
  const float ratio = sums.l1 > 0 ? sums.l2 / sums.l1 : 0;
  // How far r is from ratio * b: none of it is known, and it meets the query's residual in a random direction.
  const float unknown = static_cast<float>(n) * ratio * ratio - sums.l2;
  return {sums.l2, ratio, std::sqrt(std::fmax(unknown, 0.0f) / static_cast<float>(n - 1)), norm};
}

}  // namespace cairn::ivfflat
