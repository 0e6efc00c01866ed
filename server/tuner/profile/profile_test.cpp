#include "tuner/profile/profile.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

struct Run {
  int64_t queryid;
  std::string sql;
  int64_t calls;
  double call_ms = 1;
  std::string role = "app";
  bool top_level = true;
};

StatementRow row(const Run& run) {
  StatementRow row;
  row.role = run.role;
  row.role_id = static_cast<int64_t>(std::hash<std::string>()(run.role) & 0xFFFF);
  row.queryid = run.queryid;
  row.top_level = run.top_level;
  row.text = run.sql;
  row.fingerprint = fingerprint(run.sql).value_or("");
  const double calls = static_cast<double>(run.calls);
  row.counters = {.calls = run.calls,
                  .rows = run.calls,
                  .total_ms = calls * run.call_ms,
                  .squares_ms2 = calls * run.call_ms * run.call_ms,
                  .max_ms = run.call_ms};
  return row;
}

Reading reading(std::initializer_list<Run> runs) {
  Reading reading;
  reading.taken_at_ms = 1'000'000;
  reading.database = "shop";
  reading.database_id = 7;
  reading.extension_version = "1.10";
  reading.reset_at_ms = 1;
  reading.evictions = 0;
  for (const Run& run : runs) reading.statements.push_back(row(run));
  return reading;
}

bool has_note(const Profile& profile, const std::string& text) {
  for (const Note& note : profile.notes)
    if (note.what.find(text) != std::string::npos) return true;
  return false;
}

const StatementGroup* group_of(const Profile& profile, const std::string& sql) {
  for (const StatementGroup& group : profile.groups)
    if (group.id == fingerprint(sql)) return &group;
  return nullptr;
}

constexpr const char* kSelect = "SELECT a FROM t WHERE b = $1";
constexpr const char* kOther = "SELECT c FROM t WHERE b = $1";

