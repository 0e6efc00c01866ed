// The profile of a real server: what ran is found, what may not be read is said, nothing is ever reset.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <sstream>

#include "base/json.h"
#include "base/reactor.h"
#include "base/testing.h"
#include "db/testing.h"
#include "tuner/profile/profile_cli.h"
#include "tuner/profile/setup.h"
#include "tuner/profile/snapshots.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

constexpr int kTriesMax = 1000;

class ProfileTest : public testing::Test {
 protected:
  void create_extension(const std::string& more = "") {
    database_.execute("CREATE EXTENSION pg_stat_statements " + more);
  }

  Reading read(const std::string& url) {
    Reactor reactor;
    db::PoolOptions options;
    options.connection_string = url;
    options.size = 1;
    db::Pool pool(options);
    return reactor.block_on(read_statements(pool));
  }
  Reading read() { return read(database_.url()); }

  // Runs each with execute(): simple protocol, once.
  void run(int times, const std::string& sql) {
    for (int i = 0; i < times; ++i) database_.execute(sql);
  }

  // A role that is gone at the end, and the URL with which it connects.
  std::string url_of_new_role() {
    role_.reset(new std::string("reader \"" + database_.name()), [this](const std::string* name) {
      database_.execute("DROP OWNED BY " + db::quote_identifier(*name) + "; DROP ROLE " + db::quote_identifier(*name));
      delete name;
    });
    database_.execute("CREATE ROLE " + db::quote_identifier(*role_) + " LOGIN");
    std::string url = database_.url();
    return url.replace(url.find("postgres@"), std::string_view("postgres").size(), "reader%20%22" + database_.name());
  }

  static const StatementRow* find(const Reading& reading, const std::string& part) {
    for (const StatementRow& row : reading.statements)
      if (row.text.find(part) != std::string::npos) return &row;
    return nullptr;
  }
  static std::string notes(const Reading& reading) {
    std::string all;
    for (const Note& note : reading.notes) all += note.what + " | " + note.remedy + "\n";
    return all;
  }

  json::Document profile(ProfileOptions options) {
    options.connection_string = database_.url();
    options.state_directory = directory_;
    options.json = true;
    std::ostringstream out, progress;
    EXPECT_EQ(run_profile(options, out, progress), 0);
    return json::Document(out.str());
  }
  static simdjson::dom::element statement_in(const json::Document& profile, const std::string& sql) {
    const std::string id = fingerprint(sql).value();
    for (const auto statement : simdjson::dom::array(profile.root()["statements"]))
      if (std::string_view(statement["id"]) == id) return statement;
    throw std::runtime_error("not in the profile: " + sql);
  }

  db::TestDatabase database_;
  std::shared_ptr<std::string> role_;
  testing_support::TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
};

TEST_F(ProfileTest, R21_WhatRanIsFoundWithItsCallsAndRows) {
  create_extension();
  run(1, "CREATE TABLE t (a int, b text); INSERT INTO t SELECT g, g::text FROM generate_series(1, 1000) g");
  run(7, "SELECT b FROM t WHERE a <= 10");
  const Reading reading = read();
  EXPECT_EQ(notes(reading), "");
  EXPECT_EQ(reading.database, database_.name());
  EXPECT_EQ(reading.extension_version, "1.10");
  const StatementRow* select = find(reading, "SELECT b FROM t");
  ASSERT_NE(select, nullptr);
  EXPECT_EQ(select->text, "SELECT b FROM t WHERE a <= $1");
  EXPECT_EQ(select->counters.calls, 7);
  EXPECT_EQ(select->counters.rows, 70);
  EXPECT_EQ(select->role, "postgres");
  EXPECT_GT(select->counters.total_ms, 0);
  EXPECT_GE(select->counters.max_ms, select->counters.mean_ms());
  EXPECT_GE(select->counters.shared_hits, 7);
  EXPECT_EQ(find(reading, "INSERT INTO t")->counters.rows, 1000);
  EXPECT_GT(find(reading, "INSERT INTO t")->counters.wal_bytes, 0);
}

