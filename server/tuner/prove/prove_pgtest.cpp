// An advice tried on a clone: what is kept, what is not, and that nothing is left behind.
#include "tuner/prove/prove.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "base/error.h"
#include "db/testing.h"

namespace cairn::tuner {
namespace {

constexpr const char* kRuns = R"(
  CREATE TABLE runs (id serial PRIMARY KEY, experiment text NOT NULL, status text NOT NULL, accuracy float8, note text,
    created timestamptz NOT NULL);
  INSERT INTO runs (experiment, status, accuracy, note, created)
    SELECT 'exp-' || i % 2000, CASE WHEN i % 3 = 0 THEN 'failed' ELSE 'done' END, (i * 7919 % 10000) / 10000.0,
      repeat('x', 200), timestamptz '2026-01-01' + i * interval '1 minute' FROM generate_series(1, 40000) i;
  ANALYZE runs;
)";

class ProveTest : public testing::Test {
 protected:
  ProveTest() { database_.execute(kRuns); }

  static Change index(const std::string& name, const std::vector<IndexKey>& keys) {
    const IndexDefinition definition{.table = {"public", "runs"}, .keys = keys};
    return {.kind = ChangeKind::kIndex,
            .table = definition.table,
            .name = name,
            .statements = {create_statement(definition, name, true)},
            .inverse = {"DROP INDEX CONCURRENTLY public." + db::quote_identifier(name)},
            .index = definition};
  }
  static Advice advice(std::vector<Change> changes, const std::vector<std::string>& statements) {
    Advice made{.id = "test", .database = "test", .changes = std::move(changes)};
    for (const std::string& text : statements) made.statements.push_back({.text = text, .calls = 100});
    return made;
  }
  Proof proved(const Advice& tried, int rounds = 11, double seconds = 60) {
    ProveOptions options;
    options.clone.kind = CloneKind::kTemplate;
    options.clone.target = database_.url();
    options.rounds = rounds;
    options.seconds = seconds;
    Proof proof = prove(reactor_, options, tried);
    EXPECT_EQ(number("SELECT count(*) FROM pg_database WHERE datname LIKE 'cairn_prove%'"), 0) << "the clone is gone";
    return proof;
  }
  int64_t number(const std::string& sql) {
    Session session(database_.url());
    return std::stoll(session.query(sql).at(0).at(0).value());
  }

