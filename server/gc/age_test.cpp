#include <gtest/gtest.h>

#include "base/error.h"
#include "gc/api.h"

namespace cairn::gc {
namespace {

using namespace std::chrono_literals;

TEST(Age, IsReadFromDaysHoursMinutesAndSeconds) {
  EXPECT_EQ(parse_age("30d"), 30 * 24h);
  EXPECT_EQ(parse_age("1d12h30m15s"), 36h + 30min + 15s);
  EXPECT_EQ(parse_age("0s"), 0s);
}

TEST(Age, RefusesWhatCouldBeMisread) {
  for (const char* text : {"", "30", "d", "-1d", "1.5d", "3w", "1d ", "9999999999d", "1d2"})
    EXPECT_THROW(parse_age(text), Error) << text;
}

}  // namespace
}  // namespace cairn::gc
