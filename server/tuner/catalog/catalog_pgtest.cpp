// What the catalog says of a real database, for a superuser and for a role that may read little, and that what is
// proposed from it can be made.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/reactor.h"
#include "db/pool.h"
#include "db/testing.h"
#include "tuner/advise/candidates.h"
#include "tuner/advise/drops.h"
#include "tuner/catalog/catalog.h"

namespace cairn::tuner {
namespace {

constexpr const char* kSchema = R"(
  CREATE EXTENSION pg_trgm;
  CREATE DOMAIN label AS text CHECK (value <> '');
  CREATE TYPE stage AS ENUM ('a', 'b');
  CREATE TABLE models (id int PRIMARY KEY, name varchar(50) COLLATE "C" NOT NULL, tag label, stage stage, doc jsonb,
    tags text[], active bool, embedding point, period int4range);
  CREATE TABLE runs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, model int REFERENCES models,
    status text, note text, at timestamptz DEFAULT now());
  INSERT INTO models SELECT i, 'model ' || i, 'tag', 'a', '{"a": 1}', '{x,y}', i % 10 = 0, NULL, NULL
    FROM generate_series(1, 2000) i;
  INSERT INTO runs (model, status, note) SELECT i % 2000 + 1, CASE WHEN i % 5 = 0 THEN 'failed' ELSE 'done' END,
    repeat('x', 60) FROM generate_series(1, 30000) i;
  CREATE INDEX runs_lower ON runs (lower(note), at DESC NULLS LAST) INCLUDE (status) WITH (fillfactor = 70) WHERE status = 'failed';
  CREATE INDEX runs_status ON runs (status);
  CREATE INDEX runs_status_at ON runs (status, at);
  CREATE INDEX models_name_default ON models (name COLLATE "C.utf8");
  CREATE UNIQUE INDEX models_unique ON models (tag, id);
  CREATE INDEX models_trgm ON models USING gin (tag gin_trgm_ops);
  CREATE TABLE points (k int, at date) PARTITION BY RANGE (at);
  CREATE TABLE points_1 PARTITION OF points FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
  CREATE TABLE points_2 PARTITION OF points FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
  INSERT INTO points SELECT i, date '2026-01-01' + i % 50 FROM generate_series(1, 20000) i;
  CREATE INDEX points_k ON points (k);
  CREATE VIEW view_of_runs AS SELECT * FROM runs;
  CREATE SCHEMA "we""ird";
  CREATE TABLE "we""ird"."t'; --" ("größe
" int, "select" text);
  INSERT INTO "we""ird"."t'; --" SELECT i, 'v' || i FROM generate_series(1, 20000) i;
  CREATE TABLE secret (a int, b text);
  INSERT INTO secret SELECT i FROM generate_series(1, 20000) i;
  ANALYZE;)";

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() { database_.execute(kSchema); }

  Catalog read(const std::string& options = {}) {
    db::PoolOptions pool_options;
    pool_options.connection_string = database_.url() + options;
    pool_options.size = 1;
    db::Pool pool(pool_options);
    return reactor_.block_on(read_catalog(pool));
  }

  static const Index* index(const Catalog& catalog, std::string_view table, std::string_view name) {
    const auto& all = catalog.find({}, table)->indexes;
    const auto found = std::ranges::find(all, name, &Index::name);
    return found == all.end() ? nullptr : &*found;
  }

  db::TestDatabase database_;
  Reactor reactor_;
};

