// Settings on a real server: found from what it counted, applied, and put back exactly.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/reactor.h"
#include "db/pool.h"
#include "db/testing.h"
#include "tuner/advise/settings_advice.h"

namespace cairn::tuner {
namespace {

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    options_.connection_string = database_.url();
    options_.size = 1;
  }
  SettingsFacts facts() {
    Reactor reactor;
    db::Pool pool(options_);
    return reactor.block_on(read_settings_facts(pool));
  }
  std::string text(const std::string& sql) {
    Reactor reactor;
    db::Pool pool(options_);
    const std::string whole = "SELECT coalesce(string_agg(x, chr(10) ORDER BY x), '') FROM (" + sql + ") q(x)";
    const db::Statement statement{"", whole};
    return reactor.block_on(pool.query(statement)).text(0, 0);
  }
  // All that a setting may be kept in.
  std::string kept() {
    return text(
        "SELECT 'db ' || s FROM pg_db_role_setting, unnest(setconfig) s UNION ALL SELECT relname || s FROM "
        "pg_class, unnest(reloptions) s UNION ALL SELECT name || setting FROM pg_file_settings WHERE sourcefile "
        "LIKE '%auto.conf'");
  }
  static Change find(const std::vector<Change>& changes, const std::string& name) {
    const auto found = std::ranges::find(changes, name, &Change::name);
    EXPECT_NE(found, changes.end()) << name;
    return found == changes.end() ? Change{} : *found;
  }
  void there_and_back(const Change& change) {
    const std::string before = kept();
    for (const std::string& statement : change.statements) database_.execute(statement);
    EXPECT_NE(kept(), before) << change.name;
    for (const std::string& statement : change.inverse) database_.execute(statement);
    EXPECT_EQ(kept(), before) << change.name;
  }

  db::TestDatabase database_;
  db::PoolOptions options_;
};

TEST_F(SettingsTest, R27_FindsATableThatChangesMuch) {
  database_.execute(
      "CREATE SCHEMA \"a\"\"b\"; CREATE TABLE \"a\"\"b\".\"sel'ect\n\" (a int, b int) WITH (fillfactor = 70, "
      "autovacuum_analyze_scale_factor = 0.3, autovacuum_enabled = off); INSERT INTO \"a\"\"b\".\"sel'ect\n\" SELECT "
      "i, i "
      "FROM generate_series(1, 20000) i");
  database_.execute("UPDATE \"a\"\"b\".\"sel'ect\n\" SET b = b + 1");
  SettingsFacts found = facts();
  for (int i = 0; i < 1000 && (found.tables.empty() || found.tables[0].updated < 20000); ++i) found = facts();
  const Change change = find(propose_settings(found), "autovacuum");
  EXPECT_EQ(change.table, (TableName{"a\"b", "sel'ect\n"}));
  EXPECT_EQ(change.statements.size(), 1);
  EXPECT_NE(change.reason.find("20000 were updated"), std::string::npos) << change.reason;
  there_and_back(change);
}

TEST_F(SettingsTest, R11_FindsSortsThatSpill) {
  database_.execute("CREATE EXTENSION pg_stat_statements; ALTER DATABASE " + database_.name() +
                    " SET work_mem = '256kB'");
  for (int i = 0; i < 12; ++i)
    database_.execute(
        "SELECT count(*) FROM (SELECT md5(i::text) FROM generate_series(1, 20000) i ORDER BY 1 OFFSET 0) q");
  const Change change = find(propose_settings(facts()), "work_mem");
  EXPECT_NE(change.inverse.at(0).find("'256kB'"), std::string::npos) << change.inverse.at(0);
  there_and_back(change);
}

TEST_F(SettingsTest, R27_PutsTheWholeServersSettingsBack) {
  SettingsFacts found = facts();
  ASSERT_TRUE(found.of_system);
  EXPECT_TRUE(found.machine) << "the socket is this machine's";
  found.machine.reset();
  found.checkpoints_forced = 90;
  found.checkpoints_timed = 1;
  there_and_back(find(propose_settings(found), "max_wal_size"));
  database_.execute("ALTER SYSTEM SET max_wal_size = '1100MB'");
  there_and_back(find(propose_settings([&] {
                        SettingsFacts now = facts();
                        now.machine.reset();
                        now.checkpoints_forced = 1e6;
                        return now;
                      }()),
                      "max_wal_size"));
  database_.execute("ALTER SYSTEM RESET max_wal_size");
}

TEST_F(SettingsTest, ReadsAsARoleThatMayOnlyRead) {
  database_.execute("CREATE ROLE " + database_.name() + "_reader LOGIN");
  options_.connection_string = database_.url() + "&user=" + database_.name() + "_reader";
  const SettingsFacts found = facts();
  EXPECT_FALSE(found.of_system);
  EXPECT_FALSE(found.machine);
  EXPECT_EQ(found.database, database_.name());
  for (const Change& change : propose_settings(found))
    EXPECT_EQ(change.statements[0].find("SYSTEM"), std::string::npos);
  options_.connection_string = database_.url();
  database_.execute("DROP ROLE " + database_.name() + "_reader");
}

}  // namespace
}  // namespace cairn::tuner
