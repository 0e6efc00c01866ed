#include "tuner/plan/plan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/error.h"

namespace cairn::tuner {
namespace {

std::string recorded(const std::string& name) {
  std::ifstream in(CAIRN_SOURCE_DIR "/server/tuner/plan/testdata/" + name + ".json");
  return {std::istreambuf_iterator<char>(in), {}};
}

const PlanNode& node_of(const Plan& plan, const std::string& type) {
  for (const PlanNode* node : plan_nodes(plan)) {
    if (node->type == type) return *node;
  }
  throw std::runtime_error("no node " + type);
}

TEST(Plan, ReadsWhatPostgresqlWrites) {
  const Plan plan = parse_plan(recorded("sequential_scan"));
  EXPECT_TRUE(plan.analyzed);
  EXPECT_GT(plan.execution_ms, 0);
  EXPECT_EQ(plan.settings.size(), 2u);
  EXPECT_EQ(plan.root.title(), "Seq Scan on runs");
  EXPECT_EQ(plan.root.schema, "public");
  EXPECT_EQ(plan.root.rows + plan.root.removed_by_filter, 50000);
  EXPECT_NE(plan.root.filter.find("experiment = 'e7'"), std::string::npos);
  EXPECT_GT(plan.root.buffers.shared_hit, 1000);
  EXPECT_GT(plan.root.share_percent, 90);
}

TEST(Plan, OwnTimesAddUpToTheRoot) {
  for (const char* name : {"sequential_scan", "parallel", "missing_workers", "init_plan", "cte_twice", "nested_loop",
                           "subplan", "hash_in_batches", "looked_up", "lossy"}) {
    const Plan plan = parse_plan(recorded(name));
    double sum = 0;
    for (const PlanNode* node : plan_nodes(plan)) {
      EXPECT_GE(node->own_ms, 0);
      EXPECT_LE(node->own_ms, node->total_ms);
      sum += node->own_ms;
    }
    EXPECT_NEAR(sum, plan.root.total_ms, plan.root.total_ms * 1e-6) << name;
  }
}

// PostgreSQL adds the processes' times up: three that read side by side for 10 ms each took 10 ms.
TEST(Plan, ProcessesShareTheTimeBeneathAGather) {
  const Plan plan = parse_plan(recorded("parallel"));
  const PlanNode& scan = node_of(plan, "Seq Scan");
  EXPECT_EQ(scan.processes, 3);
  EXPECT_EQ(scan.rows_total(), 50001) << "rows per process are rounded by PostgreSQL";
  EXPECT_LE(scan.total_ms, plan.root.total_ms);
  EXPECT_EQ(scan.title(), "Parallel Seq Scan on runs");
}

TEST(Plan, AnInitPlanIsPaidForWhereItsResultIsUsed) {
  const Plan plan = parse_plan(recorded("init_plan"));
  const PlanNode* scan = nullptr;
  for (const PlanNode* node : plan_nodes(plan)) {
    if (node->type == "Seq Scan" && !node->filter.empty()) scan = node;
  }
  ASSERT_NE(scan, nullptr);
  // It read some rows; the average read them all.
  EXPECT_LT(scan->share_percent, 20);
  EXPECT_LT(node_of(plan, "Limit").share_percent, 20);
}

TEST(Plan, ACteIsPaidForWhereItIsRead) {
  const Plan plan = parse_plan(recorded("cte"));
  EXPECT_LT(plan.root.share_percent, 90);
  EXPECT_GT(node_of(plan, "Seq Scan").share_percent, 5);
}

TEST(Plan, WithoutTimesCostsStandIn) {
  const Plan plan = parse_plan(recorded("planned"));
  EXPECT_FALSE(plan.analyzed);
  EXPECT_EQ(plan.root.share_percent, 100);
  EXPECT_EQ(plan.root.own_ms, 0);
}

// More rows than 64 bits count.
TEST(Plan, ReadsHugeEstimates) {
  const Plan plan = parse_plan(recorded("huge"));
  EXPECT_GT(node_of(plan, "Nested Loop").rows_planned, 1e20);
}

TEST(Plan, RefusesWhatIsNoPlan) {
  for (const char* text :
       {"", "1", "[]", "{}", "[{}]", "[{\"Plan\": 1}]", "[{\"Plan\": {}}]", "[{\"Plan\": {\"Plans\": [1]}}]", "[1, 2]",
        "null", "[{\"Plan\": {\"Node Type\": 7}}]", "{\"Plan\"", "\"\\"}) {
    EXPECT_THROW(parse_plan(text), Error) << text;
  }
}

TEST(Plan, ReadsOddPlansWithoutHarm) {
  const std::string open = R"({"Node Type": "Limit", "Plans": [)", close = "]}";
  std::string deep;
  for (int i = 0; i < 400; ++i) deep += open;
  deep +=
      R"({"Node Type": "Result", "Actual Rows": "many", "Actual Loops": -1, "Total Cost": 1e308, "Plans": [3, null]})";
  for (int i = 0; i < 400; ++i) deep += close;
  EXPECT_EQ(plan_nodes(parse_plan("[{\"Plan\": " + deep + "}]")).size(), 401u);
  for (int i = 0; i < 2000; ++i) deep = open + deep + close;
  EXPECT_THROW(parse_plan("[{\"Plan\": " + deep + "}]"), Error);
  // Two CTEs that would be paid for in each other.
  parse_plan(R"([{"Execution Time": 1, "Plan": {"Node Type": "Result", "Plans": [
    {"Node Type": "CTE Scan", "CTE Name": "b", "Parent Relationship": "InitPlan", "Subplan Name": "CTE a"},
    {"Node Type": "CTE Scan", "CTE Name": "a", "Parent Relationship": "InitPlan", "Subplan Name": "CTE b"}]}}])");
}

}  // namespace
}  // namespace cairn::tuner
