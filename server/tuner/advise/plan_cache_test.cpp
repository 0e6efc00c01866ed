#include "tuner/advise/plan_cache.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

TEST(PlanCache, KnowsWhatAPlanSaysOfOtherSets) {
  PlanCache cache(1);
  cache.add(0, {.set = {}, .used = {}, .cost = 100});
  cache.add(0, {.set = {1, 2, 3}, .used = {2}, .cost = 10});
  // The plan with 2 is there for every set that holds it; between {2} and {1, 2, 3} nothing is cheaper.
  const auto between = cache.bounds(0, {2, 3});
  EXPECT_EQ(between.lower, 10);
  EXPECT_EQ(between.upper, 10);
  EXPECT_EQ(between.plan->used, IndexSet{2});
  const auto without = cache.bounds(0, {1, 3});
  EXPECT_EQ(without.lower, 10);
  EXPECT_EQ(without.upper, 100);
  const auto beyond = cache.bounds(0, {2, 4});
  EXPECT_EQ(beyond.lower, 0);
  EXPECT_EQ(beyond.upper, 10);
}

}  // namespace
}  // namespace cairn::tuner
