// The kernels against plain loops in double, on every instruction set that this machine has.
#include "kernels/distance.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/half.h"

namespace cairn::core {
namespace {

// Every length around the widths of vectors and of their unrolled loops, and the usual dimensions.
std::vector<size_t> lengths() {
  std::vector<size_t> all;
  for (size_t n = 0; n <= 200; n++) all.push_back(n);
  for (size_t n : {384, 767, 768, 1000, 1536, 2000, 3072, 4097, 16000}) all.push_back(n);
  return all;
}

// One element into a block, so that nothing is aligned, and in a block that ends with the last element, so that ASan
// sees a read beyond.
template <typename T>
class Unaligned {
 public:
  template <typename Make>
  Unaligned(size_t n, Make make) : elements_(n + 1) {
    for (size_t i = 0; i < n; i++) elements_[i + 1] = make();
  }
  const T* data() const { return elements_.data() + 1; }
  const T& operator[](size_t i) const { return elements_[i + 1]; }

 private:
  std::vector<T> elements_;
};

struct Sums {
  double l2 = 0, dot = 0, l1 = 0, a = 0, b = 0, magnitude = 0;
};

template <typename A, typename Get>
Sums plain(const A& a, const A& b, size_t n, Get get) {
  Sums sums;
  for (size_t i = 0; i < n; i++) {
    const double x = get(a[i]), y = get(b[i]);
    sums.l2 += (x - y) * (x - y);
    sums.dot += x * y;
    sums.l1 += std::abs(x - y);
    sums.a += x * x;
    sums.b += y * y;
    sums.magnitude += std::abs(x * y);
  }
  return sums;
}

void expect_close(double found, double expected, double magnitude, size_t n) {
  const double relative = 1e-6 + 1e-9 * static_cast<double>(n);  // fp32 rounds at every step
  EXPECT_NEAR(found, expected, relative * magnitude) << "at length " << n;
}

// Each test runs once for every instruction set of this machine, and plain.
class Distance : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { choose_distance_targets(GetParam()); }
  void TearDown() override { choose_distance_targets(hwy::SupportedTargets()); }
};

std::vector<int64_t> supported() {
  std::vector<int64_t> targets;
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) targets.push_back(rest & -rest);
  return targets;
}
std::string name_of(const testing::TestParamInfo<int64_t>& info) { return hwy::TargetName(info.param); }
INSTANTIATE_TEST_SUITE_P(Targets, Distance, testing::ValuesIn(supported()), name_of);

TEST_P(Distance, FloatsOfEveryLength) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (size_t n : lengths()) {
    const Unaligned<float> a(n, [&] { return normal(random); }), b(n, [&] { return normal(random); });
    const Sums sums = plain(a, b, n, [](float x) { return x; });
    expect_close(l2_squared(a.data(), b.data(), n), sums.l2, sums.l2, n);
    expect_close(inner_product(a.data(), b.data(), n), sums.dot, sums.magnitude, n);
    expect_close(l1(a.data(), b.data(), n), sums.l1, sums.l1, n);
    const CosineParts parts = cosine_parts(a.data(), b.data(), n);
    expect_close(parts.dot, sums.dot, sums.magnitude, n);
    expect_close(parts.norm_a, sums.a, sums.a, n);
    expect_close(parts.norm_b, sums.b, sums.b, n);
    EXPECT_NEAR(squared_norm(a.data(), n), sums.a, 1e-12 * sums.a) << n;
  }
}

TEST_P(Distance, HalvesOfEveryLength) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  const auto make = [&] { return float_to_half(normal(random)); };
  for (size_t n : lengths()) {
    const Unaligned<uint16_t> a(n, make), b(n, make);
    const Sums sums = plain(a, b, n, [](uint16_t x) { return half_to_float(x); });
    expect_close(l2_squared_half(a.data(), b.data(), n), sums.l2, sums.l2, n);
    expect_close(inner_product_half(a.data(), b.data(), n), sums.dot, sums.magnitude, n);
    expect_close(l1_half(a.data(), b.data(), n), sums.l1, sums.l1, n);
    const CosineParts parts = cosine_parts_half(a.data(), b.data(), n);
    expect_close(parts.dot, sums.dot, sums.magnitude, n);
    expect_close(parts.norm_a, sums.a, sums.a, n);
    expect_close(parts.norm_b, sums.b, sums.b, n);
    EXPECT_NEAR(squared_norm_half(a.data(), n), sums.a, 1e-12 * sums.a) << n;
  }
}