TEST_F(ProfileTest, R21_ItsOwnStatementsAndOtherDatabasesAreLeftOutAndNothingIsReset) {
  create_extension();
  const db::TestDatabase other;
  other.execute("SELECT 'of another database' AS elsewhere");
  run(3, "SELECT 1 AS here");
  const std::optional<int64_t> reset = read().reset_at_ms;
  const Reading reading = read();
  EXPECT_EQ(find(reading, "pg_stat_statements s"), nullptr);
  EXPECT_EQ(find(reading, "elsewhere"), nullptr);
  EXPECT_EQ(find(reading, "AS here")->counters.calls, 3);
  EXPECT_TRUE(reset);
  EXPECT_EQ(reading.reset_at_ms, reset);
}

TEST_F(ProfileTest, R21_EveryVersionFrom18OnIsReadInWhateverSchema) {
  for (const char* version : {"1.8", "1.9", "1.10"}) {
    database_.execute("CREATE SCHEMA \"my \"\"stats\"");
    create_extension(std::string("SCHEMA \"my \"\"stats\" VERSION '") + version + "'");
    run(2, "SELECT 1 AS here");
    const Reading reading = read();
    EXPECT_EQ(notes(reading), "") << version;
    EXPECT_EQ(reading.extension_version, version);
    ASSERT_NE(find(reading, "AS here"), nullptr) << version;
    EXPECT_EQ(reading.reset_at_ms.has_value(), std::string_view(version) != "1.8");
    database_.execute("DROP SCHEMA \"my \"\"stats\" CASCADE");
  }
}

TEST_F(ProfileTest, R21_WhatIsMissingIsSaidWithWhatMendsIt) {
  Reading reading = read();
  EXPECT_NE(notes(reading).find("CREATE EXTENSION pg_stat_statements;"), std::string::npos) << notes(reading);
  EXPECT_TRUE(reading.statements.empty());
  EXPECT_GT(reading.cache_hits, 0) << "what can be known is";
  create_extension("VERSION '1.7'");
  reading = read();
  EXPECT_NE(notes(reading).find("ALTER EXTENSION pg_stat_statements UPDATE;"), std::string::npos) << notes(reading);
}

TEST_F(ProfileTest, R21_ARoleThatMayNotReadIsToldWhatToGrant) {
  create_extension();
  run(2, "SELECT 1 AS secret_of_another");
  const std::string url = url_of_new_role();
  const Reading blind = read(url);
  EXPECT_EQ(find(blind, "secret_of_another"), nullptr);
  const std::string remedy = "GRANT pg_read_all_stats TO " + db::quote_identifier(*role_) + ";";
  ASSERT_NE(notes(blind).find(remedy), std::string::npos) << notes(blind);
  const Profile profile = make_profile(blind, Order::kTotal);
  EXPECT_TRUE(std::any_of(profile.groups.begin(), profile.groups.end(),
                          [](const auto& group) { return group.id == "hidden"; }));

  database_.execute(remedy);
  const Reading reading = read(url);
  EXPECT_EQ(notes(reading), "");
  EXPECT_EQ(find(reading, "secret_of_another")->counters.calls, 2);

  database_.execute("REVOKE SELECT ON pg_stat_statements FROM PUBLIC");
  const Reading refused = read(url);
  EXPECT_TRUE(refused.statements.empty());
  ASSERT_EQ(refused.notes.size(), 1u);
  database_.execute(refused.notes[0].remedy);
  EXPECT_NE(find(read(url), "secret_of_another"), nullptr) << "what is advised mends it";
}

TEST_F(ProfileTest, R21_HostileNamesAndTextsAreOnlyText) {
  create_extension();
  database_.execute("CREATE TABLE \"select \"\"x'\n; DROP TABLE y\" (\"größe $1\" int)");
  run(2, "SELECT \"größe $1\" FROM \"select \"\"x'\n; DROP TABLE y\" WHERE \"größe $1\" = 1");
  run(1, "DO $secret$ BEGIN PERFORM 'secret'; END $secret$; SET application_name = 'it''s a secret'");
  const Reading reading = read();
  const StatementRow* select = find(reading, "größe");
  ASSERT_NE(find(reading, "WHERE \"größe $1\" = $1"), nullptr);
  EXPECT_FALSE(select->fingerprint.empty());
  EXPECT_NE(find(reading, "SET application_name = '…'"), nullptr);
  const std::string snapshot = to_json(reading);
  EXPECT_EQ(snapshot.find("secret"), std::string::npos);
  EXPECT_EQ(to_json(reading_from_json(snapshot)), snapshot);
  ProfileOptions options;
  options.connection_string = database_.url();
  options.state_directory = directory_;
  std::ostringstream out, progress;
  run_profile(options, out, progress);
  EXPECT_NE(out.str().find("\"select \"\"x' ; DROP TABLE y\""), std::string::npos) << out.str();
}

