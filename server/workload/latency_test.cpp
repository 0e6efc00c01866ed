#include "workload/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace cairn::workload {
namespace {

TEST(Latencies, PercentilesAreWithinABucketOfTheTrueOnes) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> distribution(7, 2);
  std::vector<uint64_t> values;
  Latencies first, second;
  for (int i = 0; i < 20000; ++i) {
    values.push_back(static_cast<uint64_t>(distribution(random)));
    (i % 2 == 0 ? first : second).add(values.back());
  }
  first.merge(second);
  std::sort(values.begin(), values.end());
  for (const double percent : {0.1, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto rank = static_cast<size_t>(std::ceil(static_cast<double>(values.size()) * percent / 100));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto found = static_cast<double>(first.percentile_us(percent));
    EXPECT_GE(found, exact) << percent;
    EXPECT_LE(found, exact * 1.016 + 1) << percent;
  }
  EXPECT_EQ(first.percentile_us(100), values.back());
  EXPECT_EQ(first.count(), values.size());
}

TEST(Latencies, HoldsTheExtremes) {
  Latencies latencies;
  EXPECT_EQ(latencies.percentile_us(99), 0u);
  latencies.add(0);
  latencies.add(UINT64_MAX);
  EXPECT_EQ(latencies.percentile_us(50), 0u);
  EXPECT_EQ(latencies.percentile_us(100), UINT64_MAX);
}

}  // namespace
}  // namespace cairn::workload
