// Hypothetical indexes as the planner sees them: what they would save, and that nothing else comes of it.
#include "tuner/advise/what_if.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "db/testing.h"

namespace cairn::tuner {
namespace {

constexpr const char* kRuns = R"(
  CREATE SCHEMA lab;
  CREATE TABLE lab.runs (id serial PRIMARY KEY, experiment text, accuracy float8, created timestamptz);
  INSERT INTO lab.runs (experiment, accuracy, created)
    SELECT 'exp-' || i % 500, (i * 7919 % 10000) / 10000.0, timestamptz '2026-01-01' + i * interval '1 minute'
    FROM generate_series(1, 20000) i;
  ANALYZE lab.runs;
)";

IndexDefinition index_on(const TableName& table, const std::vector<std::string>& columns) {
  IndexDefinition index{.table = table};
  for (const std::string& column : columns) index.keys.push_back({.text = column});
  return index;
}

class WhatIfTest : public testing::Test {
 protected:
  WhatIfTest() { database_.execute(kRuns); }

  std::unique_ptr<WhatIf> with_extension() {
    database_.execute("CREATE SCHEMA \"ext \"\"1\"; CREATE EXTENSION hypopg SCHEMA \"ext \"\"1\"");
    return std::make_unique<WhatIf>(reactor_, WhatIfOptions{.connection_string = database_.url()});
  }
  size_t added(WhatIf& what_if, const std::string& sql) {
    std::string refusal;
    const auto number = what_if.add(sql, refusal);
    if (!number) throw std::runtime_error(refusal);
    return *number;
  }
  std::string refused(WhatIf& what_if, const std::string& sql) {
    std::string refusal;
    EXPECT_FALSE(what_if.add(sql, refusal)) << sql;
    return refusal;
  }
  int64_t count(const std::string& sql) {
    const auto connection = reactor_.block_on(db::Connection::connect(database_.url()));
    const db::Statement statement{"", sql};
    return reactor_.block_on(connection->query(statement)).integer(0, 0);
  }

