#include "kernels/nearest.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/nearest.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cairn::core::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;

constexpr size_t kRows = 4;  // vectors and
constexpr size_t kColumns =
    2;  // centroids of a tile: eight sums stay in registers, each value loaded serves two or four of them

// Squares of the distances of four vectors to two centroids. (x - c)^2, not |c|^2 - 2 <x, c>, which loses the small
// differences of data that lies far from the origin.
HWY_INLINE void tile(const float* const* HWY_RESTRICT x, const float* const* HWY_RESTRICT c, size_t n,
                     float (*out)[kColumns]) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  auto s00 = hn::Zero(d), s01 = hn::Zero(d), s10 = hn::Zero(d), s11 = hn::Zero(d);
  auto s20 = hn::Zero(d), s21 = hn::Zero(d), s30 = hn::Zero(d), s31 = hn::Zero(d);
  for (size_t i = 0; i < n; i += lanes) {
    const auto c0 = hn::LoadU(d, c[0] + i), c1 = hn::LoadU(d, c[1] + i);
    auto v = hn::LoadU(d, x[0] + i);
    auto a = hn::Sub(v, c0), b = hn::Sub(v, c1);
    s00 = hn::MulAdd(a, a, s00), s01 = hn::MulAdd(b, b, s01);
    v = hn::LoadU(d, x[1] + i);
    a = hn::Sub(v, c0), b = hn::Sub(v, c1);
    s10 = hn::MulAdd(a, a, s10), s11 = hn::MulAdd(b, b, s11);
    v = hn::LoadU(d, x[2] + i);
    a = hn::Sub(v, c0), b = hn::Sub(v, c1);
    s20 = hn::MulAdd(a, a, s20), s21 = hn::MulAdd(b, b, s21);
    v = hn::LoadU(d, x[3] + i);
    a = hn::Sub(v, c0), b = hn::Sub(v, c1);
    s30 = hn::MulAdd(a, a, s30), s31 = hn::MulAdd(b, b, s31);
  }
  out[0][0] = hn::GetLane(hn::SumOfLanes(d, s00)), out[0][1] = hn::GetLane(hn::SumOfLanes(d, s01));
  out[1][0] = hn::GetLane(hn::SumOfLanes(d, s10)), out[1][1] = hn::GetLane(hn::SumOfLanes(d, s11));
  out[2][0] = hn::GetLane(hn::SumOfLanes(d, s20)), out[2][1] = hn::GetLane(hn::SumOfLanes(d, s21));
  out[3][0] = hn::GetLane(hn::SumOfLanes(d, s30)), out[3][1] = hn::GetLane(hn::SumOfLanes(d, s31));
}

void NearestCentroids(const float* HWY_RESTRICT x, size_t stride, size_t count, const float* HWY_RESTRICT centroids,
                      size_t lists, size_t n, uint32_t* HWY_RESTRICT nearest, float* HWY_RESTRICT distance) {
  for (size_t i = 0; i < count; ++i) {
    nearest[i] = 0;
    distance[i] = std::numeric_limits<float>::infinity();
  }
  // So many centroids at once stay in the second-level cache while the vectors pass.
  const size_t block = std::max<size_t>(kColumns, (256 * 1024 / sizeof(float)) / n / kColumns * kColumns);
  for (size_t first = 0; first < lists; first += block) {
    const size_t last = std::min(first + block, lists);
    for (size_t row = 0; row < count; row += kRows) {
      const float* rows[kRows];
      // The last row or column is taken again where the tile is not full.
      for (size_t i = 0; i < kRows; ++i) rows[i] = x + std::min(row + i, count - 1) * stride;
      for (size_t column = first; column < last; column += kColumns) {
        const float* columns[kColumns] = {centroids + column * n, centroids + std::min(column + 1, last - 1) * n};
        float out[kRows][kColumns];
        tile(rows, columns, n, out);
        for (size_t i = 0; i < std::min(kRows, count - row); ++i)
          for (size_t j = 0; j < std::min(kColumns, last - column); ++j)
            if (out[i][j] < distance[row + i]) {
              distance[row + i] = out[i][j];
              nearest[row + i] = static_cast<uint32_t>(column + j);
            }
      }
    }
  }
}

}  // namespace cairn::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cairn::core {

HWY_EXPORT(NearestCentroids);

void nearest_centroids(const float* x, size_t stride, size_t count, const float* centroids, size_t lists, size_t n,
                       uint32_t* nearest, float* distance) noexcept {
  HWY_DYNAMIC_DISPATCH(NearestCentroids)(x, stride, count, centroids, lists, n, nearest, distance);
}

}  // namespace cairn::core
#endif
