#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "db/testing.h"
#include "schema/cli.h"
#include "schema/migrator.h"

namespace cairn::schema {
namespace {

const std::vector<Migration> kSteps = {
    {1, "a", "CREATE TABLE a (x int); INSERT INTO a VALUES (1);", "DROP TABLE a;"},
    {2, "b", "CREATE TABLE b (x int);", "DROP TABLE b;"},
    {3, "c", "-- cairn: no transaction\nCREATE INDEX CONCURRENTLY a_x ON a (x);\nSET statement_timeout = 12345;",
     "-- cairn: no transaction\nDROP INDEX CONCURRENTLY a_x;"},
};

class MigratorTest : public testing::Test {
 protected:
  MigratorOptions options(std::vector<Migration> steps = kSteps) const {
    MigratorOptions result;
    result.connection_string = database_.url();
    result.migrations = std::move(steps);
    return result;
  }
  Migrator migrator(std::vector<Migration> steps = kSteps) const { return Migrator(options(std::move(steps))); }

  std::string ask(const std::string& sql) const {
    PGconn* connection = PQconnectdb(database_.url().c_str());
    PGresult* result = PQexec(connection, sql.c_str());
    const std::string answer = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : PQresultErrorMessage(result);
    PQclear(result);
    PQfinish(connection);
    return answer;
  }
  bool exists(const std::string& relation) const {
    return ask("SELECT to_regclass('" + relation + "') IS NOT NULL") == "t";
  }

  db::TestDatabase database_;
};

// The message of the Error that `action` throws, and its code.
template <class Action>
std::pair<ErrorCode, std::string> error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::kInternalError, "(no error)"};
}

TEST_F(MigratorTest, R14_GoesUpAndDownByEveryKindOfTarget) {
  EXPECT_EQ(migrator().current(), 0);
  EXPECT_EQ(migrator().upgrade("+1"), 1);
  EXPECT_EQ(migrator().current(), 1);
  EXPECT_EQ(migrator().upgrade("2"), 1);
  EXPECT_TRUE(exists("b"));
  EXPECT_EQ(migrator().upgrade("head"), 1);
  EXPECT_EQ(migrator().upgrade("head"), 0);
  EXPECT_TRUE(exists("a_x"));
  EXPECT_EQ(migrator().downgrade("-2"), 2);
  EXPECT_FALSE(exists("b"));
  EXPECT_EQ(migrator().current(), 1);
  migrator().upgrade("head");
  EXPECT_EQ(migrator().downgrade("0002"), 1);
  EXPECT_EQ(migrator().current(), 2);
  EXPECT_EQ(migrator().downgrade("base"), 2);
  EXPECT_FALSE(exists("a"));
}

TEST_F(MigratorTest, R14_TargetsThatNameNothingAreRefused) {
  for (const char* target : {"", "heads", "+", "+x", "--1", "99999999"}) {
    EXPECT_EQ(error_of([&] { migrator().upgrade(target); }).first, ErrorCode::kInvalidParameterValue) << target;
  }
  EXPECT_EQ(error_of([&] { migrator().upgrade("9"); }).first, ErrorCode::kResourceDoesNotExist);
}

TEST_F(MigratorTest, AFailedStepLeavesNothingBehind) {
  auto steps = kSteps;
  steps[1].up = "CREATE TABLE b (x int);\nINSERT INTO b VALUES (1);\nSELECT é FROM nonsense;\n";
  const auto [code, message] = error_of([&] { migrator(steps).upgrade("head"); });
  EXPECT_NE(message.find("0002_b failed"), std::string::npos) << message;
  EXPECT_NE(message.find("line 3: SELECT é FROM nonsense;"), std::string::npos) << message;
  EXPECT_FALSE(exists("b"));
  EXPECT_TRUE(exists("a"));
  EXPECT_EQ(migrator().current(), 1);
  EXPECT_EQ(migrator().upgrade("head"), 2);
}

TEST_F(MigratorTest, AStepMayNotEndItsTransaction) {
  auto steps = kSteps;
  steps[0].up = "CREATE TABLE a (x int); COMMIT;";
  EXPECT_NE(error_of([&] { migrator(steps).upgrade("head"); }).second.find("ends its own transaction"),
            std::string::npos);
  EXPECT_EQ(migrator().current(), 0);
}

TEST_F(MigratorTest, AStepsSettingsEndWithIt) {
  auto steps = kSteps;
  steps.push_back({4, "d", "CREATE TABLE d AS SELECT current_setting('statement_timeout') AS t;", ""});
  migrator(steps).upgrade("head");
  EXPECT_EQ(ask("SELECT t FROM d"), "0");
  EXPECT_NE(error_of([&] { migrator(steps).downgrade("-1"); }).second.find("0004_d cannot be taken back"),
            std::string::npos);
}

