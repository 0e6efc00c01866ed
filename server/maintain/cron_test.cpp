#include "maintain/cron.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"

namespace cairn::maintain {
namespace {

using namespace std::chrono;

int64_t at(int year, unsigned month, unsigned day, int hour = 0, int minute = 0, int second = 0) {
  const sys_days date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  return duration_cast<seconds>(date.time_since_epoch()).count() + hour * 3600 + minute * 60 + second;
}

int64_t next(const char* text, int64_t after) { return Cron(text).next(after).value_or(-1); }

TEST(Cron, R33_TheFirstSundayOfEachMonthAtTwo) {
  EXPECT_EQ(next("0 2 * * 0#1", at(2026, 11, 22, 12)), at(2026, 12, 6, 2));
  EXPECT_EQ(next("0 2 * * 7#1", at(2026, 12, 6, 1, 59, 59)), at(2026, 12, 6, 2));
  EXPECT_EQ(next("0 2 * * 0#1", at(2026, 12, 6, 2)), at(2027, 1, 3, 2));
}

TEST(Cron, R33_FieldsAsCronHasThem) {
  const int64_t now = at(2026, 11, 22, 11, 45, 30);  // a Sunday
  EXPECT_EQ(next("* * * * *", now), at(2026, 11, 22, 11, 46));
  EXPECT_EQ(next("*/20 * * * *", now), at(2026, 11, 22, 12, 0));
  EXPECT_EQ(next("5/20 11 * * *", now), at(2026, 11, 23, 11, 5));
  EXPECT_EQ(next("30 1,13 * * *", now), at(2026, 11, 22, 13, 30));
  EXPECT_EQ(next("0 0 * * 1-5", now), at(2026, 11, 23));
  EXPECT_EQ(next("0 0 31 * *", now), at(2026, 12, 31));
  EXPECT_EQ(next("0 0 29 2 *", now), at(2028, 2, 29));
  EXPECT_EQ(next("0 0 13 * 5", now), at(2026, 11, 27));  // either day, when both are restricted
  EXPECT_EQ(next("0 0 30 2 *", now), -1);
  EXPECT_EQ(next("90 seconds", now), now + 90);
}

TEST(Cron, R33_WhatIsWrongIsSaid) {
  for (const char* text :
       {"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "5-2 * * * *",
        "*/0 * * * *", "1,,2 * * * *", "* * * * 0#6", "0 seconds", "-1 * * * *"}) {
    EXPECT_THROW(Cron{text}, Error) << text;
  }
  try {
    const Cron cron("0 25 * * *");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'25' is no hour"), std::string::npos) << error.what();
  }
}

TEST(QuietHours, R33_AlsoOverMidnight) {
  const QuietHours night("23:30-05:00"), morning("01:00-05:00");
  EXPECT_TRUE(night.contain(at(2026, 11, 22, 23, 30)) && night.contain(at(2026, 11, 22, 4, 59)));
  EXPECT_FALSE(night.contain(at(2026, 11, 22, 5)) || night.contain(at(2026, 11, 22, 23, 29)));
  EXPECT_TRUE(morning.contain(at(2026, 11, 22, 1)));
  EXPECT_FALSE(morning.contain(at(2026, 11, 22, 0, 59)) || morning.contain(at(2026, 11, 22, 5)));
  for (const char* text : {"", "1-5", "01:00", "01:00-25:00", "01:60-02:00", "03:00-03:00"})
    EXPECT_THROW(QuietHours{text}, Error) << text;
}

}  // namespace
}  // namespace cairn::maintain
