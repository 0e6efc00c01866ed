// A sampled clone: what of the database is in it, and what its planner is told.
#include <gtest/gtest.h>

#include "db/testing.h"
#include "tuner/prove/clone.h"

namespace cairn::tuner {
namespace {

constexpr const char* kSchema = R"(
  CREATE TABLE owners (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
  INSERT INTO owners (name) SELECT 'owner ' || i FROM generate_series(1, 300) i;
  CREATE TABLE runs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner int NOT NULL REFERENCES owners,
    experiment text NOT NULL, doubled int GENERATED ALWAYS AS (owner * 2) STORED, at timestamptz NOT NULL);
  INSERT INTO runs (owner, experiment, at) SELECT i % 300 + 1, E'e\t\\' || i % 5000, timestamptz '2026-01-01' + i * interval '1 min'
    FROM generate_series(1, 40000) i;
  CREATE INDEX runs_at ON runs (at);
  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trigger acts'; END $$;
  CREATE TRIGGER refuse BEFORE INSERT ON runs FOR EACH STATEMENT EXECUTE FUNCTION refuse();
  CREATE MATERIALIZED VIEW by_owner AS SELECT owner, count(*) FROM runs GROUP BY owner;
  CREATE SCHEMA "a""b; --";
  CREATE TABLE "a""b; --"."sel'ect
" ("Größe""; --" int, "order" text);
  INSERT INTO "a""b; --"."sel'ect
" SELECT i, i FROM generate_series(1, 100) i;
  CREATE TABLE points (k int, at date) PARTITION BY RANGE (at);
  CREATE TABLE points_1 PARTITION OF points FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
  CREATE TABLE points_2 PARTITION OF points FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
  INSERT INTO points SELECT i, date '2026-01-01' + i % 50 FROM generate_series(1, 20000) i;
  ANALYZE;
)";

class SampleCloneTest : public testing::Test {
 protected:
  SampleCloneTest() {
    database_.execute(kSchema);
    CloneOptions options{.kind = CloneKind::kSample, .target = database_.url(), .sample_rows = 4000};
    if (const char* programs = std::getenv("CAIRN_POSTGRES_BIN")) options.binary_directory = programs;
    clone_ = make_clone(options);
    session_.emplace(clone_->connection_string());
  }
  int64_t number(const std::string& sql) { return std::stoll(session_->query(sql).at(0).at(0).value()); }
  std::string text(const std::string& sql) { return session_->query(sql).at(0).at(0).value_or(""); }

  db::TestDatabase database_;
  std::unique_ptr<Clone> clone_;
  std::optional<Session> session_;
};

TEST_F(SampleCloneTest, R26_HoldsSomeRowsOfLargeTablesAndAllOfSmallOnes) {
  EXPECT_NE(clone_->description().find("sample of"), std::string::npos) << clone_->description();
  EXPECT_EQ(number("SELECT count(*) FROM owners"), 300);
  const int64_t runs = number("SELECT count(*) FROM runs");
  EXPECT_GT(runs, 2000);
  EXPECT_LE(runs, 4001);
  EXPECT_EQ(number("SELECT count(*) FROM runs WHERE doubled = owner * 2 AND experiment LIKE E'e\t\\\\\\\\%'"), runs);
  const int64_t points = number("SELECT count(*) FROM points");
  EXPECT_GT(points, 2000) << "of all partitions together";
  EXPECT_LE(points, 4002);
  EXPECT_EQ(number("SELECT count(*) FROM \"a\"\"b; --\".\"sel'ect\n\" WHERE \"Größe\"\"; --\" > 0"), 100);
  EXPECT_GT(number("SELECT count(*) FROM by_owner"), 250);
  EXPECT_EQ(number("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'runs'"), 2);
}

TEST_F(SampleCloneTest, R26_LeavesOutWhatASampleCannotHoldAndWhatWouldAct) {
  EXPECT_EQ(number("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), 0);
  EXPECT_EQ(number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), 0);
  session_->execute("BEGIN; INSERT INTO runs (owner, experiment, at) VALUES (1, 'new', now()); ROLLBACK");
  session_->execute("BEGIN; INSERT INTO owners (name) VALUES ('new'); ROLLBACK");
}

TEST_F(SampleCloneTest, R26_ThePlannerIsToldTheNumbersOfTheDatabase) {
  const auto told = [&] {
    return number("SELECT reltuples::int8 FROM pg_class WHERE oid = 'runs'::regclass") == 40000 &&
           text("EXPLAIN SELECT * FROM runs").find("rows=40000 ") != std::string::npos;
  };
  EXPECT_TRUE(told());
  EXPECT_NEAR(static_cast<double>(number("SELECT round(CASE WHEN n_distinct < 0 THEN -n_distinct * 40000 ELSE "
                                         "n_distinct END)::int8 FROM pg_stats WHERE tablename = 'runs' AND attname = "
                                         "'experiment'")),
              5000, 500);
  session_->execute("CREATE INDEX made ON runs (experiment)");
  EXPECT_FALSE(told());
  session_->execute(clone_->statistics());
  EXPECT_TRUE(told());
}

}  // namespace
}  // namespace cairn::tuner