TEST_F(MigratorTest, R14_AnEditedStepIsRefusedAndNamed) {
  migrator().upgrade("head");
  auto steps = kSteps;
  steps[1].up += " -- edited";
  for (const auto& action : std::vector<std::function<void()>>{[&] { migrator(steps).upgrade("head"); },
                                                               [&] { migrator(steps).downgrade("-1"); },
                                                               [&] { migrator(steps).current(); }}) {
    const auto [code, message] = error_of(action);
    EXPECT_EQ(code, ErrorCode::kResourceConflict);
    EXPECT_NE(message.find("0002_b was edited"), std::string::npos) << message;
  }
}

TEST_F(MigratorTest, ADatabaseThatIsNewerIsRefused) {
  migrator().upgrade("head");
  const auto [code, message] = error_of([&] { migrator({kSteps[0], kSteps[1]}).upgrade("head"); });
  EXPECT_EQ(code, ErrorCode::kResourceConflict);
  EXPECT_NE(message.find("0003_c"), std::string::npos) << message;
  EXPECT_NE(message.find("newer"), std::string::npos) << message;
}

TEST_F(MigratorTest, OfTwoAtOnceTheSecondWaits) {
  auto steps = kSteps;
  // Long enough that the second one meets the lock; the concurrent index would dead-lock with a waiter that held a
  // snapshot.
  steps[0].up += "SELECT pg_sleep(0.5);";
  std::atomic<int> applied = 0, waited = 0;
  auto work = [&] {
    MigratorOptions mine = options(steps);
    mine.report = [&](const std::string& line) { waited += line.find("waiting") != std::string::npos; };
    applied += Migrator(std::move(mine)).upgrade("head");
  };
  std::thread first(work), second(work);
  first.join();
  second.join();
  EXPECT_EQ(applied, 3);
  EXPECT_EQ(waited, 1);
  EXPECT_EQ(ask("SELECT count(*) FROM a"), "1");
}

TEST_F(MigratorTest, SetsOfStepsLiveSideBySide) {
  migrator().upgrade("head");
  MigratorOptions users = options({{1, "mine", "CREATE TABLE mine (x int);", "DROP TABLE mine;"}});
  users.lineage = "user's";
  EXPECT_EQ(Migrator(users).upgrade("head"), 1);
  EXPECT_EQ(migrator().current(), 3);
  EXPECT_EQ(Migrator(users).downgrade("base"), 1);
  EXPECT_TRUE(exists("a"));
}

TEST_F(MigratorTest, R14_PrintedSqlDoesTheSameAsTheMigrator) {
  std::ostringstream sql;
  MigratorOptions printing = options({kSteps[0], kSteps[1]});
  printing.print_sql = &sql;
  EXPECT_EQ(Migrator(printing).upgrade("head"), 2);
  EXPECT_FALSE(exists("a"));
  database_.execute(sql.str());
  EXPECT_TRUE(exists("b"));
  EXPECT_EQ(migrator().current(), 2);
}

TEST_F(MigratorTest, R14_HistoryNamesEveryStep) {
  migrator().upgrade("+2");
  const auto steps = migrator().history();
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_TRUE(steps[1].applied_at.has_value());
  EXPECT_EQ(steps[1].applied_by, ask("SELECT current_user"));
  EXPECT_FALSE(steps[2].applied_at.has_value());
}

TEST_F(MigratorTest, R14_TheCommandLinePrintsJson) {
  MigrateOptions command;
  command.connection_string = database_.url();
  command.json = true;
  command.action = MigrateOptions::Action::kCurrent;
  std::ostringstream out, progress;
  EXPECT_EQ(run_migrate(command, out, progress), 0);
  EXPECT_TRUE(out.str().starts_with("{\"current\":0,\"name\":\"\",\"head\":")) << out.str();
}

TEST_F(MigratorTest, R14_CairnsOwnStepsGoUpDownAndUpAgain) {
  Migrator own(options(embedded()));
  const int all = own.upgrade("head");
  EXPECT_EQ(all, int(embedded().size()));
  EXPECT_EQ(own.downgrade("base"), all);
  EXPECT_EQ(own.upgrade("head"), all);
}

TEST_F(MigratorTest, TheServerRefusesASchemaThatIsBehindUnlessTold) {
  EXPECT_NE(error_of([&] { prepare_schema(database_.url(), false); }).second.find("cairn migrate upgrade head"),
            std::string::npos);
  prepare_schema(database_.url(), true);
  prepare_schema(database_.url(), false);
}

TEST(Migrator, ADatabaseOutOfReachIsSaidSo) {
  MigratorOptions options;
  options.connection_string = "host=/nonexistent connect_timeout=1";
  EXPECT_EQ(error_of([&] { Migrator migrator(options); }).first, ErrorCode::kTemporarilyUnavailable);
}

}  // namespace
}  // namespace cairn::schema
