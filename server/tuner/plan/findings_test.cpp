#include "tuner/plan/findings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace cairn::tuner {
namespace {

std::string recorded(const std::string& name) {
  std::ifstream in(CAIRN_SOURCE_DIR "/server/tuner/plan/testdata/" + name + ".json");
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<Finding> findings(const std::string& name, const PlanFacts& facts = {}) {
  return find_problems(parse_plan(recorded(name)), facts);
}

std::optional<Finding> found(const std::vector<Finding>& all, const std::string& kind) {
  const auto at = std::find_if(all.begin(), all.end(), [&](const Finding& finding) { return finding.kind == kind; });
  return at == all.end() ? std::nullopt : std::optional(*at);
}

std::string kinds(const std::vector<Finding>& all) {
  std::string list;
  for (const Finding& finding : all) list += (list.empty() ? "" : " ") + finding.kind;
  return list;
}

double number(const Finding& finding, const std::string& name) {
  for (const auto& [key, value] : finding.numbers) {
    if (key == name) return value;
  }
  return -1;
}

constexpr const char* kIndexStatement =
    "CREATE INDEX CONCURRENTLY \"idx_runs_experiment_created_at\" ON \"public\".\"runs\" USING \"btree\" "
    "(\"experiment\", \"created_at\")";

TEST(Findings, SequentialScanForFewRows) {
  const auto all = findings("sequential_scan");
  ASSERT_EQ(kinds(all), "sequential_scan");
  EXPECT_EQ(all[0].mend.statements, std::vector<std::string>{kIndexStatement});
  EXPECT_EQ(number(all[0], "rows_read"), 50000);
  EXPECT_GT(all[0].share_percent, 90);
  EXPECT_EQ(all[0].path, "0");
  EXPECT_EQ(kinds(findings("all_rows")), "") << "whoever wants all rows reads the table";
}

TEST(Findings, NoIndexIsProposedThatExists) {
  PlanFacts facts;
  facts.tables[{"public", "runs"}].indexes = {{"other", {"created_at", "experiment", "id"}, true}};
  const auto all = findings("sequential_scan", facts);
  ASSERT_EQ(kinds(all), "sequential_scan");
  EXPECT_TRUE(all[0].mend.statements.empty());
  EXPECT_NE(all[0].mend.text.find("index other"), std::string::npos);
  facts.tables[{"public", "runs"}].indexes[0].usable = false;
  EXPECT_EQ(findings("sequential_scan", facts)[0].mend.statements.size(), 1u)
      << "an invalid or partial one serves nobody";
}

TEST(Findings, SequentialScanIsSeenInAPlanThatWasNotRun) {
  EXPECT_EQ(kinds(findings("planned")), "") << "nothing is known of the table";
  PlanFacts facts;
  facts.tables[{"public", "runs"}].rows = 50000;
  EXPECT_EQ(kinds(findings("planned", facts)), "sequential_scan");
}

TEST(Findings, AFunctionOnTheColumn) {
  const auto lower = found(findings("function_lower"), "function_on_column");
  ASSERT_TRUE(lower);
  EXPECT_EQ(lower->mend.statements[0],
            "CREATE INDEX CONCURRENTLY \"idx_runs_lower_experiment\" ON \"public\".\"runs\" USING \"btree\" "
            "((lower(experiment)))");
  const auto date = found(findings("function_date"), "function_on_column");
  ASSERT_TRUE(date) << "no index can be made on date(timestamptz): the statement must change";
  EXPECT_NE(date->mend.text.find("created_at >= … AND created_at < …"), std::string::npos);
  EXPECT_FALSE(found(findings("sequential_scan"), "function_on_column"));
}

TEST(Findings, EitherSideOfAnOrGetsItsIndex) {
  const auto all = findings("either");
  ASSERT_EQ(kinds(all), "sequential_scan");
  EXPECT_EQ(all[0].mend.statements.size(), 2u);
}

TEST(Findings, WrongEstimateOfDependentColumns) {
  const auto all = findings("wrong_estimate");
  const auto wrong = found(all, "wrong_estimate");
  ASSERT_TRUE(wrong) << kinds(all);
  EXPECT_EQ(wrong->node, "Seq Scan on places");
  EXPECT_NEAR(number(*wrong, "factor"), 40, 10);
  EXPECT_EQ(wrong->mend.statements[0],
            "CREATE STATISTICS \"public\".\"stx_places_city_zip\" (dependencies, mcv) ON \"city\", \"zip\" FROM "
            "\"public\".\"places\"");
  EXPECT_FALSE(found(findings("sequential_scan"), "wrong_estimate"));
}

TEST(Findings, StaleStatisticsAreRefreshedFirst) {
  PlanFacts facts;
  TableFacts& table = facts.tables[{"public", "places"}];
  table.rows = 50000;
  table.analyzed_at_ms = 1;
  table.changed_since_analyze = 20000;
  EXPECT_EQ(found(findings("wrong_estimate", facts), "wrong_estimate")->mend.statements,
            std::vector<std::string>{"ANALYZE \"public\".\"places\""});
}

TEST(Findings, SortOnDisk) {
  PlanFacts facts;
  facts.work_mem_kb = 64;
  const auto sort = found(findings("sort_on_disk", facts), "sort_on_disk");
  ASSERT_TRUE(sort);
  EXPECT_EQ(sort->mend.statements.size(), 1u);
  EXPECT_FALSE(found(findings("sort_in_memory"), "sort_on_disk"));
}

TEST(Findings, HashInBatches) {
  PlanFacts facts;
  facts.work_mem_kb = 64;
  const auto join = found(findings("hash_in_batches", facts), "hash_in_batches");
  ASSERT_TRUE(join);
  EXPECT_EQ(join->node, "Hash Join");
  EXPECT_TRUE(found(findings("hash_aggregate", facts), "hash_in_batches"));
  EXPECT_FALSE(found(findings("whole_table_join"), "hash_in_batches"));
}

TEST(Findings, NestedLoopOverAScan) {
  const auto loop = found(findings("nested_loop"), "nested_loop");
  ASSERT_TRUE(loop);
  EXPECT_EQ(number(*loop, "inner_loops"), 2000);
  EXPECT_NE(loop->mend.statements.at(0).find("\"public\".\"few\" USING \"btree\" (\"id\")"), std::string::npos);
  EXPECT_FALSE(found(findings("looked_up"), "nested_loop")) << "with an index it is the right plan";
}

TEST(Findings, WholeTableForASmallJoin) {
  const auto join = found(findings("whole_table_join"), "whole_table_join");
  ASSERT_TRUE(join);
  EXPECT_NE(join->mend.statements.at(0).find("\"public\".\"runs\" USING \"btree\" (\"id\")"), std::string::npos);
  EXPECT_FALSE(found(findings("looked_up"), "whole_table_join"));
  EXPECT_FALSE(found(findings("hash_in_batches"), "whole_table_join")) << "all rows are joined";
}

TEST(Findings, FilterAfterAnIndexScan) {
  const auto filter = found(findings("filter_after_index"), "filter_after_index");
  ASSERT_TRUE(filter);
  EXPECT_NE(filter->mend.statements.at(0).find("(\"status\", \"note\")"), std::string::npos);
  EXPECT_FALSE(found(findings("looked_up"), "filter_after_index"));
}

TEST(Findings, HeapFetchesOfAnIndexOnlyScan) {
  const auto fetches = found(findings("heap_fetches"), "heap_fetches");
  ASSERT_TRUE(fetches);
  EXPECT_EQ(fetches->mend.statements[0], "VACUUM (ANALYZE) \"public\".\"runs\"");
  EXPECT_FALSE(found(findings("no_heap_fetches"), "heap_fetches"));
}

TEST(Findings, LossyBitmap) {
  PlanFacts facts;
  facts.work_mem_kb = 64;
  const auto lossy = found(findings("lossy", facts), "lossy_bitmap");
  ASSERT_TRUE(lossy);
  EXPECT_GT(number(*lossy, "lossy_heap_blocks"), 100);
  EXPECT_FALSE(found(findings("sequential_scan"), "lossy_bitmap"));
}

TEST(Findings, LargeOffset) {
  const auto offset = found(findings("large_offset"), "large_offset");
  ASSERT_TRUE(offset);
  EXPECT_EQ(number(*offset, "rows_skipped"), 20000);
  EXPECT_NE(offset->mend.text.find("runs.created_at"), std::string::npos);
  EXPECT_FALSE(found(findings("parallel"), "large_offset")) << "a LIMIT alone throws nothing away";
}

TEST(Findings, CteWorkedOutInFull) {
  EXPECT_TRUE(found(findings("cte"), "cte_materialized"));
  EXPECT_FALSE(found(findings("cte_twice"), "cte_materialized")) << "its rows are few";
}

TEST(Findings, SubqueryForEachRow) {
  const auto subplan = found(findings("subplan"), "subplan_per_row");
  ASSERT_TRUE(subplan);
  EXPECT_EQ(number(*subplan, "loops"), 2000);
  EXPECT_FALSE(found(findings("init_plan"), "subplan_per_row"));
}

TEST(Findings, MissingWorkers) {
  const auto missing = found(findings("missing_workers"), "missing_workers");
  ASSERT_TRUE(missing);
  EXPECT_EQ(number(*missing, "workers_launched"), 0);
  EXPECT_FALSE(found(findings("parallel"), "missing_workers"));
}

TEST(Findings, JitThatCostsMoreThanItGives) {
  const auto jit = found(findings("jit"), "jit");
  ASSERT_TRUE(jit);
  EXPECT_GT(jit->share_percent, 20);
  EXPECT_EQ(jit->mend.statements.size(), 1u);
  EXPECT_FALSE(found(findings("sequential_scan"), "jit"));
}

std::string one_scan(const std::string& fields, double execution_ms) {
  return R"([{"Plan": {"Node Type": "Seq Scan", "Relation Name": "t", "Schema": "s", "Alias": "t", "Actual Rows": 2000000,
    "Actual Loops": 1, "Plan Rows": 2000000, "Actual Total Time": )" +
         std::to_string(execution_ms) + ", " + fields + R"(}, "Execution Time": )" + std::to_string(execution_ms) +
         "}]";
}

TEST(Findings, ColdCache) {
  const auto cold = found(
      find_problems(
          parse_plan(one_scan(R"("Shared Hit Blocks": 500, "Shared Read Blocks": 9500, "I/O Read Time": 80)", 100)),
          {}),
      "cold_cache");
  ASSERT_TRUE(cold);
  EXPECT_NEAR(*cold->share_percent, 80, 0.1);
  EXPECT_EQ(
      kinds(find_problems(parse_plan(one_scan(R"("Shared Hit Blocks": 9500, "Shared Read Blocks": 500)", 100)), {})),
      "");
}

TEST(Findings, ParallelQuerySwitchedOff) {
  PlanFacts facts;
  facts.max_parallel_workers_per_gather = 0;
  EXPECT_EQ(kinds(find_problems(parse_plan(one_scan(R"("Shared Hit Blocks": 1)", 3000)), facts)), "parallel_off");
  EXPECT_EQ(kinds(find_problems(parse_plan(one_scan(R"("Shared Hit Blocks": 1)", 300)), facts)), "");
}

TEST(Findings, PlannedAtEachExecution) {
  const auto plan = [](double planning_ms) {
    return parse_plan(R"([{"Plan": {"Node Type": "Index Scan", "Relation Name": "t", "Schema": "s", "Total Cost": 8.5,
      "Actual Rows": 1, "Actual Loops": 1, "Plan Rows": 1, "Actual Total Time": 0.1}, "Execution Time": 0.1,
      "Planning Time": )" +
                      std::to_string(planning_ms) + "}]");
  };
  PlanFacts facts;
  EXPECT_EQ(kinds(find_problems(plan(1), facts)), "") << "not prepared";
  facts.generic_cost = 13.4;
  EXPECT_EQ(kinds(find_problems(plan(1), facts)), "") << "the generic plan is kept: planning counts as five";
  facts.generic_cost = 13.6;
  EXPECT_EQ(kinds(find_problems(plan(1), facts)), "planned_each_time");
  EXPECT_EQ(kinds(find_problems(plan(0.01), facts)), "") << "planning is a small part";
}