  db::TestDatabase database_;
  Reactor reactor_;
};

TEST_F(ProveTest, R26_KeepsWhatWinsAndRejectsWhatDoesNot) {
  const Proof proof =
      proved(advice({index("by_experiment", {{.text = "experiment"}}), index("by_note", {{.text = "note"}})},
                    {"SELECT id, accuracy FROM runs WHERE experiment = $1", "SELECT count(*) FROM runs"}));
  ASSERT_EQ(proof.changes.size(), 2U);
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_GT(proof.changes[0].bytes, 100'000);
  EXPECT_EQ(proof.changes[0].faster, std::vector<size_t>{0});
  EXPECT_EQ(proof.changes[1].verdict, Verdict::kRejected);
  EXPECT_EQ(proof.changes[1].reason, "no plan uses it");

  const StatementProof& statement = proof.statements[0];
  EXPECT_EQ(statement.not_run, "");
  EXPECT_EQ(statement.outcome, Outcome::kFaster);
  EXPECT_LT(statement.ratio.high, 0.95);
  EXPECT_EQ(statement.parameter_sets, 3);
  EXPECT_EQ(statement.rows, 60) << "values are drawn from the rows: each set finds its twenty";
  EXPECT_EQ(statement.same_rows, true);
  EXPECT_LT(statement.blocks_after, statement.blocks_before / 10);
  EXPECT_EQ(statement.used_after, std::vector<std::string>{"by_experiment"});
  EXPECT_TRUE(proof.kept_any());
  EXPECT_LT(proof.after_ms, proof.before_ms);
  EXPECT_EQ(number("SELECT count(*) FROM pg_index WHERE indrelid = 'runs'::regclass"), 1)
      << "the database is as it was";
}

TEST_F(ProveTest, R26_RejectsAnIndexThatGivesOtherRows) {
  database_.execute(R"(CREATE FUNCTION fickle(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN (random() * 1000)::int; END $$)");
  const Proof proof = proved(advice({index("lying", {{.text = "fickle(id)", .is_expression = true}})},
                                    {"SELECT id FROM runs WHERE fickle(id) = 7"}));
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kRejected);
  EXPECT_EQ(proof.changes[0].reason, "statement 1 gives other rows with it");
}

TEST_F(ProveTest, R26_AStatementThatWritesLeavesNothingBehind) {
  const Proof proof = proved(
      advice({index("by_experiment", {{.text = "experiment"}})},
             {"UPDATE runs SET status = $1 WHERE experiment = $2",
              "INSERT INTO runs (experiment, status, created) VALUES ($1, $2, $3)", "DELETE FROM runs WHERE id = $1"}));
  for (const StatementProof& statement : proof.statements) EXPECT_EQ(statement.not_run, "") << statement.text;
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_EQ(proof.statements[0].rows, 60);
  EXPECT_EQ(proof.statements[1].maintains, std::vector<size_t>{0});
  EXPECT_EQ(number("SELECT count(*) FROM runs"), 40000);
}

TEST_F(ProveTest, R26_DoesNotRunWhatARollbackWouldNotTakeBack) {
  database_.execute(R"(CREATE TABLE spied (n int);
    CREATE FUNCTION open_writer() RETURNS int LANGUAGE sql VOLATILE AS $$ INSERT INTO spied VALUES (1) RETURNING n $$;
    CREATE FUNCTION sly_writer() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM open_writer(); RETURN 1; END $$;)");
  const Proof proof = proved(advice({}, {"SELECT open_writer()", "SELECT sly_writer()", "SELECT 1; SELECT 2",
                                         "DROP TABLE runs", "COPY runs TO PROGRAM 'true'", "SELECT pg_stat_reset()",
                                         "SELECT * INTO copied FROM runs", "SELECT broken FROM"}));
  for (const StatementProof& statement : proof.statements) EXPECT_NE(statement.not_run, "") << statement.text;
  EXPECT_NE(proof.statements[0].not_run.find("open_writer"), std::string::npos);
  EXPECT_NE(proof.statements[1].not_run.find("read-only"), std::string::npos) << proof.statements[1].not_run;
  EXPECT_FALSE(proof.kept_any());
}

TEST_F(ProveTest, R28_ConfirmsARewriteThatGivesTheSameRowsInLessTime) {
  Advice tried = advice({}, {"SELECT count(*) > 0 FROM runs WHERE note LIKE $1 || '%'"});
  tried.rewrites = {
      {.statement = 0, .rule = "exists", .text = "SELECT EXISTS (SELECT FROM runs WHERE note LIKE $1 || '%')"},
      {.statement = 0, .rule = "wrong", .text = "SELECT EXISTS (SELECT FROM runs WHERE note LIKE 'y' || $1 || '%')"}};
  const Proof proof = proved(tried);
  ASSERT_EQ(proof.rewrites.size(), 2U);
  EXPECT_TRUE(proof.rewrites[0].confirmed) << proof.rewrites[0].reason;
  EXPECT_FALSE(proof.rewrites[1].confirmed);
  EXPECT_NE(proof.rewrites[1].reason.find("other rows"), std::string::npos) << proof.rewrites[1].reason;
}

TEST_F(ProveTest, R26_RowsThatTieMayComeInAnyOrder) {
  const Proof proof =
      proved(advice({index("by_status", {{.text = "status"}, {.text = "accuracy"}})},
                    {"SELECT id, status, accuracy FROM runs WHERE status = 'done' ORDER BY status LIMIT 20"}));
  EXPECT_NE(proof.statements[0].same_rows, std::optional(false)) << proof.statements[0].rows_note;
}

TEST_F(ProveTest, R26_RejectsAnIndexThatOnlyKeepsAnotherCompany) {
  database_.execute(
      R"(CREATE TABLE kinds (kind int, name text); INSERT INTO kinds SELECT i, 'k' || i FROM generate_series(1, 200) i;
    ALTER TABLE runs ADD kind int; UPDATE runs SET kind = id % 200 + 1; ANALYZE)");
  const std::string alter = "ALTER DATABASE " + db::quote_identifier(database_.name()) + " SET ";
  database_.execute(alter + "random_page_cost = 1.1; " + alter + "enable_hashjoin = off; " + alter +
                    "enable_mergejoin = off");
  Change companion = index("kinds_kind", {{.text = "kind"}});
  companion.table = companion.index->table = {"public", "kinds"};
  const Proof proof = proved(
      advice({index("by_created", {{.text = "created"}}), companion},
             {"SELECT r.id, k.name FROM runs r JOIN kinds k USING (kind) WHERE r.created = '2026-01-01 00:07:00+00'"}),
      25);
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_EQ(proof.changes[1].verdict, Verdict::kRejected) << proof.changes[1].reason;
  EXPECT_NE(proof.changes[1].reason.find("without it alone"), std::string::npos) << proof.changes[1].reason;
}

TEST_F(ProveTest, R27_ASettingOfTheDatabaseIsTriedInTheSession) {
  const std::string alter = "ALTER DATABASE " + db::quote_identifier(database_.name());
  database_.execute(alter + " SET enable_indexscan = off; " + alter + " SET enable_bitmapscan = off");
  Advice tried = advice({{.kind = ChangeKind::kSetting,
                          .name = "enable_indexscan",
                          .statements = {alter + " SET \"enable_indexscan\" = 'on'"},
                          .inverse = {alter + " RESET \"enable_indexscan\""}},
                         {.kind = ChangeKind::kSetting,
                          .name = "max_wal_size",
                          .statements = {"ALTER SYSTEM SET \"max_wal_size\" = '2GB'", "SELECT pg_reload_conf()"},
                          .inverse = {"ALTER SYSTEM RESET \"max_wal_size\"", "SELECT pg_reload_conf()"}},
                         {.kind = ChangeKind::kSetting,
                          .name = "maintenance_work_mem",
                          .statements = {alter + " SET \"maintenance_work_mem\" = '1GB'"},
                          .inverse = {alter + " RESET \"maintenance_work_mem\""}},
                         {.kind = ChangeKind::kSetting,
                          .name = "other",
                          .statements = {"ALTER DATABASE postgres SET work_mem = '1GB'"},
                          .inverse = {"ALTER DATABASE postgres RESET work_mem"}}},
                        {"SELECT note FROM runs WHERE id = $1"});
  tried.database = database_.name();
  const Proof proof = proved(tried);
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_EQ(proof.changes[1].verdict, Verdict::kNotTried) << proof.changes[1].reason;
  EXPECT_EQ(proof.changes[2].verdict, Verdict::kNotTried) << proof.changes[2].reason;
  EXPECT_EQ(proof.changes[3].verdict, Verdict::kNotTried) << proof.changes[3].reason;
  EXPECT_EQ(number("SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE "
                   "d.datname = 'postgres'"),
            0);
}

TEST_F(ProveTest, R34_AViewIsKeptForTheRewriteThatReadsIt) {
  Advice tried = advice(
      {{.kind = ChangeKind::kMaterializedView,
        .table = {"public", "runs"},
        .name = "runs_by_status",
        .statements =
            {"CREATE MATERIALIZED VIEW public.runs_by_status AS SELECT status, count(*) AS n FROM runs GROUP BY status",
             "CREATE UNIQUE INDEX runs_by_status_key ON public.runs_by_status (status)",
             "COMMENT ON MATERIALIZED VIEW public.runs_by_status IS 'x'"},
        .inverse = {"DROP MATERIALIZED VIEW IF EXISTS public.runs_by_status"},
        .on_request = true}},
      {"SELECT status, count(*) AS n FROM runs GROUP BY status"});
  tried.rewrites = {{.statement = 0, .rule = "view", .text = "SELECT status, n FROM public.runs_by_status"}};
  const Proof proof = proved(tried);
  EXPECT_TRUE(proof.rewrites.at(0).confirmed) << proof.rewrites.at(0).reason;
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
}

TEST_F(ProveTest, R34_AViewThatTakesTooLongToMakeIsGivenUp) {
  const Advice tried =
      advice({{.kind = ChangeKind::kMaterializedView,
               .table = {"public", "runs"},
               .name = "asleep",
               .statements = {"CREATE MATERIALIZED VIEW public.asleep AS SELECT 1 AS n FROM pg_sleep(200)"},
               .inverse = {"DROP MATERIALIZED VIEW IF EXISTS public.asleep"}}},
             {"SELECT count(*) FROM runs"});
  const Proof proof = proved(tried, 2, 1);
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kRejected);
  EXPECT_EQ(proof.changes[0].reason, "it could not be made: making it took longer than 1 s (--seconds)");
}

