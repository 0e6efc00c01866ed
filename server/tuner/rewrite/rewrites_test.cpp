#include "tuner/rewrite/rewrites.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tuner/testing.h"

namespace cairn::tuner {
namespace {

Catalog registry() {
  Catalog catalog = testing_catalog::registry();
  for (Table& table : catalog.tables)
    for (Column& column : table.columns)
      column.not_null =
          column.name.ends_with("_id") && !(table.name.name == "deployments" && column.name == "version_id");
  Column local = testing_catalog::column("logged_at", "timestamp", 'D', 490000);
  catalog.tables[2].columns.push_back(local);
  catalog.tables[2].columns.push_back(testing_catalog::column("stage", "stage", 'E', 3));
  catalog.tables[2].columns.back().common = {{"done", 0.5}};
  for (const char* name : {"now", "date", "date_trunc", "extract", "lower", "f_stable"}) catalog.functions[name] = {};
  for (const char* name : {"count", "max", "min", "row_number"}) catalog.functions[name] = {.aggregate = true};
  catalog.functions["random"] = {.is_volatile = true};
  catalog.functions["unnest"] = {.returns_set = true};
  return catalog;
}

struct Found {
  std::string text;
  std::string guarantee;
  std::string caveat;
};

std::optional<Found> rewritten(const std::string& rule, const std::string& statement,
                               const Catalog& catalog = registry()) {
  for (const Rewrite& rewrite : propose_rewrites(catalog, statement)) {
    EXPECT_NE(rewrite.reason, "");
    EXPECT_TRUE(!rewrite.guarantee.empty() || !rewrite.caveat.empty());
    if (rewrite.rule == rule) return Found{rewrite.text, rewrite.guarantee, rewrite.caveat};
  }
  return std::nullopt;
}

struct Case {
  const char* rule;
  const char* statement;
  const char* text;
  bool equal = true;
};

class Offered : public testing::TestWithParam<Case> {};
TEST_P(Offered, R28_Rewrite) {
  const Case& expected = GetParam();
  const auto found = rewritten(expected.rule, expected.statement);
  ASSERT_TRUE(found) << expected.statement;
  EXPECT_EQ(found->text, expected.text);
  EXPECT_EQ(!found->guarantee.empty(), expected.equal) << found->guarantee << found->caveat;
}

constexpr Case kFour[] = {
    {"or-to-union", "SELECT * FROM training_runs\nWHERE model_name = 'fraud-detection' OR experiment_name = 'exp-001';",
     "SELECT * FROM training_runs\nWHERE (model_name = 'fraud-detection')\nUNION ALL\n"
     "SELECT * FROM training_runs\nWHERE (experiment_name = 'exp-001') AND (model_name = 'fraud-detection') IS NOT "
     "TRUE"},
    {"not-in-to-not-exists", "SELECT * FROM models\nWHERE model_id NOT IN (SELECT model_id FROM model_versions);",
     "SELECT * FROM models\nWHERE NOT EXISTS (SELECT 1 FROM model_versions WHERE models.model_id = "
     "model_versions.model_id)"},
    {"offset-to-keyset", "SELECT * FROM training_runs\nORDER BY created_at DESC\nLIMIT 20 OFFSET 10000;  -- Slow",
     "SELECT * FROM training_runs\nWHERE (created_at, run_id) < ($1, $2) ORDER BY created_at DESC, run_id DESC LIMIT "
     "20",
     false},
    {"function-to-range", "SELECT * FROM training_runs\nWHERE DATE(created_at) = '2024-01-15';",
     "SELECT * FROM training_runs\nWHERE created_at >= '2024-01-14' AND created_at <= '2024-01-17' AND "
     "DATE(created_at) = '2024-01-15'"},
    {"function-to-range", "SELECT * FROM training_runs WHERE DATE(logged_at) = '2024-02-29'",
     "SELECT * FROM training_runs WHERE logged_at >= '2024-02-29' AND logged_at < '2024-03-01'"},
};
INSTANTIATE_TEST_SUITE_P(TheFourOfTheText, Offered, testing::ValuesIn(kFour));

constexpr Case kOthers[] = {
    {"function-to-range",
     "SELECT run_id FROM training_runs t WHERE t.logged_at::date BETWEEN $1 AND $2 AND status = 'x'",
     "SELECT run_id FROM training_runs t WHERE t.logged_at >= ($1)::date AND t.logged_at <= ($2)::date + 1 AND "
     "t.logged_at::date BETWEEN $1 AND $2 AND status = 'x'"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE NOT date(logged_at) > '2024-12-31'",
     "SELECT 1 FROM training_runs WHERE NOT (logged_at >= '2025-01-01')"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE date_trunc('month', created_at) = $1",
     "SELECT 1 FROM training_runs WHERE created_at >= ($1)::timestamptz - interval '1 day' AND created_at <= "
     "($1)::timestamptz + interval '1 month' + interval '1 day' AND date_trunc('month', created_at) = $1"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE extract(year FROM logged_at) = 2024",
     "SELECT 1 FROM training_runs WHERE logged_at >= '2024-01-01' AND logged_at < '2025-01-01'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id = 42.0",
     "SELECT 1 FROM training_runs WHERE version_id = 42"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE 4.5 < version_id",
     "SELECT 1 FROM training_runs WHERE version_id > 4"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id >= -4.5",
     "SELECT 1 FROM training_runs WHERE version_id >= -4"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id::text = '42'",
     "SELECT 1 FROM training_runs WHERE version_id = 42"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE run_id::text = '0b0c0d0e-0000-0000-0000-00000000000a'",
     "SELECT 1 FROM training_runs WHERE run_id = '0b0c0d0e-0000-0000-0000-00000000000a'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE stage::text = 'done'",
     "SELECT 1 FROM training_runs WHERE stage = 'done'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE run_id::text = $1",
     "SELECT 1 FROM training_runs WHERE run_id = $1::uuid", false},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE model_name::int = 42",
     "SELECT 1 FROM training_runs WHERE model_name = '42'", false},
    {"count-to-exists",
     "SELECT * FROM models m WHERE (SELECT count(*) FROM model_versions v WHERE v.model_id = m.model_id) > 0",
     "SELECT * FROM models m WHERE EXISTS (SELECT 1 FROM model_versions v WHERE v.model_id = m.model_id)"},
    {"count-to-exists",
     "SELECT * FROM models m WHERE 0 = (SELECT count(v.model_id) FROM model_versions v WHERE v.model_id = m.model_id)",
     "SELECT * FROM models m WHERE NOT EXISTS (SELECT 1 FROM model_versions v WHERE v.model_id = m.model_id)"},
    {"count-to-exists", "SELECT (SELECT count(*) FROM deployments) < 1 FROM models",
     "SELECT (NOT EXISTS (SELECT 1 FROM deployments)) FROM models"},
    {"count-to-exists",
     "SELECT 1 FROM models WHERE (SELECT count(d.status) FROM deployments d WHERE d.status = $1) >= 1",
     "SELECT 1 FROM models WHERE EXISTS (SELECT 1 FROM deployments d WHERE d.status = $1)"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments) > $1",
     "SELECT 1 FROM models WHERE EXISTS (SELECT 1 FROM deployments)", false},
    {"not-in-to-not-exists", "SELECT 1 FROM models WHERE model_id NOT IN (SELECT version_id FROM deployments)",
     "SELECT 1 FROM models WHERE NOT EXISTS (SELECT 1 FROM deployments WHERE models.model_id = deployments.version_id)",
     false},
    {"not-in-to-not-exists",
     "SELECT 1 FROM models WHERE NOT (model_id IN (SELECT version_id FROM deployments WHERE status = 'a' OR version_id "
     "> 2)) AND true",
     "SELECT 1 FROM models WHERE NOT EXISTS (SELECT 1 FROM deployments WHERE (status = 'a' OR version_id > 2) AND "
     "models.model_id = deployments.version_id) AND true",
     false},
    {"not-in-to-not-exists",
     "SELECT 1 FROM models m WHERE model_id NOT IN (SELECT d.version_id FROM deployments d WHERE d.version_id IS NOT "
     "NULL AND status = $1)",
     "SELECT 1 FROM models m WHERE NOT EXISTS (SELECT 1 FROM deployments d WHERE d.version_id IS NOT NULL AND status = "
     "$1 AND m.model_id = d.version_id)"},
    {"not-in-to-not-exists", "DELETE FROM models WHERE model_id NOT IN (SELECT DISTINCT model_id FROM models)",
     "DELETE FROM models WHERE NOT EXISTS (SELECT 1 FROM (SELECT DISTINCT model_id FROM models) AS excluded_rows "
     "(value1) WHERE models.model_id = excluded_rows.value1)"},
    {"correlated-extreme",
     "SELECT * FROM deployments d WHERE deployed_at = (SELECT max(e.deployed_at) FROM deployments e WHERE "
     "e.version_id = d.version_id AND e.status = 'active') AND replicas > 1",
     "SELECT * FROM deployments d WHERE (d.version_id, deployed_at) IN (SELECT e.version_id, max(e.deployed_at) FROM "
     "deployments e WHERE e.status = 'active' GROUP BY e.version_id) AND replicas > 1"},
    {"subqueries-to-lateral",
     "SELECT m.model_name, (SELECT count(*) FROM model_versions v WHERE v.model_id = m.model_id), coalesce((SELECT "
     "max(v.version_id) FROM model_versions v WHERE v.model_id = m.model_id), 0) AS newest FROM models m ORDER BY 2 "
     "LIMIT 5",
     "SELECT m.model_name, per_row1.per_row1_1 AS count, coalesce(per_row1.per_row1_2, 0) AS newest FROM models m, "
     "LATERAL "
     "(SELECT count(*) AS per_row1_1, max(v.version_id) AS per_row1_2 FROM model_versions v WHERE v.model_id = "
     "m.model_id) AS "
     "per_row1 ORDER BY 2 LIMIT 5"},
    {"or-to-union",
     "SELECT d.deployment_id AS id, d.status FROM deployments d JOIN models m ON m.model_id = d.version_id WHERE "
     "replicas > 1 AND (d.status = $1 OR m.model_name = $2) ORDER BY d.deployment_id DESC",
     "SELECT d.deployment_id AS id, d.status FROM deployments d JOIN models m ON m.model_id = d.version_id WHERE "
     "replicas > 1 AND ((d.status = $1))\nUNION ALL\nSELECT d.deployment_id AS id, d.status FROM deployments d JOIN "
     "models m ON m.model_id = d.version_id WHERE replicas > 1 AND ((m.model_name = $2) AND (d.status = $1) IS NOT "
     "TRUE) ORDER BY id DESC"},
    {"offset-to-keyset",
     "SELECT status FROM deployments d WHERE replicas = $1 ORDER BY d.status, d.deployed_at DESC OFFSET $3 LIMIT $2",
     "SELECT status FROM deployments d WHERE replicas = $1 AND d.status >= $3 AND (d.status > $3 OR (d.status = $3 AND "
     "d.deployed_at < $4) OR (d.status = $3 AND d.deployed_at = $4 AND d.deployment_id > $5)) ORDER BY d.status, "
     "d.deployed_at DESC, d.deployment_id LIMIT $2",
     false},
    {"star-to-columns", "SELECT * FROM training_runs WHERE run_id > $1",
     "SELECT run_id FROM training_runs WHERE run_id > $1", false},
};
INSTANTIATE_TEST_SUITE_P(Others, Offered, testing::ValuesIn(kOthers));

