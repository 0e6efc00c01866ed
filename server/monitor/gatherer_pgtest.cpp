// The figures of a real PostgreSQL beside what was done to it.
#include "monitor/gatherer.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "monitor/exposition.h"
#include "schema/testing.h"

namespace cairn::monitor {
namespace {

class GathererTest : public testing::Test {
 protected:
  // Series as they are written, with their values.
  std::map<std::string, double> scrape(Gatherer& gatherer) {
    const std::string page = *reactor_.block_on(gatherer.page());
    std::map<std::string, double> series;
    for (const Sample& sample : read_exposition(page, [](std::string_view) { return true; })) {
      const bool first = series.emplace(sample.name + "{" + label_text(sample.labels) + "}", sample.value).second;
      EXPECT_TRUE(first) << "twice: " << sample.name << "{" << label_text(sample.labels) << "}";
    }
    return series;
  }
  std::map<std::string, double> scrape() {
    Gatherer gatherer(database_.url());
    return scrape(gatherer);
  }

  Reactor reactor_;
  db::TestDatabase database_;
};

TEST_F(GathererTest, R30_EveryCollectorSucceedsAndEveryFamilyIsThereOnce) {
  const schema::MigratedDatabase migrated;
  Gatherer gatherer(migrated.url());
  migrated.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
  const auto series = scrape(gatherer);
  for (const auto& [name, value] : series)
    if (name.starts_with("pg_scrape_collector_success")) {
      EXPECT_EQ(value, 1) << name;
    }
  EXPECT_EQ(series.at("pg_up{}"), 1);
  EXPECT_EQ(series.at("pg_exporter_last_scrape_error{}"), 0);
  for (const char* name :
       {"pg_slow_queries{}", "pg_cache_hit_ratio{}", "pg_deadlocks{}", "pg_connections{state=\"active\"}",
        "pg_database_size{}", "pg_settings_max_connections{}", "pg_settings_shared_buffers_bytes{}",
        "pg_txid_current{}", "pg_stat_bgwriter_checkpoints_timed_total{}", "pg_stat_bgwriter_checkpoints_timed{}",
        "pg_wal_segments{}", "pg_replication_is_replica{}", "pg_replication_lag_seconds{}",
        "pg_postmaster_start_time_seconds{}"})
    EXPECT_TRUE(series.contains(name)) << name;
}

TEST_F(GathererTest, R30_TablesAndIndexesAreCounted) {
  database_.execute(
      "CREATE TABLE \"odd \"\"name\" (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off);"
      "INSERT INTO \"odd \"\"name\" SELECT n, repeat('x', 100) FROM generate_series(1, 1000) n;"
      "DELETE FROM \"odd \"\"name\" WHERE id <= 10");
  database_.execute("SELECT pg_stat_force_next_flush()");
  const std::string label = "{datname=\"" + database_.name() + "\",schemaname=\"public\",relname=\"odd \\\"name\"}";
  auto series = scrape();
  EXPECT_EQ(series.at("pg_stat_user_tables_n_tup_ins" + label), 1000);
  EXPECT_EQ(series.at("pg_stat_user_tables_n_dead_tup" + label), 10);
  EXPECT_EQ(series.at("pg_stat_user_tables_last_autovacuum" + label), 0);
  EXPECT_GT(series.at("pg_table_sizes{table_name=\"public.odd \\\"name\"}"), 100'000);
  EXPECT_EQ(series.at("pg_index_usage{index_name=\"public.odd \\\"name_pkey\"}"), 1);
}

TEST_F(GathererTest, R30_AnExclusiveLockHoldsNoScrapeUp) {
  database_.execute("CREATE TABLE held (id int PRIMARY KEY); INSERT INTO held SELECT generate_series(1, 100)");
  const std::unique_ptr<PGconn, decltype(&PQfinish)> holder(PQconnectdb(database_.url().c_str()), &PQfinish);
  PQclear(PQexec(holder.get(), "BEGIN"));
  PQclear(PQexec(holder.get(), "LOCK TABLE held IN ACCESS EXCLUSIVE MODE"));
  PQclear(PQexec(holder.get(), "REINDEX INDEX held_pkey"));
  const auto series = scrape();
  EXPECT_EQ(series.at("pg_exporter_last_scrape_error{}"), 0);
  EXPECT_TRUE(series.contains("pg_table_sizes{table_name=\"public.held\"}"));
  EXPECT_GE(series.at("pg_locks_count{datname=\"" + database_.name() + "\",mode=\"accessexclusivelock\"}"), 2);
}

TEST_F(GathererTest, R30_BloatIsEstimatedNearTheTruth) {
  database_.execute(
      "CREATE TABLE full_of_holes (id int, note text) WITH (autovacuum_enabled = off);"
      "INSERT INTO full_of_holes SELECT n, md5(n::text) FROM generate_series(1, 30000) n;"
      "CREATE INDEX holes_note ON full_of_holes (note);"
      "CREATE TABLE packed AS SELECT * FROM full_of_holes; CREATE INDEX packed_note ON packed (note);"
      "DELETE FROM full_of_holes WHERE id % 5 <> 0");
  database_.execute("VACUUM full_of_holes");
  database_.execute("ANALYZE");
  const auto series = scrape();
  const std::string of = "{datname=\"" + database_.name() + "\",schemaname=\"public\",";
  EXPECT_NEAR(series.at("pg_bloat_table_bloat_pct" + of + "relname=\"full_of_holes\"}"), 80, 5);
  EXPECT_LT(series.at("pg_bloat_table_bloat_pct" + of + "relname=\"packed\"}"), 10);
  EXPECT_NEAR(series.at("pg_bloat_btree_bloat_pct" + of + "tblname=\"full_of_holes\",idxname=\"holes_note\"}"), 80, 10);
  EXPECT_LT(series.at("pg_bloat_btree_bloat_pct" + of + "tblname=\"packed\",idxname=\"packed_note\"}"), 20);
}

TEST_F(GathererTest, R30_AStatementsTextIsShownButNoCommandThatMayHoldAPassword) {
  database_.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
  database_.execute("SELECT pg_stat_statements_reset()");
  database_.execute("CREATE ROLE monitor_test_role PASSWORD 'hush'; DROP ROLE monitor_test_role");
  database_.execute("SELECT count(*) AS counted_by_the_test FROM pg_class");
  Gatherer gatherer(database_.url());
  const std::string page = *reactor_.block_on(gatherer.page());
  EXPECT_NE(page.find("counted_by_the_test"), std::string::npos);
  EXPECT_EQ(page.find("hush"), std::string::npos);
}

TEST_F(GathererTest, R30_AStatementThatFunctionsRunTooIsOneSeriesOfBoth) {
  database_.execute(
      "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; CREATE TABLE counted (id int);"
      "CREATE FUNCTION count_it() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN SELECT count(*) INTO n "
      "FROM counted; RETURN n; END $$");
  database_.execute("SELECT pg_stat_statements_reset()");
  const std::string direct = "SELECT count(*) FROM counted;", function = "SELECT count_it();";
  database_.execute("SET pg_stat_statements.track = 'all';" + direct + direct + function + function + function +
                    "SELECT 1");
  std::multiset<double> calls;
  // pg_stat_statements is the whole server's: other tests' statements are in it.
  for (const auto& [name, value] : scrape())
    if (name.starts_with("pg_stat_statements_calls_total{") &&
        name.find("datname=\"" + database_.name() + "\"") != std::string::npos)
      calls.insert(value);
  EXPECT_EQ(calls.count(5), 1u) << "two calls of its own and three of the function";
  EXPECT_EQ(calls.count(3), 1u) << "of the function itself";
  EXPECT_EQ(calls.count(2), 0u);
}

TEST_F(GathererTest, R30_WhatARoleMayNotSeeIsLeftOutAndIsNoError) {
  database_.execute("DROP ROLE IF EXISTS monitor_test_reader; CREATE ROLE monitor_test_reader LOGIN");
  Gatherer gatherer(database_.url() + "&user=monitor_test_reader");
  const auto series = scrape(gatherer);
  EXPECT_EQ(series.at("pg_scrape_collector_success{collector=\"wal\"}"), 0);
  EXPECT_EQ(series.at("pg_exporter_last_scrape_error{}"), 0);
  EXPECT_TRUE(series.contains("pg_database_size{}"));
  database_.execute("DROP ROLE monitor_test_reader");
}

TEST_F(GathererTest, R30_WithoutADatabaseItSaysSoAndComesBack) {
  Gatherer nobody("host=/nonexistent");
  EXPECT_EQ(scrape(nobody).at("pg_up{}"), 0);
  EXPECT_FALSE(nobody.failure().empty());
  Gatherer gatherer(database_.url());
  EXPECT_EQ(scrape(gatherer).at("pg_up{}"), 1);
  database_.execute(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn monitor' AND datname ="
      " current_database()");
  EXPECT_EQ(scrape(gatherer).at("pg_up{}"), 1);
}

TEST_F(GathererTest, R30_ScrapesAtTheSameTimeShareOne) {
  Gatherer gatherer(database_.url());
  std::string pages[3];
  int arrived = 0;
  auto read = [&](int i) -> task<> {
    const Gatherer::Page page = co_await gatherer.page();
    pages[i] = *page;
    ++arrived;
  };
  auto all = [&]() -> task<> {
    for (int i = 0; i < 3; ++i) Reactor::current().spawn("test", read(i));
    while (arrived < 3) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor_.block_on(all());
  EXPECT_FALSE(pages[0].empty());
  EXPECT_EQ(pages[0], pages[1]);
  EXPECT_EQ(pages[0], pages[2]);
}

}  // namespace
}  // namespace cairn::monitor
