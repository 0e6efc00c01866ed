// Values for placeholders, drawn from a database's rows.
#include "tuner/prove/constants.h"

#include <gtest/gtest.h>

#include <set>

#include "base/reactor.h"
#include "db/pool.h"
#include "db/testing.h"

namespace cairn::tuner {
namespace {

constexpr const char* kTables = R"(
  CREATE TABLE runs (id serial PRIMARY KEY, key uuid UNIQUE DEFAULT gen_random_uuid(), name text, status text, score float8,
    tags text[], doc jsonb, at timestamptz, day date, big bigint);
  INSERT INTO runs (name, status, score, tags, doc, at, day, big)
    SELECT 'run-' || i, CASE WHEN i % 10 = 0 THEN 'rare' ELSE 'common' END, i / 5000.0, ARRAY['a' || i % 7, 'b"' || i % 3],
      jsonb_build_object('lr', i / 100.0, 'opt', 'adam' || i % 4), timestamptz '2024-01-01' + i * interval '1 hour',
      date '2024-01-01' + i / 24, i * 1000000000000 FROM generate_series(1, 5000) i;
  ANALYZE runs;
)";

class ConstantsTest : public testing::Test {
 protected:
  ConstantsTest() { database_.execute(kTables); }

  Constants draw(const std::string& sql, int sets = 3, uint64_t seed = 1) {
    db::PoolOptions options;
    options.connection_string = database_.url();
    db::Pool pool(options);
    const Catalog catalog = reactor_.block_on(read_catalog(pool));
    Session session(database_.url());
    ConstantsDrawer drawer(session, catalog, seed);
    return drawer.draw(sql, sets);
  }
  // How many rows a statement has with each of its sets.
  std::vector<int64_t> rows(const std::string& sql) {
    const Constants constants = draw(sql);
    EXPECT_EQ(constants.refusal, "") << sql;
    EXPECT_FALSE(constants.sets.empty()) << sql;
    Session session(database_.url());
    std::vector<int64_t> counts;
    for (const Values& values : constants.sets) {
      session.execute("BEGIN");
      counts.push_back(session.run(constants.sql, values, false).rows);
      session.execute("ROLLBACK");
    }
    return counts;
  }
  void expect_rows(const std::string& sql, int64_t least, int64_t most) {
    for (const int64_t count : rows(sql)) {
      EXPECT_GE(count, least) << sql;
      EXPECT_LE(count, most) << sql;
    }
  }

  db::TestDatabase database_;
  Reactor reactor_;
};

TEST_F(ConstantsTest, R26_ValuesAreOfTheRows) {
  expect_rows("SELECT * FROM runs WHERE name = $1", 1, 1);
  expect_rows("SELECT * FROM runs WHERE name = $1 AND status = $2 AND day = $3", 1, 1);
  expect_rows("SELECT * FROM runs WHERE name IN ($1, $2, $3)", 2, 3);
  expect_rows("SELECT * FROM runs WHERE id = ANY ($1)", 2, 3);
  expect_rows("SELECT * FROM runs WHERE score BETWEEN $1 AND $2", 1, 5000);
  expect_rows("SELECT * FROM runs WHERE name LIKE $1", 1, 5000);
  expect_rows("SELECT * FROM runs WHERE upper(name) = upper($1)", 1, 1);
  expect_rows("SELECT * FROM runs WHERE $1 = ANY (tags)", 500, 2500);
  expect_rows("SELECT * FROM runs WHERE tags @> $1", 500, 2500);
  expect_rows("SELECT * FROM runs WHERE doc @> $1", 1, 2000);
  expect_rows("SELECT * FROM runs WHERE doc ->> $1 = $2", 1, 2000);
  expect_rows("SELECT * FROM runs WHERE (doc ->> $1)::float = $2", 1, 2);
  expect_rows("SELECT * FROM runs WHERE status = $1 ORDER BY at LIMIT $2", 10, 100);
}

TEST_F(ConstantsTest, R26_TimesAreNearTheEndOfTheData) {
  expect_rows("SELECT * FROM runs WHERE at > $1", 20, 24 * 31);
  expect_rows("SELECT * FROM runs WHERE at > now() - $1::interval", 20, 24 * 31);
  expect_rows("SELECT * FROM runs WHERE at > now() - interval $1", 20, 24 * 31);
  expect_rows("SELECT * FROM runs WHERE at BETWEEN $1 AND $2", 20, 24 * 31);
  expect_rows("SELECT date_trunc($1, at), count(*) FROM runs WHERE at > $2 GROUP BY date_trunc($3, at)", 1, 32);
}

TEST_F(ConstantsTest, R26_NewRowsBreakNoUniqueIndex) {
  expect_rows("INSERT INTO runs (id, key, name, at) VALUES ($1, $2, $3, $4)", 1, 1);
  expect_rows("INSERT INTO runs (key, name) VALUES ($1, $2), ($3, $4)", 2, 2);
  expect_rows("UPDATE runs SET status = $1, score = $2 WHERE id = $3", 1, 1);
  expect_rows("DELETE FROM runs WHERE key = $1", 1, 1);
}

TEST_F(ConstantsTest, R26_TheSameSeedGivesTheSameValuesAndCommonOnesComeOften) {
  const std::string sql = "SELECT * FROM runs WHERE name = $1 AND score > $2";
  EXPECT_EQ(draw(sql, 3, 5).sets, draw(sql, 3, 5).sets);
  EXPECT_NE(draw(sql, 3, 5).sets, draw(sql, 3, 6).sets);
  int common = 0;
  for (uint64_t seed = 0; seed < 30; ++seed)
    common += draw("SELECT * FROM runs WHERE status = $1", 1, seed).sets.at(0).at(0) == "common" ? 1 : 0;
  EXPECT_GE(common, 20);
}

TEST_F(ConstantsTest, R26_ConstantsInTheTextStayAndWhatCannotBeKnownIsSaid) {
  const Constants plain = draw("SELECT * FROM runs WHERE name = 'run-1'");
  EXPECT_EQ(plain.sql, "SELECT * FROM runs WHERE name = 'run-1'");
  EXPECT_EQ(plain.sets, std::vector<Values>{Values{}});
  EXPECT_NE(draw("SELECT * FROM gone WHERE a = $1").refusal, "");
  EXPECT_NE(draw("SELECT * FROM runs WHERE point(1, 1) <@ $1::circle").refusal.find("circle"), std::string::npos);
}

TEST_F(ConstantsTest, R26_ATableThatMayNotBeReadIsKnownByItsStatistics) {
  db::PoolOptions options;
  options.connection_string = database_.url();
  db::Pool pool(options);
  const Catalog catalog = reactor_.block_on(read_catalog(pool));
  Session session(database_.url());
  session.execute("DROP ROLE IF EXISTS constants_reader; CREATE ROLE constants_reader");
  session.execute("GRANT SELECT (name) ON runs TO constants_reader; SET ROLE constants_reader");
  const Constants constants = ConstantsDrawer(session, catalog, 1).draw("SELECT name FROM runs WHERE name = $1", 3);
  session.execute("RESET ROLE; DROP OWNED BY constants_reader; DROP ROLE constants_reader");
  EXPECT_EQ(constants.refusal, "");
  ASSERT_FALSE(constants.sets.empty());
  for (const Values& values : constants.sets) EXPECT_EQ(values.at(0).value().find("run-"), 0U);
}

}  // namespace
}  // namespace cairn::tuner