struct Refusal {
  const char* rule;
  const char* statement;
};
class NotOffered : public testing::TestWithParam<Refusal> {};
TEST_P(NotOffered, R28_Rewrite) {
  const auto found = rewritten(GetParam().rule, GetParam().statement);
  EXPECT_FALSE(found) << found->text;
}

constexpr Refusal kRefusals[] = {
    // A name that could be another's, a function that is not known, a constant that is none.
    {"function-to-range", "SELECT 1 FROM training_runs, some_view WHERE date(created_at) = $1"},
    {"function-to-range", "SELECT 1 FROM training_runs t JOIN deployments d ON date(created_at) = d.deployed_at::date"},
    {"function-to-range",
     "WITH training_runs AS (SELECT now() AS created_at) SELECT 1 FROM training_runs, models WHERE "
     "date(training_runs.created_at) = $1"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE date(created_at) = unknown_function()"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE date(created_at) <> '2024-01-15'"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE date_trunc($1, created_at) = $2"},
    {"function-to-range", "SELECT 1 FROM training_runs WHERE extract(year FROM created_at) = 2024.5"},
    {"function-to-range", "SELECT date(created_at) = '2024-01-15' FROM training_runs GROUP BY 1"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id = 4.5"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id = 3000000000.0"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id = 4.0000000000000001"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id::text = '042'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE version_id::text = '3000000000'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE run_id::text = '0B0C0D0E-0000-0000-0000-00000000000A'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE stage::text = 'unheard of'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE model_name::text = 'x'"},
    {"cast-on-column", "SELECT 1 FROM training_runs WHERE created_at::text = '2024-01-15'"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments) > 1"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments) > -5"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(replicas) FROM deployments) > 0"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments GROUP BY status) > 0"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments LIMIT 0) > 0"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments HAVING count(*) > 3) = 0"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM deployments WHERE random() < 0.5) > 0"},
    {"count-to-exists", "SELECT 1 FROM models WHERE (SELECT count(*) FROM some_view) > 0"},
    {"not-in-to-not-exists", "SELECT 1 FROM models WHERE model_id NOT IN (1, 2)"},
    {"not-in-to-not-exists", "SELECT 1 FROM models WHERE model_id IN (SELECT model_id FROM model_versions)"},
    {"not-in-to-not-exists",
     "SELECT 1 FROM models WHERE model_id NOT IN (SELECT model_id FROM model_versions LIMIT 5)"},
    {"not-in-to-not-exists",
     "SELECT 1 FROM models WHERE model_id NOT IN (SELECT nextval('s')::int FROM model_versions)"},
    {"correlated-extreme",
     "SELECT 1 FROM deployments d WHERE NOT deployed_at = (SELECT max(e.deployed_at) FROM deployments "
     "e WHERE e.version_id = d.version_id)"},
    {"correlated-extreme",
     "SELECT 1 FROM deployments d WHERE deployed_at = (SELECT max(e.deployed_at) FROM deployments e "
     "WHERE e.version_id = d.version_id AND e.replicas > d.replicas)"},
    {"correlated-extreme",
     "SELECT 1 FROM deployments d WHERE deployed_at = (SELECT max(e.deployed_at) FROM deployments e)"},
    {"subqueries-to-lateral",
     "SELECT *, (SELECT count(*) FROM model_versions v WHERE v.model_id = m.model_id), (SELECT max(v.version_id) FROM "
     "model_versions v WHERE v.model_id = m.model_id) FROM models m"},
    {"subqueries-to-lateral",
     "SELECT (SELECT count(*) FROM model_versions v WHERE v.model_id = m.model_id), (SELECT max(v.version_id) FROM "
     "model_versions v WHERE v.model_id < m.model_id) FROM models m"},
    {"subqueries-to-lateral",
     "SELECT (SELECT count(*) FROM model_versions v WHERE v.model_id = m.model_id GROUP BY v.version_id), (SELECT "
     "max(v.version_id) "
     "FROM model_versions v WHERE v.model_id = m.model_id GROUP BY v.version_id) FROM models m"},
    {"or-to-union", "SELECT 1 FROM training_runs WHERE model_name = 'a' OR model_name = 'b'"},
    {"or-to-union", "SELECT count(*) FROM training_runs WHERE model_name = 'a' OR status = 'b'"},
    {"or-to-union", "SELECT DISTINCT log FROM training_runs WHERE model_name = 'a' OR status = 'b'"},
    {"or-to-union", "SELECT random() FROM training_runs WHERE model_name = 'a' OR status = 'b'"},
    {"or-to-union", "SELECT * FROM training_runs TABLESAMPLE system (5) WHERE model_name = 'a' OR status = 'b'"},
    {"or-to-union", "SELECT * FROM training_runs WHERE model_name = 'a' OR status = 'b' FOR UPDATE"},
    {"or-to-union", "SELECT * FROM training_runs WHERE model_name = 'a' OR status = 'b' LIMIT 5"},
    {"or-to-union", "SELECT * FROM training_runs WHERE model_name = 'a' OR status = 'b' ORDER BY created_at LIMIT 5"},
    {"or-to-union",
     "SELECT lower(status) AS log, log AS b FROM training_runs WHERE model_name = 'a' OR status = 'b' ORDER BY log"},
    {"offset-to-keyset", "SELECT * FROM training_runs LIMIT 5 OFFSET 100"},
    {"offset-to-keyset", "SELECT * FROM training_runs ORDER BY lower(model_name) LIMIT 5 OFFSET 100"},
    {"offset-to-keyset", "SELECT * FROM training_runs ORDER BY created_at LIMIT 5 OFFSET 0"},
    {"offset-to-keyset", "SELECT * FROM training_runs, models ORDER BY models.created_at LIMIT 5 OFFSET 10"},
    {"star-to-columns", "SELECT * FROM training_runs WHERE model_name = $1"},
    {"star-to-columns", "SELECT * FROM environments WHERE environment_id = 1"},
};
INSTANTIATE_TEST_SUITE_P(Refusals, NotOffered, testing::ValuesIn(kRefusals));