TEST_F(CatalogTest, TablesAndColumns) {
  const Catalog catalog = read();
  EXPECT_GE(catalog.version, 130000);
  EXPECT_TRUE(catalog.has_trigrams);
  EXPECT_TRUE(catalog.missing.empty());
  const Table* runs = catalog.find("public", "runs");
  ASSERT_NE(runs, nullptr);
  EXPECT_EQ(runs, catalog.find({}, "runs"));
  EXPECT_NEAR(runs->rows, 30000, 300);
  EXPECT_GT(runs->pages, 100);
  const Column* status = runs->column("status");
  EXPECT_TRUE(status->has_statistics);
  EXPECT_EQ(status->distinct, 2);
  EXPECT_NEAR(runs->fraction(*status, "failed"), 0.2, 0.03);
  EXPECT_NEAR(runs->fraction(*status, "nothing"), 0, 0.01);
  EXPECT_NEAR(runs->column("id")->distinct, 30000, 300);
  EXPECT_GT(runs->column("id")->correlation, 0.9);
  EXPECT_EQ(runs->column("at")->type, "timestamptz");
  const Table* models = catalog.find({}, "models");
  EXPECT_TRUE(models->column("name")->c_collation);
  EXPECT_EQ(models->column("name")->type, "varchar");
  EXPECT_EQ(models->column("tag")->type, "text");
  EXPECT_EQ(models->column("tags")->category, 'A');
  EXPECT_EQ(models->column("stage")->category, 'E');
  EXPECT_FALSE(models->column("embedding")->ordered);
  EXPECT_NEAR(models->fraction(*models->column("active"), "t"), 0.1, 0.02);
  EXPECT_EQ(catalog.find({}, "view_of_runs")->kind, 'v');
  EXPECT_EQ(catalog.find({}, "t'; --"), nullptr);
  EXPECT_NE(catalog.find("we\"ird", "t'; --")->column("größe\n"), nullptr);
  EXPECT_EQ(catalog.find("pg_catalog", "pg_class"), nullptr);
  ASSERT_EQ(catalog.foreign_keys.size(), 1u);
  EXPECT_EQ(catalog.foreign_keys[0].columns, std::vector<std::string>{"model"});
  EXPECT_EQ(catalog.table(catalog.foreign_keys[0].referenced), models);
}