TEST_F(ProfileTest, R21_SinceASnapshotOnlyWhatRanInBetweenIsShown) {
  create_extension();
  run(5, "SELECT now() AS before");
  run(5, "SELECT 2 AS both");
  const json::Document saved = profile({.save = true});
  const std::string name(std::string_view(saved.root()["snapshot"]));
  run(2, "SELECT 2 AS both");
  for (const std::string& since : {std::string("last"), name}) {
    const json::Document shown = profile({.since = since});
    EXPECT_EQ(int64_t(statement_in(shown, "SELECT 2 AS both")["calls"]), 2);
    EXPECT_THROW(statement_in(shown, "SELECT now() AS before"), std::runtime_error);
    EXPECT_EQ(int64_t(shown.root()["since"]), int64_t(saved.root()["taken_at"]));
  }
}

TEST_F(ProfileTest, R21_AResetInBetweenIsNoticed) {
  create_extension();
  run(5, "SELECT 1 AS single");
  profile({.save = true});
  // Of this statement alone: that does not change the time of the reset.
  database_.execute(
      "SELECT pg_stat_statements_reset(0, d.oid, s.queryid) FROM pg_stat_statements s JOIN pg_database d ON d.oid = "
      "s.dbid "
      "WHERE d.datname = current_database() AND s.query = 'SELECT $1 AS single'");
  run(3, "SELECT 1 AS single");
  const json::Document shown = profile({.since = "last"});
  EXPECT_EQ(int64_t(statement_in(shown, "SELECT 1 AS single")["calls"]), 3);
  EXPECT_TRUE(bool(statement_in(shown, "SELECT 1 AS single")["from_zero"]));
  EXPECT_NE(simdjson::minify(shown.root()["notes"]).find("count from zero"), std::string::npos);
}

TEST_F(ProfileTest, R21_TablesReadAsAWholeAndWaitsAreShown) {
  create_extension();
  database_.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 500) g; SELECT count(*) FROM t;");
  // A session's counts reach the statistics when it ends, a little after the client has gone.
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const json::Document shown = profile({.interval_s = 0.02, .tables = true, .samples = 2});
    EXPECT_EQ(int64_t(shown.root()["waits"]["samples"]), 2);
    const auto tables = simdjson::dom::array(shown.root()["tables"]);
    if (tables.size() == 0) continue;
    EXPECT_EQ(std::string_view(tables.at(0)["table"]), "t");
    EXPECT_GE(int64_t(tables.at(0)["sequential_rows"]), 500);
    return;
  }
  FAIL() << "the sequential scan was never seen";
}

TEST_F(ProfileTest, R21_SetupMakesWhatIsMissingWhenTold) {
  auto setup = [&](const std::string& url, bool apply, int code) {
    std::ostringstream out;
    EXPECT_EQ(run_setup({.connection_string = url, .apply = apply}, out), code) << out.str();
    return out.str();
  };
  EXPECT_NE(setup(database_.url(), false, 1).find("CREATE EXTENSION pg_stat_statements;"), std::string::npos);
  const std::string url = url_of_new_role();
  const std::string refused = setup(url, true, 1);
  EXPECT_NE(refused.find("as a superuser: CREATE EXTENSION"), std::string::npos) << refused;
  EXPECT_NE(setup(database_.url(), true, 0).find("done: CREATE EXTENSION pg_stat_statements;"), std::string::npos);
  EXPECT_EQ(setup(database_.url(), true, 0).find("done"), std::string::npos) << "there is nothing left to do";
  database_.execute("DROP EXTENSION pg_stat_statements; CREATE EXTENSION pg_stat_statements VERSION '1.7'");
  EXPECT_NE(setup(database_.url(), true, 0).find("done: ALTER EXTENSION pg_stat_statements UPDATE;"),
            std::string::npos);
}

}  // namespace
}  // namespace cairn::tuner
