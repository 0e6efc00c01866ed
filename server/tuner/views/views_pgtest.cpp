// Materialised views on a real server: what is proposed, what reads it, and how it is kept fresh.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "db/pool.h"
#include "db/testing.h"
#include "tuner/advise/advise.h"
#include "tuner/views/view_refresh.h"

namespace cairn::tuner {
namespace {

constexpr const char* kRegistry = R"(
  CREATE TABLE models (model_id int PRIMARY KEY, model_name text, created_at timestamptz);
  CREATE TABLE model_versions (version_id int PRIMARY KEY, model_id int);
  CREATE TABLE training_runs (run_id int PRIMARY KEY, version_id int, status text, accuracy float8);
  CREATE TABLE deployments (deployment_id int PRIMARY KEY, version_id int, status text, deployed_at timestamptz);
  INSERT INTO models SELECT i, 'model-' || i, now() - i * interval '1 day' FROM generate_series(1, 300) i;
  INSERT INTO model_versions SELECT i, i % 300 + 1 FROM generate_series(1, 1500) i;
  INSERT INTO training_runs SELECT i, i % 1500 + 1, (array['succeeded', 'failed'])[1 + i % 2], i % 100 / 100.0
    FROM generate_series(1, 30000) i;
  INSERT INTO deployments SELECT i, i % 1400 + 1, (array['active', 'retired', 'failed'])[1 + i % 3], now()
    FROM generate_series(1, 6000) i;
  ANALYZE;)";

// A report over four tables, as a page of the registry asks for it.
constexpr const char* kReport = R"(SELECT
    m.model_name,
    COUNT(DISTINCT d.deployment_id) as total_deployments,
    COUNT(DISTINCT d.deployment_id) FILTER (WHERE d.status = 'active') as active_deployments,
    MAX(d.deployed_at) as last_deployment,
    AVG(tr.accuracy) FILTER (WHERE tr.status = 'succeeded') as avg_accuracy,
    COUNT(DISTINCT tr.run_id) as total_runs
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN deployments d ON mv.version_id = d.version_id
LEFT JOIN training_runs tr ON mv.version_id = tr.version_id
WHERE m.created_at > NOW() - INTERVAL '90 days'
GROUP BY m.model_id, m.model_name
HAVING COUNT(DISTINCT d.deployment_id) > 0
ORDER BY total_deployments DESC)";

constexpr const char* kCounts = "SELECT status, count(*), max(accuracy) FROM training_runs GROUP BY status";

class ViewsTest : public testing::Test {
 protected:
  ViewsTest() {
    options_.connection_string = database_.url();
    options_.size = 1;
  }

  Advice advised(std::vector<AdviceStatement> workload) {
    Reactor reactor;
    return advise(reactor, database_.url(), std::move(workload), AdviceLimits{});
  }
  static std::vector<const Change*> views(const Advice& advice) {
    std::vector<const Change*> found;
    for (const Change& change : advice.changes)
      if (change.kind == ChangeKind::kMaterializedView) found.push_back(&change);
    return found;
  }
  void run_all(const std::vector<std::string>& statements) {
    for (const std::string& statement : statements) database_.execute(statement);
  }
  // The first column, a line a row.
  std::string query(const std::string& sql) {
    Reactor reactor;
    db::Pool pool(options_);
    const db::Statement statement{"", sql};
    const db::Rows rows = reactor.block_on(pool.query(statement));
    std::string text;
    for (int row = 0; row < rows.size(); ++row) text += rows.text(row, 0) + "\n";
    return text;
  }
  std::string rows_of(const std::string& sql) { return query("SELECT r::text FROM (" + sql + ") r"); }
  int64_t number(const std::string& sql) { return std::stoll(query("SELECT (" + sql + ")::text")); }
  // Blocks that the statement's run touched.
  int64_t blocks(const std::string& sql) {
    const std::string plan = query("EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) " + sql);
    simdjson::dom::parser parser;
    const auto root = parser.parse(plan).at(0)["Plan"].value();
    return root["Shared Hit Blocks"].get_int64().value() + root["Shared Read Blocks"].get_int64().value();
  }
  std::string refresh(RefreshOptions options = {}, int exit_code = 0) {
    options.connection_string = database_.url();
    std::ostringstream out;
    EXPECT_EQ(run_refresh(options, out), exit_code) << out.str();
    return out.str();
  }
  ViewState state() {
    const std::string text = refresh({.status = true, .json = true});
    simdjson::dom::parser parser;
    const auto view = parser.parse(text).at(0).value();
    return {.refreshes = view["refreshes"].get_int64().value(),
            .changes = view["changes"].get_int64().value(),
            .hits = view["hits"].get_int64().value()};
  }
  // Counters reach the others when the session that counted ends; how soon they are seen is PostgreSQL's affair.
  void wait_for(int64_t hits, int64_t changes) {
    for (int i = 0; i < 2000 && (state().hits < hits || state().changes < changes); ++i) continue;
  }