TEST_F(ProveTest, R26_StatisticsThatChangeNothingAreRejectedAndADropThatHarmsNobodyIsKept) {
  database_.execute("CREATE INDEX unneeded ON runs (note); CREATE INDEX needed ON runs (experiment)");
  const auto drop = [](const std::string& name, const std::string& column) {
    return Change{.kind = ChangeKind::kDropIndex,
                  .table = {"public", "runs"},
                  .name = name,
                  .statements = {"DROP INDEX CONCURRENTLY public." + name},
                  .inverse = {"CREATE INDEX CONCURRENTLY " + name + " ON public.runs (" + column + ")"}};
  };
  const Proof proof =
      proved(advice({drop("unneeded", "note"),
                     drop("needed", "experiment"),
                     {.kind = ChangeKind::kStatistics,
                      .table = {"public", "runs"},
                      .name = "together",
                      .statements = {"CREATE STATISTICS public.together ON experiment, status FROM public.runs",
                                     "ANALYZE public.runs"},
                      .inverse = {"DROP STATISTICS public.together"}}},
                    {"SELECT id FROM runs WHERE experiment = $1"}));
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_EQ(proof.changes[1].verdict, Verdict::kRejected) << proof.changes[1].reason;
  EXPECT_EQ(proof.changes[2].verdict, Verdict::kRejected);
  EXPECT_EQ(proof.changes[2].reason, "no statement that was run has another plan with it");
}