TEST_F(CatalogTest, Indexes) {
  const Catalog catalog = read();
  const Index* lower = index(catalog, "runs", "runs_lower");
  ASSERT_NE(lower, nullptr);
  EXPECT_EQ(lower->definition.keys, (std::vector<IndexKey>{{.text = "lower(note)", .is_expression = true},
                                                           {.text = "at", .descending = true}}));
  EXPECT_EQ(lower->definition.include, std::vector<std::string>{"status"});
  EXPECT_EQ(lower->definition.predicate, "(status = 'failed'::text)");
  EXPECT_EQ(lower->definition.options, "fillfactor=70");
  EXPECT_TRUE(lower->complete && lower->valid);
  EXPECT_GT(lower->bytes, 0);
  const Index* primary = index(catalog, "runs", "runs_pkey");
  EXPECT_TRUE(primary->primary && primary->constraint && primary->definition.unique);
  EXPECT_FALSE(index(catalog, "models", "models_name_default")->complete);
  EXPECT_EQ(index(catalog, "models", "models_trgm")->definition.keys[0].operator_class, "gin_trgm_ops");
  const Index* points = index(catalog, "points", "points_k");
  EXPECT_EQ(index(catalog, "points_1", "points_1_k_idx")->parent, points->oid);
  EXPECT_GT(points->bytes, 100'000);
  EXPECT_NEAR(catalog.find({}, "points")->rows, 20000, 200);
  EXPECT_GT(catalog.find({}, "points")->pages, 50);
  EXPECT_NEAR(catalog.find({}, "points")->column("k")->distinct, 20000, 200);
}

// What the catalog says of an index makes that index again.
TEST_F(CatalogTest, DefinitionsMakeTheSameIndexes) {
  const Catalog catalog = read();
  for (const Table& table : catalog.tables)
    for (const Index& known : table.indexes) {
      if (!known.complete || known.parent != 0) continue;
      database_.execute("BEGIN; " + create_statement(known.definition, known.name + "_again", false) + "; COMMIT");
    }
  const Catalog twice = read();
  for (const Table& table : twice.tables)
    for (const Index& again : table.indexes) {
      if (!again.name.ends_with("_again")) continue;
      const Index* first = nullptr;
      for (const Index& known : catalog.table(table.oid)->indexes)
        if (known.name + "_again" == again.name) first = &known;
      ASSERT_NE(first, nullptr);
      EXPECT_EQ(first->definition, again.definition) << again.name;
    }
  EXPECT_GE(propose_drops(twice).size(), 8u);
}

TEST_F(CatalogTest, SaysWhatARoleIsNotShown) {
  const std::string role = "reader_of_" + database_.name();
  database_.execute("CREATE ROLE " + role + " LOGIN; GRANT SELECT ON runs, models, points TO " + role);
  const std::string url = database_.url();
  db::PoolOptions options;
  options.connection_string = std::string(url).replace(url.find("postgres@"), 9, role + "@");
  Catalog catalog;
  {
    db::Pool pool(options);
    catalog = reactor_.block_on(read_catalog(pool));
  }
  database_.execute("DROP OWNED BY " + role + "; DROP ROLE " + role);
  const Table* secret = catalog.find({}, "secret");
  ASSERT_NE(secret, nullptr);
  EXPECT_FALSE(secret->readable);
  EXPECT_FALSE(secret->column("a")->has_statistics);
  EXPECT_TRUE(catalog.find({}, "runs")->column("status")->has_statistics);
  ASSERT_EQ(catalog.missing.size(), 1u);
  EXPECT_NE(catalog.missing[0].find("\"public\".\"secret\""), std::string::npos) << catalog.missing[0];
  EXPECT_NE(catalog.missing[0].find("GRANT SELECT"), std::string::npos);
  const std::vector<WorkloadStatement> workload{{.text = "SELECT * FROM secret WHERE a = $1"}};
  EXPECT_FALSE(propose(catalog, workload).empty());
}

TEST_F(CatalogTest, SaysWhatWasNeverAnalysed) {
  database_.execute("CREATE TABLE fresh AS SELECT i FROM generate_series(1, 20000) i");
  const Catalog catalog = read();
  ASSERT_EQ(catalog.missing.size(), 1u);
  EXPECT_NE(catalog.missing[0].find("\"public\".\"fresh\""), std::string::npos);
  EXPECT_GT(catalog.find({}, "fresh")->rows, 1000);
}

TEST_F(CatalogTest, R08_WhatIsProposedCanBeMade) {
  const std::vector<WorkloadStatement> workload{
      {.text =
           "SELECT * FROM runs r JOIN models m ON r.model = m.id WHERE m.name LIKE 'model 1%' AND r.status = 'failed' "
           "ORDER BY r.at DESC LIMIT 5"},
      {.text = "SELECT id, at FROM runs WHERE lower(note) = $1 AND date_trunc('hour', at AT TIME ZONE 'UTC') = $2"},
      {.text = "SELECT * FROM models WHERE doc @> '{}' AND tags && '{x}' AND doc->>'a' = 'it''s \\' AND "
               "(doc->>'n')::int > 1"},
      {.text = "SELECT * FROM runs WHERE note ILIKE '%x%' OR coalesce(note, status) || 'a' = 'b'"},
      {.text = "SELECT * FROM runs WHERE to_tsvector('english', note) @@ to_tsquery('x')"},
      {.text = "SELECT * FROM models WHERE period && int4range(1, 2) AND active AND stage = 'a' AND extract(year from "
               "'2026-01-01'::date) = 1"},
      {.text = "SELECT * FROM points WHERE extract(month FROM at) = 1 AND k BETWEEN 1 AND 2 AND at::timestamp > now()"},
      {.text = "SELECT * FROM runs WHERE note = $1"},
      {.text =
           "SELECT * FROM runs WHERE substring(note FROM 1 FOR 3) = 'x' AND trim(note) = 'y' AND left(note, 2) = 'z' "
           "AND upper(status) LIKE 'A%' AND model + 1 = 3"},
      {.text =
           "SELECT max(\"größe\n\") FROM \"we\"\"ird\".\"t'; --\" WHERE \"select\" = 'a' AND lower(\"select\") = 'b'"}};
  const Catalog catalog = read();
  const std::vector<Candidate> candidates = propose(catalog, workload);
  EXPECT_GT(candidates.size(), 30u);
  std::set<std::string> methods;
  for (const Candidate& candidate : candidates) {
    const std::string sql = create_statement(candidate.index, std::nullopt, false);
    EXPECT_NO_THROW(database_.execute("BEGIN; " + sql + "; ROLLBACK")) << sql;
    EXPECT_FALSE(candidate.reason.empty()) << sql;
    methods.insert(candidate.index.method);
  }
  EXPECT_EQ(methods, (std::set<std::string>{"btree", "gin", "gist", "hash"}));

  // Once they are there, they are not proposed again.
  for (const Candidate& candidate : candidates)
    database_.execute(create_statement(candidate.index, std::nullopt, false));
  for (const Candidate& again : propose(read(), workload))
    ADD_FAILURE() << create_statement(again.index, std::nullopt, false);
}

TEST_F(CatalogTest, R26_DropsOfARealDatabase) {
  database_.execute("ALTER TABLE runs ADD CONSTRAINT no_twins EXCLUDE USING btree (note WITH =) WHERE (id < 0)");
  std::vector<std::string> names;
  for (const Drop& drop : propose_drops(read())) {
    names.push_back(drop.index + (drop.kind == DropKind::kUnused ? " unused" : " covered"));
    database_.execute(drop.statement);
    database_.execute(drop.undo);
  }
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"models_name_default unused", "models_trgm unused", "points_k unused",
                                             "runs_lower unused", "runs_status covered", "runs_status_at unused"}));
}

}  // namespace
}  // namespace cairn::tuner