  db::TestDatabase database_;
  db::PoolOptions options_;
};

TEST_F(ViewsTest, R34_AnswersAReportFromAView) {
  database_.execute(kRegistry);
  const Advice advice = advised({{.text = kReport, .calls = 100, .total_ms = 85000.0}});
  ASSERT_EQ(views(advice).size(), 1);
  const Change& change = *views(advice)[0];
  EXPECT_TRUE(change.on_request);
  EXPECT_GT(change.gain_ms, 60000);
  ASSERT_EQ(advice.rewrites.size(), 1);
  EXPECT_EQ(advice.rewrites[0].rule, "materialized-view");
  EXPECT_EQ(advice.rewrites[0].statement, 0);
  const std::string before = query("SELECT relname FROM pg_class WHERE relname LIKE 'mv%'");
  const int64_t blocks_before = blocks(kReport);
  run_all(change.statements);
  EXPECT_EQ(rows_of(std::string(kReport) + ", m.model_name"), rows_of(advice.rewrites[0].text + ", v.model_name"));
  EXPECT_LT(number("SELECT pg_relation_size(c.oid) / 8192 FROM pg_class c WHERE relkind = 'm'"), 20);
  EXPECT_LT(blocks(advice.rewrites[0].text), 20);
  EXPECT_GT(blocks_before, 150);
  const std::string plan = query("EXPLAIN " + advice.rewrites[0].text);
  EXPECT_EQ(plan.find("training_runs on"), std::string::npos) << plan;
  EXPECT_EQ(plan.find("Aggregate"), std::string::npos) << plan;
  const Advice again = advised({{.text = kReport, .calls = 100, .total_ms = 85000.0}});
  EXPECT_TRUE(views(again).empty()) << "it is there already";
  EXPECT_EQ(again.rewrites.size(), 1) << "but not everybody reads it yet";
  run_all(change.inverse);
  EXPECT_EQ(query("SELECT relname FROM pg_class WHERE relname LIKE 'mv%'"), before);
}

TEST_F(ViewsTest, ProposesNoneThatWouldNotPay) {
  database_.execute(kRegistry);
  EXPECT_TRUE(views(advised({{.text = kCounts, .calls = 3, .total_ms = 300.0}})).empty()) << "too seldom";
  EXPECT_TRUE(
      views(advised({{.text = "SELECT created_at, count(*) FROM models GROUP BY 1", .calls = 100, .total_ms = 100.0}}))
          .empty())
      << "cheap as it is";
  EXPECT_TRUE(
      views(advised({{.text = "SELECT run_id, count(*) FROM training_runs GROUP BY 1", .calls = 100, .total_ms = 1e4}}))
          .empty())
      << "as many groups as rows";
  const Advice refused = advised({{.text = "SELECT version_id, count(*) FILTER (WHERE accuracy > $1) FROM "
                                           "training_runs GROUP BY 1",
                                   .calls = 100,
                                   .total_ms = 1e4}});
  EXPECT_TRUE(std::ranges::any_of(refused.rejected, [](const AdviceRejection& rejection) {
    return rejection.reason.find("placeholders") != std::string::npos;
  }));
}

TEST_F(ViewsTest, R07_ConstantsThatNeverVaryInTheLogAreTheViews) {
  database_.execute(kRegistry);
  const std::string head = "SELECT version_id, count(*) FILTER (WHERE accuracy > ",
                    tail = ") FROM training_runs GROUP BY 1";
  const Advice advice =
      advised({{.text = head + "$1" + tail, .calls = 100, .total_ms = 1e4, .fixed_text = head + "'0.5'" + tail}});
  ASSERT_EQ(views(advice).size(), 1);
  EXPECT_NE(views(advice)[0]->statements[0].find("'0.5'"), std::string::npos);
  ASSERT_EQ(advice.rewrites.size(), 1);
  EXPECT_NE(advice.rewrites[0].caveat.find("every call that was logged"), std::string::npos);
}

TEST_F(ViewsTest, R34_ServesNinetyNineOfAHundredFromTheView) {
  database_.execute(kRegistry);
  const Advice advice = advised({{.text = kCounts, .calls = 1000, .total_ms = 10000.0}});
  ASSERT_EQ(views(advice).size(), 1);
  run_all(views(advice)[0]->statements);
  refresh();
  EXPECT_EQ(state().hits, 0) << "the refresh's own scans are none of a reader";
  const std::string& read = advice.rewrites.at(0).text;
  std::string many;
  for (int i = 0; i < 200; ++i) many += read + ";";
  database_.execute(many);
  database_.execute("UPDATE training_runs SET accuracy = 0.5 WHERE run_id <= 50");
  wait_for(200, 50);
  EXPECT_EQ(state().hits, 200);
  EXPECT_EQ(state().changes, 50);
  refresh();
  const ViewState after = state();
  EXPECT_EQ(after.refreshes, 2);
  EXPECT_EQ(after.changes, 0);
  EXPECT_GE(hit_ratio(after), 0.99);
  EXPECT_EQ(rows_of(read + " ORDER BY 1"), rows_of(std::string(kCounts) + " ORDER BY 1"));
  EXPECT_NE(refresh({.status = true}).find("99.0 %"), std::string::npos) << refresh({.status = true});
}