TEST_F(ProveTest, R26_APartitionedTablesIndexIsSeenInItsParts) {
  database_.execute(R"(CREATE TABLE points (k int, at date) PARTITION BY RANGE (at);
    CREATE TABLE points_1 PARTITION OF points FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE points_2 PARTITION OF points FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    INSERT INTO points SELECT i, date '2026-01-01' + i % 50 FROM generate_series(1, 40000) i; ANALYZE;)");
  Change change = index("points_k", {{.text = "k"}});
  change.table = change.index->table = {"public", "points"};
  const Proof proof = proved(advice({change}, {"SELECT * FROM points WHERE k = $1"}));
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  EXPECT_GT(proof.changes[0].bytes, 100'000);
}

TEST_F(ProveTest, R26_HostileNamesAreQuoted) {
  database_.execute(
      "CREATE SCHEMA \"a\"\"b; DROP\"; CREATE TABLE \"a\"\"b; DROP\".\"sel'ect\n\" (\"Größe\"\"; --\" int, \"order\" "
      "text);"
      "INSERT INTO \"a\"\"b; DROP\".\"sel'ect\n\" SELECT i, i FROM generate_series(1, 40000) i; ANALYZE");
  Change change = index("idx \"; --", {{.text = "Größe\"; --"}});
  change.table = change.index->table = {"a\"b; DROP", "sel'ect\n"};
  const Proof proof =
      proved(advice({change}, {"SELECT * FROM \"a\"\"b; DROP\".\"sel'ect\n\" WHERE \"Größe\"\"; --\" = $1"}));
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason << proof.statements[0].not_run;
}

TEST_F(ProveTest, R26_WaitsForASessionThatIsJustLeaving) {
  auto other = std::make_unique<Session>(database_.url());
  std::thread leaving([session = std::move(other)]() mutable {
    const char* const waits =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    for (int i = 0; i < 10000 && session->query(waits).at(0).at(0) == "0"; ++i) continue;
    session.reset();
  });
  ProveOptions options;
  options.clone.kind = CloneKind::kTemplate;
  options.clone.target = database_.url();
  EXPECT_NO_THROW(prove(reactor_, options, advice({}, {})));
  leaving.join();
}

TEST_F(ProveTest, R26_RefusesATemplateWhileOthersAreConnectedAndTheDatabaseItselfAsAClone) {
  const Session other(database_.url());
  ProveOptions options;
  options.clone.kind = CloneKind::kTemplate;
  options.clone.target = database_.url();
  try {
    prove(reactor_, options, advice({}, {}));
    FAIL() << "somebody is connected";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nobody is connected"), std::string::npos) << error.what();
  }
  options.clone.url = database_.url();
  EXPECT_THROW(prove(reactor_, options, advice({}, {})), Error);
  const db::TestDatabase copy;
  copy.execute(kRuns);
  options.clone.url = copy.url();
  const Proof proof =
      prove(reactor_, options,
            advice({index("by_experiment", {{.text = "experiment"}})}, {"SELECT * FROM runs WHERE experiment = $1"}));
  EXPECT_EQ(proof.changes[0].verdict, Verdict::kKept) << proof.changes[0].reason;
  Session session(copy.url());
  EXPECT_EQ(session.query("SELECT count(*) FROM pg_index WHERE indrelid = 'runs'::regclass").at(0).at(0), "1")
      << "the user's clone is as it was";
}

}  // namespace
}  // namespace cairn::tuner
