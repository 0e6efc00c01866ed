#include "tuner/plan/explain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/reactor.h"
#include "db/testing.h"

namespace cairn::tuner {
namespace {

// Every finding, provoked in a real plan. One database for all tests: none of them leaves a change behind.
class Explaining : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    database_ = new db::TestDatabase();
    database_->execute(
        "CREATE TABLE runs (id int, experiment text, status varchar(20), accuracy float8, created_at timestamptz, note "
        "text) "
        "WITH (autovacuum_enabled = off);"
        "INSERT INTO runs SELECT i, 'e' || i % 1000, CASE WHEN i % 2 = 0 THEN 'done' ELSE 'failed' END, (i * 7919 % "
        "50000) / "
        "50000.0, '2026-01-01'::timestamptz + i * interval '1 minute', repeat('x', 300) FROM generate_series(1, 50000) "
        "i;"
        "CREATE TABLE places (city int, zip int) WITH (autovacuum_enabled = off);"
        "INSERT INTO places SELECT i % 40, i % 40 FROM generate_series(1, 50000) i;"
        "CREATE TABLE few AS SELECT i * 100 AS id FROM generate_series(1, 200) i;"
        "CREATE TABLE many AS SELECT i AS id FROM generate_series(1, 2000) i;"
        "CREATE INDEX idx_runs_id ON runs (id); CREATE INDEX idx_runs_status ON runs (status)");
    database_->execute("ANALYZE");  // a transaction of its own, or the rows would count as changed since
  }
  static void TearDownTestSuite() { delete database_; }

