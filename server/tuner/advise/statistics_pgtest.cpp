// Extended statistics on a real server: found by a sample, and what they do to the planner's estimates.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>

#include "db/pool.h"
#include "db/testing.h"
#include "tuner/advise/advise.h"

namespace cairn::tuner {
namespace {

class StatisticsTest : public testing::Test {
 protected:
  // model and framework say the same; status says nothing of them.
  StatisticsTest() {
    database_.execute(
        "CREATE SCHEMA \"a\"\"b\"; CREATE TABLE \"a\"\"b\".\"ru'ns\n\" (id int PRIMARY KEY, \"mo\"\"del\" int, "
        "framework int, "
        "status int, label text); INSERT INTO \"a\"\"b\".\"ru'ns\n\" SELECT i, i % 50, i % 50 + 7, i * 7919 % 4, 'L' "
        "|| i % "
        "3 FROM generate_series(1, 30000) i; ANALYZE");
  }
  std::vector<Change> advised(const std::string& where) {
    Reactor reactor;
    const Advice advice = advise(
        reactor, database_.url(),
        {{.text = "SELECT * FROM \"a\"\"b\".\"ru'ns\n\" " + where, .calls = 100, .total_ms = 1e4}}, AdviceLimits{});
    std::vector<Change> found;
    for (const Change& change : advice.changes)
      if (change.kind == ChangeKind::kStatistics) found.push_back(change);
    return found;
  }
  std::string value(const std::string& sql) {
    Reactor reactor;
    db::PoolOptions options;
    options.connection_string = database_.url();
    db::Pool pool(options);
    const db::Statement statement{"", sql};
    return reactor.block_on(pool.query(statement)).text(0, 0);
  }
  double estimate(const std::string& where) {
    const std::string plan = value("EXPLAIN (FORMAT JSON) SELECT * FROM \"a\"\"b\".\"ru'ns\n\" " + where);
    simdjson::dom::parser parser;
    return parser.parse(plan).at(0)["Plan"]["Plan Rows"].get_double().value();
  }
  void run_all(const std::vector<std::string>& statements) {
    for (const std::string& statement : statements) database_.execute(statement);
  }

  db::TestDatabase database_;
};

TEST_F(StatisticsTest, FindsColumnsThatSayTheSame) {
  const std::string where = "WHERE \"mo\"\"del\" = 3 AND framework = 10";
  const std::vector<Change> changes = advised(where);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_LT(estimate(where), 60);
  const std::string none = value("SELECT count(*)::text FROM pg_statistic_ext");
  run_all(changes[0].statements);
  EXPECT_GT(estimate(where), 300) << "600 there are";
  EXPECT_TRUE(advised(where).empty()) << "they are there already";
  run_all(changes[0].inverse);
  EXPECT_EQ(value("SELECT count(*)::text FROM pg_statistic_ext"), none);
}

TEST_F(StatisticsTest, LeavesIndependentColumnsAlone) {
  EXPECT_TRUE(advised("WHERE \"mo\"\"del\" = 3 AND status = 1").empty());
  EXPECT_TRUE(advised("WHERE id = 3 AND framework = 10").empty()) << "one row at most";
}

TEST_F(StatisticsTest, CountsGroupsAndKnowsExpressions) {
  const std::vector<Change> groups = advised(
      "r WHERE (SELECT count(*) FROM (SELECT 1 FROM \"a\"\"b\".\"ru'ns\n\" GROUP BY "
      "\"mo\"\"del\", framework) g) > 3");
  ASSERT_EQ(groups.size(), 1);
  EXPECT_NE(groups[0].statements[0].find("(ndistinct)"), std::string::npos) << groups[0].statements[0];
  run_all(groups[0].statements);
  const std::string where = "WHERE lower(label) = 'l1'";
  const std::vector<Change> expressions = advised(where);
  ASSERT_EQ(expressions.size(), 1);
  EXPECT_LT(estimate(where), 1000);
  run_all(expressions[0].statements);
  EXPECT_GT(estimate(where), 5000);
  run_all(expressions[0].inverse);
}

}  // namespace
}  // namespace cairn::tuner