TEST_P(Distance, OverflowGivesInfinity) {
  const std::vector<float> big(100, 3e38f), small(100, -3e38f);
  EXPECT_EQ(l2_squared(big.data(), small.data(), 100), std::numeric_limits<float>::infinity());
  EXPECT_EQ(inner_product(big.data(), small.data(), 100), -std::numeric_limits<float>::infinity());
}

TEST_P(Distance, BitsOfEveryLength) {
  std::mt19937 random(3);
  const auto make = [&] { return static_cast<uint8_t>(random()); };
  for (size_t n : lengths()) {
    const Unaligned<uint8_t> a(n, make), b(n, make);
    uint64_t differing = 0, both = 0, in_a = 0, in_b = 0;
    for (size_t i = 0; i < n; i++) {
      differing += std::popcount(static_cast<uint8_t>(a[i] ^ b[i]));
      both += std::popcount(static_cast<uint8_t>(a[i] & b[i]));
      in_a += std::popcount(a[i]);
      in_b += std::popcount(b[i]);
    }
    EXPECT_EQ(hamming(a.data(), b.data(), n), differing) << n;
    const JaccardParts parts = jaccard_parts(a.data(), b.data(), n);
    EXPECT_EQ(parts.both, both) << n;
    EXPECT_EQ(parts.a, in_a) << n;
    EXPECT_EQ(parts.b, in_b) << n;
  }
}

// The value of a half by its definition.
double defined(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const double mantissa = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST_P(Distance, EveryHalfBecomesItsFloatAndComesBack) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); i++) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> floats(halves.size());
  half_to_float(halves.data(), floats.data(), halves.size());
  std::vector<uint16_t> back(halves.size());
  float_to_half(floats.data(), back.data(), back.size());
  for (size_t i = 0; i < halves.size(); i++) {
    const uint16_t half = halves[i];
    EXPECT_EQ(std::signbit(floats[i]), half >= 0x8000);
    if ((half & 0x7FFF) > 0x7C00) {
      EXPECT_TRUE(std::isnan(floats[i]) && std::isnan(half_to_float(half)));
      EXPECT_GT(back[i] & 0x7FFF, 0x7C00);
      EXPECT_GT(float_to_half(floats[i]) & 0x7FFF, 0x7C00);
      continue;
    }
    if ((half & 0x7FFF) == 0x7C00) {
      EXPECT_TRUE(std::isinf(floats[i]));
    } else {
      EXPECT_EQ(floats[i], defined(half));
    }
    EXPECT_EQ(floats[i], half_to_float(half));
    EXPECT_EQ(back[i], half);
    EXPECT_EQ(float_to_half(floats[i]), half);
  }
}

TEST_P(Distance, HalfRoundsToNearestTiesToEven) {
  std::vector<float> floats;
  std::vector<uint16_t> expected;
  for (uint16_t half = 0; half < 0x7C00; half++) {
    const double low = defined(half), high = half == 0x7BFF ? 65536 : defined(half + 1);
    const float middle = static_cast<float>((low + high) / 2);  // exact
    const uint16_t above = half + 1;
    floats.insert(floats.end(), {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 1e6f), -middle});
    const uint16_t even = half & 1 ? above : half;
    expected.insert(expected.end(), {half, even, above, static_cast<uint16_t>(even | 0x8000)});
  }
  floats.insert(floats.end(), {1e-30f, -1e-40f, 3e38f, -3e38f});
  expected.insert(expected.end(), {0, 0x8000, 0x7C00, 0xFC00});
  std::vector<uint16_t> found(floats.size());
  float_to_half(floats.data(), found.data(), found.size());
  for (size_t i = 0; i < floats.size(); i++) {
    EXPECT_EQ(found[i], expected[i]) << floats[i];
    EXPECT_EQ(float_to_half(floats[i]), expected[i]) << floats[i];
  }
}

}  // namespace
}  // namespace cairn::core
