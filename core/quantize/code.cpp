#include "quantize/code.h"

#include "kernels/code.h"

namespace cairn::core {

EdgeCodes edge_codes(CodeMetric metric, const float* r, const float* px, size_t code_dimensions, float length_squared,
                     float x_dot_r, uint8_t* bits) noexcept {
  const float l1 = sign_bits(r, code_dimensions, bits).l1;
  const float ratio = l1 > 0 ? length_squared / l1 : 0;
  const float forward_sum = signed_sum(px, bits, code_dimensions);
  // <Py, -b> = -(<Px, b> + <r, b>)
  const float backward_sum = -forward_sum - l1;
  if (metric == CodeMetric::inner_product) {
    const float add = ratio * forward_sum - x_dot_r;
    return {{add, -ratio}, {ratio * backward_sum + x_dot_r + length_squared, -ratio}};
  }
  return {{length_squared + 2 * ratio * forward_sum, -2 * ratio},
          {length_squared + 2 * ratio * backward_sum, -2 * ratio}};
}

QueryCode query_code(const float* pq, size_t code_dimensions, int8_t* bytes) noexcept {
  const Quantized quantized = quantize_byte(pq, code_dimensions, bytes);
  return {bytes, quantized.scale, static_cast<float>(quantized.total)};
}

}  // namespace cairn::core