TEST(Rewrites, R28_InheritedTablesAndDeferrableKeysProveNothing) {
  Catalog catalog = registry();
  catalog.tables[1].has_children = true;
  const char* statement = "SELECT 1 FROM models WHERE model_id NOT IN (SELECT model_id FROM model_versions)";
  EXPECT_EQ(rewritten("not-in-to-not-exists", statement, catalog)->guarantee, "");
  const char* only = "SELECT 1 FROM models WHERE model_id NOT IN (SELECT model_id FROM ONLY model_versions)";
  EXPECT_NE(rewritten("not-in-to-not-exists", only, catalog)->guarantee, "");
  const char* outer =
      "SELECT 1 FROM models WHERE model_id NOT IN (SELECT v.model_id FROM deployments d LEFT JOIN model_versions v ON "
      "v.version_id = d.version_id)";
  EXPECT_EQ(rewritten("not-in-to-not-exists", outer)->guarantee, "");

  const char* page = "SELECT * FROM training_runs WHERE status = 'x' OR log = 'b' ORDER BY run_id LIMIT 5";
  EXPECT_TRUE(rewritten("or-to-union", page));
  catalog.tables[2].indexes[0].immediate = false;
  EXPECT_FALSE(rewritten("or-to-union", page, catalog));
}

TEST(Rewrites, R28_HostileNamesStayQuoted) {
  Catalog catalog = registry();
  Table& table = catalog.tables[1];
  table.name.name = "we\"ird";
  table.columns[1].name = "select";
  const auto found = rewritten(
      "not-in-to-not-exists",
      "SELECT 1 FROM models AS \"O\"\"r\" WHERE model_id NOT IN (SELECT \"select\" FROM \"we\"\"ird\")", catalog);
  ASSERT_TRUE(found);
  EXPECT_NE(found->text.find("\"O\"\"r\".model_id = \"we\"\"ird\".\"select\""), std::string::npos) << found->text;
}

TEST(Rewrites, R28_NothingForWhatIsNoStatementOrSmall) {
  for (const char* text : {"", "SELECT", "SELECT 1; SELECT 2", "\xff", "CREATE TABLE t (a int)",
                           "SELECT * FROM environments WHERE environment_id = 4.0"})
    EXPECT_TRUE(propose_rewrites(registry(), text).empty()) << text;
}

TEST(Rewrites, R28_SeveralPlacesAreOneText) {
  const auto found = rewritten("cast-on-column",
                               "/* a */ SELECT 1 FROM training_runs a, training_runs b WHERE a.version_id = 1.0 AND "
                               "b.version_id = 2.0 -- b");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->text, "SELECT 1 FROM training_runs a, training_runs b WHERE a.version_id = 1 AND b.version_id = 2");
}

}  // namespace
}  // namespace cairn::tuner