TEST_F(ViewsTest, RefreshesWhatIsDueAndOnlyOnceAtATime) {
  database_.execute(
      "CREATE TABLE t (a int, b int); CREATE VIEW above AS SELECT * FROM t; CREATE MATERIALIZED VIEW \"m "
      "v\" AS SELECT a, count(*) FROM above GROUP BY a; CREATE UNIQUE INDEX ON \"m v\" (a)");
  EXPECT_NE(refresh().find("no materialized view is kept fresh"), std::string::npos) << "it is none of the tuner's";
  EXPECT_NE(refresh({.views = {"\"m v\""}, .every_s = 3600, .changes_max = 100}).find("refreshed"), std::string::npos);
  EXPECT_NE(refresh({.only_due = true}).find("fresh  public.m v"), std::string::npos);
  database_.execute("INSERT INTO t SELECT i % 7, i FROM generate_series(1, 150) i");
  wait_for(0, 150);
  EXPECT_NE(refresh({.only_due = true}).find("refreshed  public.m v: 150 rows changed"), std::string::npos);
  EXPECT_EQ(number("SELECT count(*) FROM \"m v\""), 7);

  const std::unique_ptr<PGconn, decltype(&PQfinish)> other(PQconnectdb(database_.url().c_str()), &PQfinish);
  PQclear(PQexec(other.get(), "SELECT pg_advisory_lock(hashtext('cairn tune refresh'), hashtext('public.m v'))"));
  EXPECT_NE(refresh().find("busy"), std::string::npos);
}

TEST_F(ViewsTest, SaysWhatCannotBeRefreshed) {
  EXPECT_THROW(refresh({.views = {"nowhere"}}), Error);
  EXPECT_EQ(refresh({.status = true, .json = true}), "[]\n");
  EXPECT_EQ(number("SELECT count(*) FROM pg_namespace WHERE nspname = 'cairn_tune'"), 0) << "status makes nothing";
  database_.execute("CREATE MATERIALIZED VIEW plain AS SELECT 1 AS a");
  EXPECT_NE(refresh({.views = {"plain"}}, 1).find("unique index"), std::string::npos);
  database_.execute("DROP MATERIALIZED VIEW plain");
  EXPECT_NE(refresh().find("no materialized view"), std::string::npos) << "it is forgotten";
}

TEST_F(ViewsTest, HostileNamesMakeViewsToo) {
  database_.execute(
      "CREATE SCHEMA \"a\"\"b; DROP\"; CREATE TABLE \"a\"\"b; DROP\".\"sel'ect\n\" (\"Größe\"\"; --\" int, "
      "\"order\" text); INSERT INTO \"a\"\"b; DROP\".\"sel'ect\n\" SELECT i % 5, NULL FROM "
      "generate_series(1, 50000) i; ANALYZE");
  const std::string text =
      "SELECT \"Größe\"\"; --\", \"order\", count(*) FROM \"a\"\"b; DROP\".\"sel'ect\n\" GROUP BY 1, 2";
  const Advice advice = advised({{.text = text, .calls = 100, .total_ms = 1e4}});
  ASSERT_EQ(views(advice).size(), 1);
  run_all(views(advice)[0]->statements);
  EXPECT_EQ(rows_of(text + " ORDER BY 1"), rows_of(advice.rewrites.at(0).text + " ORDER BY 1"));
  EXPECT_NE(refresh().find("refreshed"), std::string::npos);
  EXPECT_NE(refresh().find("refreshed"), std::string::npos) << "the keys hold NULL";
  run_all(views(advice)[0]->inverse);
  EXPECT_EQ(number("SELECT count(*) FROM pg_class WHERE relkind = 'm'"), 0);
}

TEST(ViewDue, R07_KnowsWhenAViewIsTooOld) {
  ViewState view{.every_s = 300, .age_s = 10.0};
  EXPECT_FALSE(due(view));
  view.changes = 5;
  EXPECT_FALSE(due(view)) << "not old enough";
  view.age_s = 301;
  EXPECT_TRUE(due(view));
  view.changes = 0;
  EXPECT_FALSE(due(view)) << "nothing has changed";
  view.reads_clock = true;
  EXPECT_TRUE(due(view));
  view = {.every_s = 300, .changes_max = 5, .age_s = 1.0, .changes = 5};
  EXPECT_TRUE(due(view));
  view.changes = 4;
  EXPECT_FALSE(due(view));
  view.age_s.reset();
  EXPECT_TRUE(due(view)) << "nobody knows how old it is";
}

}  // namespace
}  // namespace cairn::tuner
