#include "tuner/profile/statements.h"

#include <gtest/gtest.h>

#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

// The counters after calls that took these times.
Counters calls(std::initializer_list<double> times_ms) {
  Counters counters;
  for (const double ms : times_ms) {
    ++counters.calls;
    counters.rows += 2;
    counters.total_ms += ms;
    counters.squares_ms2 += ms * ms;
    counters.max_ms = std::max(counters.max_ms, ms);
    counters.shared_hits += 10;
    counters.wal_bytes += 100;
  }
  return counters;
}

TEST(Counters, KnowMeanAndDeviation) {
  EXPECT_DOUBLE_EQ(calls({1, 3}).mean_ms(), 2);
  EXPECT_DOUBLE_EQ(calls({1, 3}).stddev_ms(), 1);
  EXPECT_EQ(Counters().mean_ms(), 0);
  EXPECT_EQ(Counters().stddev_ms(), 0);
}

TEST(Counters, GiveWhatWasCountedInBetween) {
  const Counters between = since(calls({1, 1, 9}), calls({1, 1, 9, 2, 4}));
  EXPECT_EQ(between.calls, 2);
  EXPECT_EQ(between.rows, 4);
  EXPECT_EQ(between.shared_hits, 20);
  EXPECT_EQ(between.wal_bytes, 200);
  EXPECT_DOUBLE_EQ(between.mean_ms(), 3);
  EXPECT_DOUBLE_EQ(between.stddev_ms(), 1);
}

TEST(Counters, KnowTheLongestCallInBetweenOnlyWhereItIsTheLongestOfAll) {
  const Counters hidden = since(calls({9}), calls({9, 5, 6}));
  EXPECT_TRUE(hidden.max_is_bound);
  EXPECT_EQ(hidden.max_ms, 9);
  const Counters short_ones = since(calls({9}), calls({9, 1, 1}));
  EXPECT_TRUE(short_ones.max_is_bound);
  EXPECT_EQ(short_ones.max_ms, 2) << "one call takes no longer than all together";
  const Counters longest = since(calls({9}), calls({9, 1, 12}));
  EXPECT_FALSE(longest.max_is_bound);
  EXPECT_EQ(longest.max_ms, 12);
  const Counters single = since(calls({9}), calls({9, 4}));
  EXPECT_FALSE(single.max_is_bound);
  EXPECT_EQ(single.max_ms, 4);
}

TEST(Counters, AddUp) {
  Counters sum = since(calls({9}), calls({9, 1, 1}));
  EXPECT_TRUE(sum.max_is_bound);
  sum += calls({1, 7});
  EXPECT_EQ(sum.calls, 4);
  EXPECT_EQ(sum.max_ms, 7);
  EXPECT_FALSE(sum.max_is_bound);
  EXPECT_DOUBLE_EQ(sum.mean_ms(), 2.5);
}

TEST(Counters, TellThatTheyWereBegunAnew) {
  EXPECT_TRUE(has_grown(calls({1, 2}), calls({1, 2})));
  EXPECT_TRUE(has_grown(calls({1, 2}), calls({1, 2, 3})));
  EXPECT_FALSE(has_grown(calls({1, 2}), calls({1})));
  EXPECT_FALSE(has_grown(calls({9}), calls({1, 1}))) << "more calls, but less time";
}

TEST(Literals, AreLeftOut) {
  EXPECT_EQ(without_literals("SELECT a FROM t WHERE b = $1"), "SELECT a FROM t WHERE b = $1");
  EXPECT_EQ(without_literals("CREATE ROLE r PASSWORD 'it''s' VALID UNTIL 'x'"),
            "CREATE ROLE r PASSWORD '…' VALID UNTIL '…'");
  EXPECT_EQ(without_literals(R"(SELECT E'a\'secret', e'b', N'c', name'd')"), "SELECT '…', '…', N'…', name'…'");
  EXPECT_EQ(without_literals("DO $$ secret $$; DO $a$ $b$ secret $a$;x$y$z"), "DO '…'; DO '…';x$y$z");
  EXPECT_EQ(without_literals("/* don't /* nor */ won't */ 'secret' -- can't\n, 'secret'"),
            "/* don't /* nor */ won't */ '…' -- can't\n, '…'");
  EXPECT_EQ(without_literals(R"(SELECT "o'clock""'" FROM t WHERE a = 'secret')"),
            R"(SELECT "o'clock""'" FROM t WHERE a = '…')");
}

TEST(Literals, OfUncertainEndTakeTheRestAlong) {
  for (const char* sql : {"SET x = 'secret", R"(SET x = 'a\', 'secret')", "DO $x$ secret", R"(SET x = E'a\')"})
    EXPECT_EQ(without_literals(sql).find("secret"), std::string::npos) << sql;
  EXPECT_EQ(without_literals("a /* 'secret'"), "a ");
  EXPECT_EQ(without_literals(""), "");
  EXPECT_EQ(without_literals("$"), "$");
  EXPECT_EQ(without_literals("'"), "'…'");
}

TEST(Literals, LeaveAStatementThatParses) {
  for (const char* sql : {"CREATE ROLE r PASSWORD 'secret'", "COPY t FROM '/x' WITH (DELIMITER ',')",
                          "DO $$ BEGIN END $$", "SELECT x'1f', b'01', U&'d!0061', E'\\'' || interval '1 day'"}) {
    ASSERT_TRUE(fingerprint(sql)) << sql;
    EXPECT_TRUE(fingerprint(without_literals(sql))) << sql;
  }
}

}  // namespace
}  // namespace cairn::tuner
