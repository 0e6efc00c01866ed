#include "quantize/kmeans.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <random>
#include <set>
#include <vector>

#include "base/testing.h"
#include "kernels/distance.h"
#include "kernels/nearest.h"

namespace cairn::core {
namespace {

constexpr size_t kDimensions = 48;

// `per_cluster` points around each of `clusters` places, in the order of the clusters.
std::vector<float> clustered(size_t clusters, size_t per_cluster, float far_away = 0) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> points, center(kDimensions);
  for (size_t c = 0; c < clusters; ++c) {
    for (float& x : center) x = far_away + 10 * normal(random);
    for (size_t i = 0; i < per_cluster; ++i)
      for (float x : center) points.push_back(x + normal(random));
  }
  return points;
}

std::vector<float> run(const std::vector<float>& points, size_t lists, const Workers& workers, bool spherical = false) {
  MallocArena arena;
  KmeansOptions options{.dimensions = kDimensions, .lists = lists, .spherical = spherical};
  std::vector<float> centroids(lists * kDimensions);
  const size_t count = points.size() / kDimensions;
  kmeans(points.data(), count, options, workers, &arena, centroids.data());
  EXPECT_LE(arena.used, kmeans_memory(count, options));
  return centroids;
}

double mean_distance(const std::vector<float>& points, const std::vector<float>& centroids) {
  const size_t count = points.size() / kDimensions;
  std::vector<uint32_t> nearest(count);
  std::vector<float> distance(count);
  nearest_centroids(points.data(), kDimensions, count, centroids.data(), centroids.size() / kDimensions, kDimensions,
                    nearest.data(), distance.data());
  double sum = 0;
  for (float d : distance) sum += d;
  return sum / static_cast<double>(count);
}

TEST(Nearest, IsTheBruteForcesAnswerForEveryShapeOfTile) {
  const auto points = clustered(11, 3);
  for (size_t count : {1, 2, 3, 4, 5, 33})
    for (size_t lists : {1, 2, 3, 8, 11}) {
      std::vector<uint32_t> nearest(count);
      std::vector<float> distance(count);
      nearest_centroids(points.data(), kDimensions, count, points.data() + kDimensions, lists, kDimensions,
                        nearest.data(), distance.data());
      for (size_t i = 0; i < count; ++i) {
        float best = INFINITY;
        for (size_t c = 0; c < lists; ++c)
          best = std::min(best, l2_squared(&points[i * kDimensions], &points[(c + 1) * kDimensions], kDimensions));
        EXPECT_NEAR(distance[i], best, 1e-3f * best);
        EXPECT_NEAR(l2_squared(&points[i * kDimensions], &points[(nearest[i] + 1) * kDimensions], kDimensions), best,
                    1e-3f * best);
      }
    }
}

TEST(Kmeans, FindsClusters) {
  const auto points = clustered(20, 200);
  // As good as the true centres would be, or nearly: one cluster missed would cost 50 times as much.
  EXPECT_LT(mean_distance(points, run(points, 20, {})), 1.6 * kDimensions);
}

TEST(Kmeans, FindsClustersFarFromTheOrigin) {
  const auto points = clustered(20, 200, 1e4f);
  EXPECT_LT(mean_distance(points, run(points, 20, {})), 1.6 * kDimensions);
}

TEST(Kmeans, IsTheSameForAnyNumberOfThreads) {
  const auto points = clustered(30, 300);
  EXPECT_EQ(run(points, 25, {}), run(points, 25, {.threads = 4}));
}

TEST(Kmeans, GivesUnitCentroidsWhenSpherical) {
  auto points = clustered(20, 100);
  for (size_t i = 0; i < points.size(); i += kDimensions) {
    const float norm = std::sqrt(inner_product(&points[i], &points[i], kDimensions));
    for (size_t j = 0; j < kDimensions; ++j) points[i + j] /= norm;
  }
  for (size_t lists : {10, 3000}) {  // also where most centroids are random
    const auto centroids = run(points, lists, {}, true);
    for (size_t i = 0; i < centroids.size(); i += kDimensions)
      EXPECT_NEAR(inner_product(&centroids[i], &centroids[i], kDimensions), 1, 1e-4);
  }
}

TEST(Kmeans, LeavesNoListEmptyWhereThereAreEnoughPoints) {
  const auto points = clustered(2, 1000);
  const auto centroids = run(points, 50, {});
  std::vector<uint32_t> nearest(2000);
  std::vector<float> distance(2000);
  nearest_centroids(points.data(), kDimensions, 2000, centroids.data(), 50, kDimensions, nearest.data(),
                    distance.data());
  EXPECT_GE(std::set<uint32_t>(nearest.begin(), nearest.end()).size(), 49u);
}

TEST(Kmeans, TakesNoSamplesFewSamplesAndCopies) {
  for (float x : run({}, 5, {})) EXPECT_TRUE(std::isfinite(x));
  const auto points = clustered(1, 3);
  const auto few = run(points, 5, {});
  EXPECT_NEAR(mean_distance(points, few), 0, 1e-6);
  std::vector<float> copies;
  for (int i = 0; i < 500; ++i) copies.insert(copies.end(), points.begin(), points.begin() + kDimensions);
  const auto centroids = run(copies, 10, {});
  for (float x : centroids) EXPECT_TRUE(std::isfinite(x));
  EXPECT_LT(mean_distance(copies, centroids), 1e-2);
}

TEST(Kmeans, FindsClustersOfBits) {
  std::mt19937 random(3);
  constexpr size_t kBytes = 24, kClusters = 8, kEach = 100;
  std::vector<uint8_t> points;
  for (size_t c = 0; c < kClusters; ++c) {
    std::vector<uint8_t> center(kBytes);
    for (auto& byte : center) byte = static_cast<uint8_t>(random());
    for (size_t i = 0; i < kEach; ++i) {
      points.insert(points.end(), center.begin(), center.end());
      for (int flip = 0; flip < 8; ++flip)
        points[points.size() - kBytes + random() % kBytes] ^= static_cast<uint8_t>(1 << random() % 8);
    }
  }
  MallocArena arena;
  std::vector<uint8_t> centroids(kClusters * kBytes);
  kmeans_bits(points.data(), kClusters * kEach, {.dimensions = kBytes, .lists = kClusters}, {}, &arena,
              centroids.data());
  uint64_t sum = 0;
  for (size_t i = 0; i < kClusters * kEach; ++i) {
    uint64_t best = ~0ull;
    for (size_t c = 0; c < kClusters; ++c)
      best = std::min(best, hamming(&points[i * kBytes], &centroids[c * kBytes], kBytes));
    sum += best;
  }
  EXPECT_LT(sum, 8 * kClusters * kEach + kClusters * kEach);  // eight bits were flipped in each
}

std::atomic<int> asked, checked;

TEST(ParallelFor, DoesEachPieceOnceThoughInterrupted) {
  asked = checked = 0;
  const Workers workers{.threads = 3, .interrupted = [] { return ++asked % 5 == 0; }, .check = [] { ++checked; }};
  std::vector<std::atomic<int>> done(1003);
  parallel_for(
      workers, done.size(), 7,
      [](void* context, size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) ++(*static_cast<std::vector<std::atomic<int>>*>(context))[i];
      },
      &done);
  for (auto& times : done) EXPECT_EQ(times, 1);
  EXPECT_EQ(checked, asked / 5);
}

}  // namespace
}  // namespace cairn::core
