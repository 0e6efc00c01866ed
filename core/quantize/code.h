// One-bit codes of graph edges. An edge from x to its neighbour y holds the signs b of the first coordinates of the
// rotated difference r = P(y - x), and two factors, such that for a query q
//     estimate of distance(q, y) = distance(q, x) + add + scale * <Pq, b>
// is unbiased: <P(q - x), r> is estimated by |r|^2 / |r|_1 * (<Pq, b> - <Px, b>), where |r|_1 is taken over the coded
// coordinates (RaBitQ, SIGMOD 2024, section 3.2; the query's part taken out of the sum as in SymphonyQG, SIGMOD 2025,
// section 3.1). Fewer coded coordinates than dimensions are a random projection: noisier, still unbiased.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::core {

enum class CodeMetric : uint8_t {
  l2,             // the square of the Euclidean distance
  inner_product,  // minus the inner product
};

struct CodeFactors {
  float add;
  float scale;
};

struct EdgeCodes {
  CodeFactors forward;   // of the edge from x to y, whose bits are `bits`
  CodeFactors backward;  // of the edge from y to x, whose bits are the complement
};

// r = P(y - x) and px = Px; `code_dimensions` (a multiple of 64) of them are coded into `bits`. `length_squared` is |y
// - x|^2 and x_dot_r is <x, y - x> (read only for inner_product).
EdgeCodes edge_codes(CodeMetric metric, const float* r, const float* px, size_t code_dimensions, float length_squared,
                     float x_dot_r, uint8_t* bits) noexcept;

// A query's side: bytes for the kernel, and what turns its sums into <Pq, b>.
struct QueryCode {
  const int8_t* bytes;  // quantize_byte of Pq
  float scale;
  float total;

  float dot(int32_t masked_sum) const { return scale * (2 * static_cast<float>(masked_sum) - total); }
};

// Fills `bytes` (code_dimensions of them) and keeps the pointer.
QueryCode query_code(const float* pq, size_t code_dimensions, int8_t* bytes) noexcept;

}  // namespace cairn::core
