#include "kernels/code.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace cairn::core {
namespace {

std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(random);
  return v;
}

bool bit(const std::vector<uint8_t>& bits, size_t i) { return (bits[i / 8] >> (i % 8) & 1) != 0; }

TEST(Code, SignBitsAndSums) {
  for (size_t n : {64, 128, 192, 768, 1536}) {
    const auto r = random_floats(n, 1);
    const auto v = random_floats(n, 2);
    std::vector<uint8_t> bits(n / 8);
    const SignBits sums = sign_bits(r.data(), n, bits.data());
    double l1 = 0, l2 = 0, dot = 0;
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(bit(bits, i), r[i] >= 0) << n << ' ' << i;
      l1 += std::abs(r[i]);
      l2 += r[i] * r[i];
      dot += bit(bits, i) ? v[i] : -v[i];
    }
    EXPECT_NEAR(sums.l1, l1, 1e-3 * l1);
    EXPECT_NEAR(sums.l2, l2, 1e-3 * l2);
    EXPECT_NEAR(signed_sum(v.data(), bits.data(), n), dot, 1e-3 * n);
  }
}

TEST(Code, MaskedSumsAreExact) {
  for (size_t n : {64, 128, 832}) {
    const size_t count = 33, stride = n / 8 + 16;
    std::mt19937 random(3);
    std::vector<uint8_t> codes(count * stride + 8);
    for (uint8_t& c : codes) c = static_cast<uint8_t>(random());
    const auto v = random_floats(n, 4);
    std::vector<int8_t> q(n);
    const Quantized quantized = quantize_byte(v.data(), n, q.data());
    int32_t total = 0;
    for (size_t i = 0; i < n; ++i) {
      total += q[i];
      EXPECT_NEAR(quantized.scale * q[i], v[i], quantized.scale * 0.51);
    }
    EXPECT_EQ(quantized.total, total);
    std::vector<int32_t> sums(count);
    masked_sums(codes.data(), stride, count, q.data(), n, sums.data());
    for (size_t k = 0; k < count; ++k) {
      int32_t expected = 0;
      for (size_t i = 0; i < n; ++i)
        if ((codes[k * stride + i / 8] >> (i % 8) & 1) != 0) expected += q[i];
      EXPECT_EQ(sums[k], expected);
    }
  }
}

TEST(Code, QuantizesZeros) {
  const std::vector<float> v(64, 0.0F);
  std::vector<int8_t> q(64);
  const Quantized quantized = quantize_byte(v.data(), 64, q.data());
  EXPECT_EQ(quantized.total, 0);
  EXPECT_TRUE(std::isfinite(quantized.scale));
  for (int8_t x : q) EXPECT_EQ(x, 0);
}

TEST(Code, HadamardIsOrthonormalAndItsOwnInverse) {
  for (size_t n : {64, 128, 512, 1024}) {
    const auto v = random_floats(n, 5);
    auto w = v;
    hadamard(w.data(), n);
    double before = 0, after = 0, first = 0;
    for (size_t i = 0; i < n; ++i) before += v[i] * v[i], after += w[i] * w[i], first += v[i];
    EXPECT_NEAR(after, before, 1e-3 * before);
    EXPECT_NEAR(w[0], first / std::sqrt(n), 1e-3);
    hadamard(w.data(), n);
    for (size_t i = 0; i < n; ++i) EXPECT_NEAR(w[i], v[i], 1e-4);
  }
}

}  // namespace
}  // namespace cairn::core