TEST(Profile, R21_StatementsOfOneShapeAreOneGroup) {
  const Profile profile = make_profile(reading({{1, "SELECT a FROM t WHERE b IN ($1)", 10},
                                                {2, "select a from t where b in ($1, $2)", 20, 2, "boss"},
                                                {3, kOther, 50},
                                                {4, "no SQL at all", 1},
                                                {5, "no SQL at all", 1}}),
                                       Order::kTotal);
  ASSERT_EQ(profile.groups.size(), 4u) << "texts that do not parse are not thrown together";
  const StatementGroup* in_list = group_of(profile, "SELECT a FROM t WHERE b IN (1)");
  ASSERT_NE(in_list, nullptr);
  EXPECT_EQ(in_list->counters.calls, 30);
  EXPECT_DOUBLE_EQ(in_list->counters.total_ms, 50);
  EXPECT_EQ(in_list->queryids, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(in_list->roles, (std::vector<std::string>{"app", "boss"}));
  EXPECT_EQ(in_list->text, "select a from t where b in ($1, $2)") << "the one with the most time";
  EXPECT_DOUBLE_EQ(in_list->share, 50.0 / 102.0);
  EXPECT_EQ(profile.groups.back().id, "q5");
}

TEST(Profile, R21_OrdersByWhatIsAsked) {
  const Reading counted = reading({{1, kSelect, 100, 1}, {2, kOther, 2, 20}});
  EXPECT_EQ(make_profile(counted, Order::kTotal).groups[0].text, kSelect);
  EXPECT_EQ(make_profile(counted, Order::kMean).groups[0].text, kOther);
  EXPECT_EQ(make_profile(counted, Order::kMax).groups[0].text, kOther);
  EXPECT_EQ(make_profile(counted, Order::kCalls).groups[0].text, kSelect);
}

TEST(Profile, R21_TimeOfNestedStatementsIsNotAddedUpTwice) {
  const Profile profile =
      make_profile(reading({{1, "SELECT f($1)", 10, 5}, {2, kSelect, 10, 4, "app", false}}), Order::kTotal);
  EXPECT_DOUBLE_EQ(profile.all.total_ms, 50);
  const StatementGroup* nested = group_of(profile, kSelect);
  EXPECT_TRUE(nested->nested);
  EXPECT_DOUBLE_EQ(nested->share, 0.8);
}

TEST(Profile, R21_BetweenTwoReadingsOnlyWhatRanIsShown) {
  const Profile profile = make_profile(reading({{1, kSelect, 10}, {2, kOther, 5}}),
                                       reading({{1, kSelect, 13}, {2, kOther, 5}, {3, "SELECT 1", 1}}), Order::kTotal);
  ASSERT_EQ(profile.groups.size(), 2u);
  EXPECT_EQ(group_of(profile, kSelect)->counters.calls, 3);
  EXPECT_EQ(group_of(profile, "SELECT 1")->counters.calls, 1);
  EXPECT_EQ(group_of(profile, kOther), nullptr);
  EXPECT_EQ(profile.since_ms, 1'000'000);
  EXPECT_TRUE(profile.notes.empty());
}

TEST(Profile, R21_AStatementThatWasEvictedCountsFromZero) {
  Reading after = reading({{1, kSelect, 4}});
  after.evictions = 2;
  const Profile profile = make_profile(reading({{1, kSelect, 10}, {2, kOther, 5}}), after, Order::kTotal);
  const StatementGroup* select = group_of(profile, kSelect);
  EXPECT_EQ(select->counters.calls, 4);
  EXPECT_TRUE(select->from_zero);
  EXPECT_EQ(profile.evictions, 2);
  EXPECT_TRUE(has_note(profile, "1 statements were evicted or reset in between: they count from zero"));
  EXPECT_TRUE(has_note(profile, "1 statements were evicted or reset in between and have not run since"));
  EXPECT_NE(profile.notes[0].remedy.find("pg_stat_statements.max"), std::string::npos);
}

TEST(Profile, R21_TheTimeOfItsFirstCallTellsOfAnEvictionToo) {
  Reading before = reading({{1, kSelect, 10}}), after = reading({{1, kSelect, 12}});
  before.statements[0].since_ms = 100;
  after.statements[0].since_ms = 200;
  EXPECT_EQ(make_profile(before, after, Order::kTotal).groups[0].counters.calls, 12);
  after.statements[0].since_ms = 100;
  EXPECT_EQ(make_profile(before, after, Order::kTotal).groups[0].counters.calls, 2);
}

TEST(Profile, R21_AfterAResetAllCountsFromThen) {
  Reading after = reading({{1, kSelect, 40}});
  after.reset_at_ms = 500'000;
  const Profile profile = make_profile(reading({{1, kSelect, 10}}), after, Order::kTotal);
  EXPECT_EQ(group_of(profile, kSelect)->counters.calls, 40);
  EXPECT_EQ(profile.since_ms, 500'000);
  EXPECT_TRUE(has_note(profile, "all statistics were reset at 1970-01-01 00:08:20 UTC"));
}

TEST(Profile, R21_CacheHitsAreOfTheIntervalUnlessTheyWereReset) {
  Reading before = reading({}), after = reading({});
  before.cache_hits = 900, before.cache_reads = 100;
  after.cache_hits = 930, after.cache_reads = 110;
  EXPECT_DOUBLE_EQ(*make_profile(after, Order::kTotal).cache_hit_ratio, 930.0 / 1040.0);
  EXPECT_DOUBLE_EQ(*make_profile(before, after, Order::kTotal).cache_hit_ratio, 0.75);
  after.database_reset_at_ms = 99;
  const Profile reset = make_profile(before, after, Order::kTotal);
  EXPECT_DOUBLE_EQ(*reset.cache_hit_ratio, 930.0 / 1040.0);
  EXPECT_EQ(reset.cache_since_ms, 99);
  EXPECT_FALSE(make_profile(before, before, Order::kTotal).cache_hit_ratio) << "nothing was asked for";
}

TEST(Profile, R21_ASnapshotOfAnotherDatabaseIsRefused) {
  Reading other = reading({});
  other.database_id = 8;
  EXPECT_THROW(make_profile(other, reading({}), Order::kTotal), Error);
}

TEST(Profile, R21_HiddenStatementsAreOneGroupAndPartOfTheWhole) {
  Reading counted = reading({{1, kSelect, 10}});
  StatementRow hidden = row({0, "", 30});
  hidden.hidden = true;
  counted.statements.push_back(hidden);
  const Profile profile = make_profile(counted, Order::kTotal);
  EXPECT_EQ(profile.groups[0].id, "hidden");
  EXPECT_DOUBLE_EQ(profile.groups[0].share, 0.75);
  EXPECT_TRUE(profile.groups[0].queryids.empty());
  EXPECT_TRUE(has_note(make_profile(counted, reading({{1, kSelect, 10}}), Order::kTotal), "other statements than at"));
}

}  // namespace
}  // namespace cairn::tuner