  db::TestDatabase database_;
  Reactor reactor_;
  const TableName runs_{"lab", "runs"};
};

TEST_F(WhatIfTest, TellsWhatAnIndexWouldSaveAndMakesNone) {
  const auto what_if = with_extension();
  const size_t plain = added(*what_if, "SELECT * FROM lab.runs WHERE experiment = 'exp-7'");
  const size_t normalised = added(
      *what_if,
      "SELECT * FROM lab.runs WHERE experiment = $1 AND created > now() - $2::interval ORDER BY accuracy LIMIT $3");
  EXPECT_EQ(what_if->tables(plain), std::set{runs_});
  const IndexDefinition wanted = index_on(runs_, {"experiment"}), other = index_on(runs_, {"accuracy"});
  for (const size_t statement : {plain, normalised}) {
    const Estimate none = what_if->estimate(statement, {});
    const Estimate both = what_if->estimate(statement, {other, wanted});
    EXPECT_TRUE(none.used.empty());
    EXPECT_LT(both.cost, none.cost / 3);
    EXPECT_EQ(both.used, std::vector{wanted});
    EXPECT_EQ(what_if->estimate(statement, {}).cost, none.cost) << "the indexes are gone again";
  }
  EXPECT_GT(what_if->bytes(wanted).value(), 100'000);
  EXPECT_LT(what_if->bytes(wanted).value(), 2'000'000);
  EXPECT_EQ(count("SELECT count(*) FROM pg_index WHERE indrelid = 'lab.runs'::regclass"), 1);
}

TEST_F(WhatIfTest, ReadsWhatPgStatStatementsMakesOfAStatement) {
  const auto what_if = with_extension();
  added(*what_if, "SELECT count(*) FROM lab.runs WHERE created > now() - interval $1");
  added(*what_if,
        "SELECT date_trunc($1, created), count(*) FROM lab.runs WHERE id > $2 GROUP BY DATE_TRUNC ($3, created)");
  added(*what_if, "SELECT extract($1 FROM created), count(*) FROM lab.runs GROUP BY extract($2 FROM created)");
  added(*what_if, "UPDATE lab.runs SET accuracy = $1 WHERE experiment = $2");
  added(*what_if, "SELECT json_build_object($1, experiment, $2, accuracy), concat($3, experiment) FROM lab.runs");
  added(*what_if, "WITH x AS (SELECT $1::int AS n) SELECT * FROM x, lab.runs WHERE id = n; ");
}

TEST_F(WhatIfTest, RefusesWhatCannotBePlannedAndGoesOn) {
  const auto what_if = with_extension();
  EXPECT_NE(refused(*what_if, "SELECT * FROM gone WHERE a = $1").find("gone"), std::string::npos);
  EXPECT_NE(refused(*what_if, "SELECT $1 FROM WHERE"), "");
  EXPECT_NE(refused(*what_if, "CREATE TABLE made (a int)"), "");
  EXPECT_NE(refused(*what_if, ""), "");
  refused(*what_if, "SELECT 1; DROP TABLE lab.runs");
  EXPECT_EQ(count("SELECT count(*) FROM lab.runs"), 20000);
  const size_t good = added(*what_if, "SELECT * FROM lab.runs WHERE experiment = $1");
  const IndexDefinition impossible = index_on(runs_, {"no such column"});
  EXPECT_FALSE(what_if->bytes(impossible));
  EXPECT_NE(what_if->refusal(impossible).find("no such column"), std::string::npos);
  const IndexDefinition wanted = index_on(runs_, {"experiment"});
  EXPECT_EQ(what_if->estimate(good, {wanted}).used, std::vector{wanted});
}

TEST_F(WhatIfTest, QuotesHostileNames) {
  database_.execute(R"(CREATE SCHEMA "a""b; DROP"; CREATE TABLE "a""b; DROP"."sel'ect
" ("Größe""; --" int, "order" text);
INSERT INTO "a""b; DROP"."sel'ect
" SELECT i, i FROM generate_series(1, 20000) i; ANALYZE)");
  const auto what_if = with_extension();
  const TableName table{"a\"b; DROP", "sel'ect\n"};
  const size_t statement = added(*what_if, "SELECT * FROM \"a\"\"b; DROP\".\"sel'ect\n\" WHERE \"Größe\"\"; --\" = $1");
  const IndexDefinition index = index_on(table, {"Größe\"; --", "order"});
  EXPECT_EQ(what_if->tables(statement), std::set{table});
  EXPECT_EQ(what_if->estimate(statement, {index}).used, std::vector{index});
}

TEST_F(WhatIfTest, PutsAnIndexOnAPartitionedTable) {
  database_.execute(R"(CREATE TABLE lab.points (k int, at date) PARTITION BY RANGE (at);
    CREATE TABLE lab.points_1 PARTITION OF lab.points FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE lab.points_2 PARTITION OF lab.points FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    INSERT INTO lab.points SELECT i, date '2026-01-01' + i % 50 FROM generate_series(1, 40000) i;
    ANALYZE lab.points;)");
  const auto what_if = with_extension();
  const TableName points{"lab", "points"};
  const size_t statement = added(*what_if, "SELECT * FROM lab.points WHERE k = $1");
  EXPECT_TRUE(what_if->tables(statement).contains(points));
  const IndexDefinition index = index_on(points, {"k"});
  const double before = what_if->estimate(statement, {}).cost;
  const Estimate after = what_if->estimate(statement, {index});
  EXPECT_LT(after.cost, before / 3);
  EXPECT_EQ(after.used, std::vector{index});
  EXPECT_GT(what_if->bytes(index).value_or(0), 400'000);
}

TEST_F(WhatIfTest, SaysWhatIsMissingAndMakesItOnlyWhenAllowed) {
  WhatIf without(reactor_, {.connection_string = database_.url()});
  EXPECT_NE(without.missing().find("--allow-extension"), std::string::npos);
  EXPECT_EQ(count("SELECT count(*) FROM pg_extension WHERE extname = 'hypopg'"), 0);
  const size_t statement = added(without, "SELECT * FROM lab.runs WHERE experiment = $1");
  EXPECT_GT(without.estimate(statement, {}).cost, 0);
  EXPECT_FALSE(without.bytes(index_on(runs_, {"experiment"})));

  WhatIf allowed(reactor_, {.connection_string = database_.url(), .allow_extension = true});
  EXPECT_EQ(allowed.missing(), "");
  EXPECT_TRUE(allowed.bytes(index_on(runs_, {"experiment"})));
}

}  // namespace
}  // namespace cairn::tuner
