#include "http/rate_limit.h"

#include <gtest/gtest.h>

namespace cairn::http {
namespace {

using namespace std::chrono_literals;

TEST(RateLimit, R20_ABurstThenTheRateForEachCaller) {
  RateLimit limit(10);
  RateLimit::Time now{};
  for (int i = 0; i < 20; ++i) EXPECT_EQ(limit.seconds_to_wait("ann", now), 0) << i;
  EXPECT_EQ(limit.seconds_to_wait("ann", now), 1);
  EXPECT_EQ(limit.seconds_to_wait("bob", now), 0);
  now += 110ms;  // a token has come, and no more
  EXPECT_EQ(limit.seconds_to_wait("ann", now), 0);
  EXPECT_EQ(limit.seconds_to_wait("ann", now), 1);
  now += 1h;  // no more than the bucket holds
  int allowed = 0;
  while (limit.seconds_to_wait("ann", now) == 0) ++allowed;
  EXPECT_EQ(allowed, 20);
}

TEST(RateLimit, R20_ALowRateSaysHowLongToWait) {
  RateLimit limit(0.1);
  RateLimit::Time now{};
  EXPECT_EQ(limit.seconds_to_wait("", now), 0);
  EXPECT_EQ(limit.seconds_to_wait("", now), 10);
  now += 4s;  // asking does not cost
  EXPECT_EQ(limit.seconds_to_wait("", now), 6);
  now += 6s;
  EXPECT_EQ(limit.seconds_to_wait("", now), 0);
}

TEST(RateLimit, R20_NoneIsNoLimit) {
  RateLimit limit(0);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(limit.seconds_to_wait("", {}), 0);
}

}  // namespace
}  // namespace cairn::http
