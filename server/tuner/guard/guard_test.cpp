#include "tuner/guard/guard.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"

namespace cairn::tuner {
namespace {

GuardStatement statement() {
  return {.name = "dashboard \"'\n#1",
          .text = "SELECT '\\', \"a\nb\" -- größe",
          .cost = 1000,
          .rows = 50,
          .plan = {"Limit", "  Index Scan using i on t"},
          .scans = {{"public.t", "t", "Index Scan", 990.5}},
          .joins = {{"Nested Loop", 2}},
          .spills = 0,
          .figures = {}};
}

TEST(Guard, R36_ItsFileReadsBackAndIsOneThingALine) {
  GuardFile file{.server_version = 150020, .statements = {statement(), statement()}};
  file.statements[1].name = "other";
  file.statements[1].figures = GuardFigures{1.25, 3.5, 120, 4};
  file.statements[1].rows = 1e30;
  const std::string text = to_json(file);
  EXPECT_EQ(guard_file_from_json(text), file);
  EXPECT_NE(text.find("\n        \"  Index Scan using i on t\"\n"), std::string::npos) << text;
  for (const char* wrong : {"", "{", "[]", "{\"format\": 2, \"statements\": []}", "{\"format\": 1}",
                            "{\"format\": 1, \"statements\": [{\"name\": \"a\"}]}"})
    EXPECT_THROW(guard_file_from_json(wrong), Error) << wrong;
}

TEST(Guard, R36_TheSamePlanIsNotWorse) {
  const GuardVerdict verdict = judge(statement(), statement(), {});
  EXPECT_EQ(verdict.state, GuardState::kSame);
  EXPECT_TRUE(verdict.diff.empty());
}

TEST(Guard, R36_ATableReadAsAWholeIsWorseThoughItCostsLess) {
  GuardStatement now = statement();
  now.cost = 900;
  now.plan = {"Limit", "  Seq Scan on t"};
  now.scans = {{"public.t", "t", "Seq Scan", 900}};
  const GuardVerdict verdict = judge(statement(), now, {});
  EXPECT_EQ(verdict.state, GuardState::kWorse);
  EXPECT_EQ(verdict.diff, (std::vector<std::string>{"  Limit", "-   Index Scan using i on t", "+   Seq Scan on t"}));
  now.scans[0].cost = 20;  // of a small table it is the right thing
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kChanged);
}

TEST(Guard, R36_CostsJoinsAndSpillsAreJudgedWhereTheyMatter) {
  GuardStatement now = statement();
  now.cost = 1510;
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kWorse);
  EXPECT_EQ(judge(statement(), now, {.cost_ratio = 2}).state, GuardState::kSame);
  now.cost = 1250;
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kSame);
  now.joins = {{"Hash Join", 2}};
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kWorse);
  now.cost = 900;
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kSame);
  now.spills = 1;
  EXPECT_EQ(judge(statement(), now, {}).state, GuardState::kWorse);
  GuardStatement small = statement(), grown = statement();
  small.cost = 8;
  grown.cost = 40;
  EXPECT_EQ(judge(small, grown, {}).state, GuardState::kSame);
  EXPECT_EQ(judge(small, grown, {.cost_min = 10}).state, GuardState::kWorse);
}

TEST(Guard, R36_TimesAreToldAndJudgedOnRequestByTheMachinesSpeed) {
  GuardStatement before = statement(), now = statement();
  before.figures = GuardFigures{.ms = 10, .calibration_ms = 5, .blocks = 200};
  now.figures = GuardFigures{.ms = 40, .calibration_ms = 20, .blocks = 200};  // a machine four times as slow
  GuardVerdict verdict = judge(before, now, {.time_ratio = 1.5});
  EXPECT_EQ(verdict.state, GuardState::kSame);
  now.figures->calibration_ms = 5;
  EXPECT_EQ(judge(before, now, {.time_ratio = 1.5}).state, GuardState::kWorse);
  verdict = judge(before, now, {});
  EXPECT_EQ(verdict.state, GuardState::kSame);
  EXPECT_NE(verdict.remarks.at(0).find("4.00 times"), std::string::npos);
  now.figures->blocks = 400;
  EXPECT_EQ(judge(before, now, {}).state, GuardState::kWorse);
  now.figures = before.figures;
  now.figures->temp_blocks = 10;
  EXPECT_EQ(judge(before, now, {}).state, GuardState::kWorse);
}

}  // namespace
}  // namespace cairn::tuner