  // `settings` as of a connection: "-c name=value …".
  Explained explained(const ExplainOptions& options, const std::string& settings = "") {
    const std::string where =
        database_->url() + "&options=" + escaped("-c jit=off -c max_parallel_workers_per_gather=0 " + settings);
    const auto work = [](const std::string& url, const ExplainOptions& how) -> task<Explained> {
      const auto connection = co_await db::Connection::connect(url);
      co_return co_await explain(*connection, how);
    };
    Reactor reactor;
    return reactor.block_on(work(where, options));
  }
  Explained run(const std::string& statement, const std::string& settings = "") {
    return explained({.statement = statement, .analyze = true}, settings);
  }
  static std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == ' ' ? "%20" : c == '=' ? "%3D" : std::string(1, c);
    return out;
  }
  static const Finding* found(const Explained& explained, const std::string& kind) {
    const auto& all = explained.findings;
    const auto at = std::find_if(all.begin(), all.end(), [&](const Finding& finding) { return finding.kind == kind; });
    return at == all.end() ? nullptr : &*at;
  }
  static std::string printed(const Explained& explained) {
    std::ostringstream out;
    print_explained(explained, out);
    return out.str();
  }
  // The setting that a finding advises, as an option of a connection.
  static std::string advised(const Finding& finding) {
    const std::string& set = finding.mend.statements.at(0);
    const size_t quote = set.find('\'');
    return "-c work_mem=" + set.substr(quote + 1, set.rfind('\'') - quote - 1);
  }
  std::string refusal(const ExplainOptions& options) {
    try {
      explained(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  static db::TestDatabase* database_;
};
db::TestDatabase* Explaining::database_ = nullptr;

TEST_F(Explaining, R23_SequentialScanAndTheIndexThatMendsIt) {
  const std::string statement = "SELECT id FROM runs WHERE experiment = 'e7' AND created_at > '2026-01-05'";
  const Explained slow = run(statement);
  const Finding* scan = found(slow, "sequential_scan");
  ASSERT_NE(scan, nullptr) << printed(slow);
  database_->execute(scan->mend.statements.at(0));
  const Explained fast = run(statement);
  EXPECT_EQ(found(fast, "sequential_scan"), nullptr) << printed(fast);
  const Explained hidden = run("SELECT id FROM runs WHERE lower(experiment) = 'e7'");
  ASSERT_NE(found(hidden, "function_on_column"), nullptr) << printed(hidden);
  database_->execute(found(hidden, "function_on_column")->mend.statements.at(0));
  database_->execute("ANALYZE runs");
  EXPECT_EQ(found(run("SELECT id FROM runs WHERE lower(experiment) = 'e7'"), "function_on_column"), nullptr);
}

TEST_F(Explaining, R23_WrongEstimateAndTheStatisticsThatMendIt) {
  const std::string statement = "SELECT count(*) FROM places WHERE city = 7 AND zip = 7";
  const Explained before = run(statement);
  const Finding* wrong = found(before, "wrong_estimate");
  ASSERT_NE(wrong, nullptr) << printed(before);
  for (const std::string& sql : wrong->mend.statements) database_->execute(sql);
  const Explained after = run(statement);
  EXPECT_EQ(found(after, "wrong_estimate"), nullptr) << printed(after);
}

TEST_F(Explaining, R23_TheAdvisedMemoryHoldsTheSort) {
  const std::string statement = "SELECT id, accuracy FROM runs ORDER BY accuracy";
  const Explained spilled = run(statement, "-c work_mem=64kB");
  const Finding* sort = found(spilled, "sort_on_disk");
  ASSERT_NE(sort, nullptr) << printed(spilled);
  const Explained held = run(statement, advised(*sort));
  EXPECT_EQ(found(held, "sort_on_disk"), nullptr) << printed(held);
}

TEST_F(Explaining, R23_TheAdvisedMemoryHoldsTheHashTable) {
  for (const char* statement : {"SELECT count(*) FROM runs a JOIN runs b ON a.accuracy = b.accuracy",
                                "SELECT accuracy, count(*) FROM runs GROUP BY accuracy"}) {
    const std::string plan = "-c enable_mergejoin=off -c enable_sort=off -c enable_nestloop=off ";
    const Explained spilled = run(statement, plan + "-c work_mem=64kB");
    const Finding* hash = found(spilled, "hash_in_batches");
    ASSERT_NE(hash, nullptr) << printed(spilled);
    const Explained held = run(statement, plan + advised(*hash));
    EXPECT_EQ(found(held, "hash_in_batches"), nullptr) << printed(held);
  }
}

TEST_F(Explaining, R23_TheAdvisedMemoryHoldsTheBitmap) {
  const std::string statement = "SELECT count(note) FROM runs WHERE status = 'done'";
  const std::string plan = "-c enable_seqscan=off -c enable_indexscan=off ";
  const Explained lossy = run(statement, plan + "-c work_mem=64kB");
  ASSERT_NE(found(lossy, "lossy_bitmap"), nullptr) << printed(lossy);
  const Explained exact = run(statement, plan + advised(*found(lossy, "lossy_bitmap")));
  EXPECT_EQ(exact.plan.root.children.at(0).lossy_heap_blocks, 0) << printed(exact);
}

TEST_F(Explaining, R23_LoopsSubqueriesOffsetsAndCtes) {
  const Explained loop =
      run("SELECT count(*) FROM few f JOIN many m ON m.id = f.id", "-c enable_hashjoin=off -c enable_mergejoin=off");
  EXPECT_NE(found(loop, "nested_loop"), nullptr) << printed(loop);
  const Explained join = run("SELECT count(*) FROM few f JOIN runs r ON r.accuracy = f.id");
  EXPECT_NE(found(join, "whole_table_join"), nullptr) << printed(join);
  const Explained subquery = run("SELECT id, (SELECT max(accuracy) FROM runs r WHERE r.id = m.id) FROM many m");
  EXPECT_NE(found(subquery, "subplan_per_row"), nullptr) << printed(subquery);
  const Explained offset = run("SELECT id FROM runs ORDER BY created_at LIMIT 10 OFFSET 20000");
  EXPECT_NE(found(offset, "large_offset"), nullptr) << printed(offset);
  const Explained cte =
      run("WITH c AS MATERIALIZED (SELECT id, experiment FROM runs) SELECT * FROM c WHERE experiment = 'e7'");
  EXPECT_NE(found(cte, "cte_materialized"), nullptr) << printed(cte);
}

TEST_F(Explaining, R23_IndexesThatDoTooLittle) {
  const std::string by_index = "-c enable_seqscan=off -c enable_bitmapscan=off";
  const Explained filter = run("SELECT id FROM runs WHERE status = 'done' AND note = 'y'", by_index);
  EXPECT_NE(found(filter, "filter_after_index"), nullptr) << printed(filter);
  database_->execute("UPDATE runs SET note = note WHERE id <= 20000");  // their pages are no longer all-visible
  const Explained fetches = run("SELECT id FROM runs WHERE id < 20000", by_index);
  ASSERT_NE(found(fetches, "heap_fetches"), nullptr) << printed(fetches);
  database_->execute(found(fetches, "heap_fetches")->mend.statements.at(0));
  const Explained vacuumed = run("SELECT id FROM runs WHERE id < 20000", by_index);
  EXPECT_EQ(found(vacuumed, "heap_fetches"), nullptr) << printed(vacuumed);
}

TEST_F(Explaining, R11_ParallelWorkersAndJit) {
  const std::string parallel =
      "-c max_parallel_workers_per_gather=2 -c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c "
      "min_parallel_table_scan_size=0 ";
  const std::string statement = "SELECT count(*) FROM runs WHERE accuracy > 0.5";
  const Explained alone = run(statement, parallel + "-c max_parallel_workers=0");
  EXPECT_NE(found(alone, "missing_workers"), nullptr) << printed(alone);
  const Explained compiled =
      run(statement, "-c jit=on -c jit_above_cost=0 -c jit_optimize_above_cost=0 -c jit_inline_above_cost=0");
  if (compiled.plan.jit) {
    EXPECT_NE(found(compiled, "jit"), nullptr) << printed(compiled);
  }
}

TEST_F(Explaining, R23_AColdCache) {
  // Written through a ring of 16 MB: the greater part of it is in no buffer.
  database_->execute("CREATE TABLE cold AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 40000) i");
  const Explained first = run("SELECT count(t) FROM cold");
  EXPECT_NE(found(first, "cold_cache"), nullptr) << printed(first);
}

TEST_F(Explaining, R23_NormalisedStatements) {
  const Explained generic =
      explained({.statement = "SELECT id FROM runs WHERE note = $1 AND created_at > now() - interval $2"});
  EXPECT_TRUE(generic.generic);
  EXPECT_FALSE(generic.plan.analyzed);
  EXPECT_NE(generic.plan.root.filter.find("$1"), std::string::npos) << generic.plan_json;
  EXPECT_NO_THROW(explained({.statement = "SELECT extract($1 FROM created_at) FROM runs"}));
  const Explained bound = explained({.statement = "SELECT id FROM runs WHERE note = $1 AND id < $2",
                                     .analyze = true,
                                     .parameters = {"it's \\ 'y'; DROP TABLE runs", "50000"}});
  EXPECT_TRUE(bound.plan.analyzed);
  EXPECT_NE(bound.plan_json.find("DROP TABLE runs"), std::string::npos) << "the value stands in the condition";
  EXPECT_NE(refusal({.statement = "SELECT $1 + 1", .parameters = {"1", "2"}}).find("has 1 parameters"),
            std::string::npos);
  EXPECT_NE(refusal({.statement = "SELECT $1 + 1", .analyze = true}).find("--parameters"), std::string::npos);
}

TEST_F(Explaining, R23_StatementsThatArePlannedAtEachExecution) {
  const auto with_one = [&](const std::string& statement) {
    return explained({.statement = statement, .analyze = true, .parameters = {"{5}"}});
  };
  const Explained seen = with_one("SELECT note FROM runs WHERE id = ANY ($1::int[])");
  const Finding* planned = found(seen, "planned_each_time");
  ASSERT_NE(planned, nullptr) << printed(seen);
  EXPECT_GT(*planned->share_percent, 20);
  const Explained hidden = with_one("SELECT note FROM runs WHERE id = ANY (ARRAY(SELECT unnest($1::int[])))");
  EXPECT_EQ(found(hidden, "planned_each_time"), nullptr) << printed(hidden);
}

TEST_F(Explaining, R23_NothingIsEverChanged) {
  for (const char* statement :
       {"DELETE FROM runs", "WITH d AS (DELETE FROM runs RETURNING 1) SELECT * FROM d",
        "SELECT * INTO copied FROM runs", "SELECT 1; DELETE FROM runs", "CREATE TABLE x (a int)",
        "SELECT * FROM runs FOR UPDATE", "TRUNCATE runs", "DO $$ BEGIN DELETE FROM runs; END $$", "",
        "EXPLAIN ANALYZE DELETE FROM runs", "this is no SQL"})
    EXPECT_NE(refusal({.statement = statement, .analyze = true}), "") << statement;
  // Planned, not run.
  EXPECT_NO_THROW(explained({.statement = "DELETE FROM runs"}));
  database_->execute(
      "CREATE FUNCTION write_it() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM runs; RETURN 1; END $$");
  EXPECT_NE(refusal({.statement = "SELECT write_it()", .analyze = true}).find("read-only"), std::string::npos);
  EXPECT_NE(
      refusal({.statement = "SELECT set_config('transaction_read_only', 'off', true), write_it()", .analyze = true}),
      "");
  EXPECT_EQ(run("SELECT count(*) FROM runs").plan.root.children.at(0).rows, 50000);
}

TEST_F(Explaining, AStatementThatTakesTooLongIsStopped) {
  EXPECT_NE(refusal({.statement = "SELECT pg_sleep(3600)", .analyze = true, .timeout_s = 1}).find("longer than 1 s"),
            std::string::npos);
}

TEST_F(Explaining, HostileNames) {
  database_->execute(
      "CREATE SCHEMA \"a\"\"b\"; CREATE TABLE \"a\"\"b\".\"t; DROP TABLE runs\nx\" (\"c\"\"; --\" text);"
      "INSERT INTO \"a\"\"b\".\"t; DROP TABLE runs\nx\" SELECT 'v' || i FROM generate_series(1, 20000) i; "
      "ANALYZE \"a\"\"b\".\"t; DROP TABLE runs\nx\"");
  const Explained odd =
      run("SELECT * FROM \"a\"\"b\".\"t; DROP TABLE runs\nx\" AS \"t\"\"x\" WHERE \"t\"\"x\".\"c\"\"; --\" = 'v7'");
  const Finding* scan = found(odd, "sequential_scan");
  ASSERT_NE(scan, nullptr) << printed(odd);
  database_->execute(scan->mend.statements.at(0));
  EXPECT_EQ(printed(odd).find("runs\nx"), std::string::npos) << "a name breaks no line";
}

}  // namespace
}  // namespace cairn::tuner
