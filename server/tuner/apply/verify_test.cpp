// The arithmetic by which verify compares times, and what it makes of it.
#include "tuner/apply/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace cairn::tuner {
namespace {

Counters counted(const std::vector<double>& times) {
  Counters counters;
  for (const double ms : times) {
    ++counters.calls;
    counters.total_ms += ms;
    counters.squares_ms2 += ms * ms;
  }
  return counters;
}

TEST(R21_Verify, RatioIsWelchsForLogarithms) {
  // By hand: means 10 and 5, variances 2.5 and 2.5, five values each; relative variances 0.005 and 0.02, degrees of
  // freedom 0.025² / (0.005² / 4 + 0.02² / 4) = 5.882, t(0.975) = 2.459, half = 2.459 · √0.025 = 0.3888.
  const auto ratio = ratio_of_means(counted({8, 9, 10, 11, 12}), counted({3, 4, 5, 6, 7}), 0.95);
  ASSERT_TRUE(ratio);
  EXPECT_NEAR(ratio->value, 0.5, 1e-12);
  EXPECT_NEAR(std::log(ratio->high / ratio->value), 0.3888, 0.002);
  EXPECT_NEAR(std::log(ratio->value / ratio->low), 0.3888, 0.002);
}

TEST(R21_Verify, RatioNeedsTwoCallsAndSomeTime) {
  EXPECT_FALSE(ratio_of_means(counted({1}), counted({1, 2}), 0.95));
  EXPECT_FALSE(ratio_of_means(counted({0, 0}), counted({1, 2}), 0.95));
  const auto steady = ratio_of_means(counted({2, 2}), counted({4, 4}), 0.95);
  ASSERT_TRUE(steady);
  EXPECT_EQ(steady->low, 2);
  EXPECT_EQ(steady->high, 2);
}

TEST(R21_Verify, TheIntervalHoldsTheRatioAsOftenAsItSays) {
  std::mt19937 random(7);
  std::lognormal_distribution<double> before(0, 0.5), after(std::log(1.5), 0.5);
  int held = 0;
  constexpr int kTimes = 2000;
  for (int i = 0; i < kTimes; ++i) {
    std::vector<double> a, b;
    for (int n = 0; n < 40; ++n) a.push_back(before(random));
    for (int n = 0; n < 60; ++n) b.push_back(after(random));
    const auto ratio = ratio_of_means(counted(a), counted(b), 0.95);
    held += ratio && ratio->low <= 1.5 && 1.5 <= ratio->high;
  }
  EXPECT_GT(held, kTimes * 0.925);
  EXPECT_LT(held, kTimes * 0.975);
}

std::vector<double> around(double ms, int calls) {
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) times.push_back(ms * (0.9 + 0.02 * (i % 11)));
  return times;
}

Effect effect(double before_ms, int before_calls, double after_ms, int after_calls) {
  std::optional<MeanRatio> ratio;
  return effect_of(counted(around(before_ms, before_calls)), counted(around(after_ms, after_calls)), 20, 10, ratio);
}

TEST(R21_Verify, EffectsAreBeyondNoise) {
  EXPECT_EQ(effect(10, 100, 5, 100), Effect::kFaster);
  EXPECT_EQ(effect(10, 100, 15, 100), Effect::kSlower);
  EXPECT_EQ(effect(10, 100, 10.2, 100), Effect::kSame);
  EXPECT_EQ(effect(0.01, 100, 0.02, 100), Effect::kSame) << "nobody notices";
  EXPECT_EQ(effect(10, 100, 5, 19), Effect::kTooFewCalls);
  EXPECT_EQ(effect(10, 19, 5, 100), Effect::kTooFewCalls);
  EXPECT_EQ(effect(10, 0, 5, 100), Effect::kNotSeenBefore);
}

StatementEffect statement(Effect effect, double before_ms, double after_ms, std::vector<int64_t> serves) {
  StatementEffect made{
      .id = "s", .calls_before = 100, .calls_after = 100, .before_ms = before_ms, .after_ms = after_ms};
  (serves.empty() ? made.touches : made.serves) = serves.empty() ? std::vector<int64_t>{1} : serves;
  made.effect = effect;
  return made;
}

TEST(R21_Verify, JudgesAChangeByItsStatements) {
  const JournalEntry entry{.id = 1};
  const StatementEffect gain = statement(Effect::kFaster, 10, 1, {1}), same = statement(Effect::kSame, 10, 10, {1}),
                        few = statement(Effect::kTooFewCalls, 10, 1, {1}),
                        harmed = statement(Effect::kSlower, 1, 5, {}), others = statement(Effect::kSlower, 1, 5, {2});
  using Kind = ChangeVerdictKind;
  EXPECT_EQ(judge(entry, {gain, same, few}).verdict, Kind::kVerified);
  EXPECT_EQ(judge(entry, {same}).verdict, Kind::kNoDifference);
  EXPECT_EQ(judge(entry, {same, few}).verdict, Kind::kWaiting);
  EXPECT_EQ(judge(entry, {}).verdict, Kind::kWaiting);
  EXPECT_EQ(judge(entry, {harmed}).verdict, Kind::kSlower);
  EXPECT_EQ(judge(entry, {same, harmed}).verdict, Kind::kSlower);
  EXPECT_EQ(judge(entry, {gain, harmed}).verdict, Kind::kVerified) << "9 ms are saved for 4";
  EXPECT_NE(judge(entry, {gain, harmed}).reason.find("statement s got slower: 400.0 ms lost"), std::string::npos);
  EXPECT_EQ(judge(entry, {gain, harmed, harmed, harmed}).verdict, Kind::kSlower);
  const VerifiedChange undecided =
      judge(entry, {statement(Effect::kSame, 10, 9, {1}), statement(Effect::kSlower, 1, 1.5, {})});
  EXPECT_EQ(undecided.verdict, Kind::kNoDifference);
  EXPECT_NE(undecided.reason.find("statement s got slower: 50.0 ms lost since, 100.0 ms saved"), std::string::npos);
  EXPECT_EQ(judge(entry, {gain, others}).verdict, Kind::kVerified) << "another change has to answer for it";
}

TEST(R21_Journal, PartsAreReadBackAsTheyWereWritten) {
  const std::vector<IndexPart> parts{
      {.table = {"a\"b", "t\n1"}, .name = "ü", .statement = "CREATE INDEX \"ü\"", .leaf = false},
      {.table = {"s", "t2"}, .name = "i", .statement = "CREATE", .parent = 0}};
  EXPECT_EQ(parts_from_json(to_json(parts)), parts);
  EXPECT_EQ(parts_from_json(to_json(std::vector<IndexPart>())), std::vector<IndexPart>());
}

}  // namespace
}  // namespace cairn::tuner
