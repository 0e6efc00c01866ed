#include "quantize/code.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "base/testing.h"
#include "kernels/code.h"
#include "quantize/rotation.h"

namespace cairn::core {
namespace {

std::vector<float> random_floats(size_t n, std::mt19937* random) {
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(*random);
  return v;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

TEST(Rotation, KeepsInnerProductsAndSpreadsASingleCoordinate) {
  std::mt19937 random(1);
  for (size_t d : {3, 64, 100, 128, 768, 1536, 1990, 3072}) {
    MallocArena arena;
    Rotation rotation;
    rotation.init(d, 42, &arena);
    const auto a = random_floats(d, &random);
    const auto b = random_floats(d, &random);
    std::vector<float> pa(rotation.padded()), pb(rotation.padded());
    rotation.apply(a.data(), pa.data());
    rotation.apply(b.data(), pb.data());
    EXPECT_NEAR(dot(pa, pb), dot(a, b), 1e-4 * d) << d;
    std::vector<float> unit(d), rotated(rotation.padded());
    unit[0] = 1;
    rotation.apply(unit.data(), rotated.data());
    for (float x : rotated) EXPECT_LT(std::abs(x), 8 / std::sqrt(rotation.padded())) << d;
  }
}

// The mean of many estimates is the distance, their spread is what RaBitQ promises, and both directions agree.
void check_estimates(CodeMetric metric, size_t d, size_t code_dimensions, double spread_limit) {
  std::mt19937 random(7);
  MallocArena arena;
  double error_sum = 0, error_squares = 0;
  const int rounds = 400;
  for (int round = 0; round < rounds; ++round) {
    Rotation rotation;
    rotation.init(d, random(), &arena);
    const auto x = random_floats(d, &random);
    auto y = random_floats(d, &random);
    auto q = random_floats(d, &random);
    for (size_t i = 0; i < d; ++i) y[i] = x[i] + 0.5F * y[i], q[i] = x[i] + 0.5F * q[i];
    std::vector<float> r(d), px(rotation.padded()), py(rotation.padded()), pq(rotation.padded()), pr(rotation.padded());
    for (size_t i = 0; i < d; ++i) r[i] = y[i] - x[i];
    rotation.apply(x.data(), px.data());
    rotation.apply(y.data(), py.data());
    rotation.apply(q.data(), pq.data());
    rotation.apply(r.data(), pr.data());
    std::vector<uint8_t> bits(code_dimensions / 8 + 8);
    std::vector<int8_t> bytes(code_dimensions);
    const EdgeCodes codes = edge_codes(metric, pr.data(), px.data(), code_dimensions, static_cast<float>(dot(r, r)),
                                       static_cast<float>(dot(x, r)), bits.data());
    const QueryCode query = query_code(pq.data(), code_dimensions, bytes.data());
    auto distance = [&](const std::vector<float>& a) {
      if (metric == CodeMetric::inner_product) return -dot(q, a);
      double sum = 0;
      for (size_t i = 0; i < d; ++i) sum += (q[i] - a[i]) * (q[i] - a[i]);
      return sum;
    };
    int32_t sum;
    masked_sums(bits.data(), bits.size(), 1, bytes.data(), code_dimensions, &sum);
    const double forward = distance(x) + codes.forward.add + codes.forward.scale * query.dot(sum);
    for (uint8_t& b : bits) b = static_cast<uint8_t>(~b);
    masked_sums(bits.data(), bits.size(), 1, bytes.data(), code_dimensions, &sum);
    const double backward = distance(y) + codes.backward.add + codes.backward.scale * query.dot(sum);
    const double unit = std::sqrt(dot(r, r)) * 0.5 * std::sqrt(d);
    error_sum += (forward - distance(y)) / unit;
    error_squares += std::pow((forward - distance(y)) / unit, 2) / 2 + std::pow((backward - distance(x)) / unit, 2) / 2;
  }
  const double spread = std::sqrt(error_squares / rounds);
  EXPECT_LT(spread, spread_limit);
  EXPECT_LT(std::abs(error_sum / rounds), 4 * spread / std::sqrt(rounds));
}

TEST(Code, EstimatesAreUnbiased) {
  check_estimates(CodeMetric::l2, 128, 128, 0.20);
  check_estimates(CodeMetric::l2, 768, 768, 0.09);
  check_estimates(CodeMetric::inner_product, 768, 768, 0.05);
  check_estimates(CodeMetric::l2, 3072, 1536, 0.10);
}

}  // namespace
}  // namespace cairn::core