TEST(Findings, JoinsThatMultiplyRows) {
  const auto plan = [](const std::string& output, int rows) {
    return parse_plan(R"([{"Plan": {"Node Type": "Aggregate", "Actual Rows": 450, "Actual Loops": 1, "Plan Rows": 450,
      "Actual Total Time": 3000, "Output": ["m.id", ")" +
                      output + R"("], "Plans": [{"Node Type": "Hash Join",
      "Parent Relationship": "Outer", "Join Type": "Inner", "Actual Rows": )" +
                      std::to_string(rows) + R"(, "Plan Rows": )" + std::to_string(rows) +
                      R"(, "Actual Loops": 1, "Actual Total Time": 2500, "Plans": [
      {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Relation Name": "runs", "Schema": "s", "Alias": "r",
       "Actual Rows": 100000, "Plan Rows": 100000, "Actual Loops": 1, "Actual Total Time": 20}]}]}, "Execution Time": 3000}])");
  };
  EXPECT_EQ(kinds(find_problems(plan("count(DISTINCT r.id)", 1800000), {})), "multiplied_rows");
  EXPECT_EQ(kinds(find_problems(plan("count(DISTINCT r.id)", 100000), {})), "");
  EXPECT_EQ(kinds(find_problems(plan("count(r.id)", 1800000), {})), "") << "its answer is that of the joined rows";
}

TEST(Findings, AreOrderedByShare) {
  for (const char* name : {"hash_in_batches", "whole_table_join", "cte", "nested_loop"}) {
    const auto all = findings(name);
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const Finding& a, const Finding& b) {
      return a.share_percent.value_or(-1) > b.share_percent.value_or(-1);
    })) << name;
  }
}

}  // namespace
}  // namespace cairn::tuner
