#include "tuner/sql/placeholders.h"

#include <gtest/gtest.h>

#include "tuner/testing.h"

namespace cairn::tuner {
namespace {

const Catalog& catalog() {
  static const Catalog made = testing_catalog::registry();
  return made;
}

// "table.column" and the role of $number.
std::pair<std::string, Role> known(const std::string& sql, int number) {
  for (const Placeholder& one : placeholders_of(catalog(), sql))
    if (one.number == number) return {one.table == nullptr ? "" : one.table->name.name + "." + one.column, one.role};
  return {"none", Role::kUnknown};
}

using Known = std::pair<std::string, Role>;

TEST(PlaceholdersTest, R26_FindsTheColumnThatAPlaceholderIsComparedWith) {
  const std::string sql =
      "SELECT * FROM training_runs r JOIN deployments AS d ON d.version_id = r.version_id WHERE r.experiment_name = $1 "
      "AND d.status IN ($2, $3) AND r.created_at > now() - $4::interval AND accuracy BETWEEN $5 AND $6 "
      "AND lower(r.model_name) LIKE $7 ORDER BY r.created_at LIMIT $8 OFFSET $9";
  EXPECT_EQ(known(sql, 1), Known("training_runs.experiment_name", Role::kValue));
  EXPECT_EQ(known(sql, 2), Known("deployments.status", Role::kValue));
  EXPECT_EQ(known(sql, 3), Known("deployments.status", Role::kValue));
  EXPECT_EQ(known(sql, 4), Known("training_runs.created_at", Role::kLow));
  EXPECT_EQ(known(sql, 5), Known("training_runs.accuracy", Role::kLow));
  EXPECT_EQ(known(sql, 6), Known("training_runs.accuracy", Role::kHigh));
  EXPECT_EQ(known(sql, 7), Known("training_runs.model_name", Role::kPattern));
  EXPECT_EQ(known(sql, 8), Known("", Role::kLimit));
  EXPECT_EQ(known(sql, 9), Known("", Role::kOffset));
  EXPECT_EQ(placeholders_of(catalog(), sql).at(6).function, "lower");
}

TEST(PlaceholdersTest, R26_ReadsTheOtherSideAndSubqueries) {
  EXPECT_EQ(known("SELECT 1 FROM models WHERE $1 < created_at", 1), Known("models.created_at", Role::kLow));
  EXPECT_EQ(known("SELECT 1 FROM models m WHERE EXISTS (SELECT FROM deployments d WHERE d.replicas > $1)", 1),
            Known("deployments.replicas", Role::kLow));
  const std::string latest =
      "SELECT (SELECT d.status FROM deployments d WHERE d.version_id = m.model_id ORDER BY d.created_at LIMIT $1) "
      "FROM models m WHERE model_id IN (SELECT model_id FROM models LIMIT $2)";
  EXPECT_EQ(known(latest, 1), Known("", Role::kLimitOfOne)) << "more rows than one would be an error";
  EXPECT_EQ(known(latest, 2), Known("", Role::kLimit));
  EXPECT_EQ(known("SELECT 1 FROM models WHERE model_id = ANY ($1)", 1), Known("models.model_id", Role::kValue));
  EXPECT_EQ(known("SELECT 1 FROM training_runs WHERE $1 = ANY (tags)", 1), Known("training_runs.tags", Role::kElement));
  EXPECT_EQ(known("SELECT $1, status FROM deployments", 1), Known("", Role::kUnknown));
}

TEST(PlaceholdersTest, R26_ReadsJson) {
  const std::string sql =
      "SELECT 1 FROM training_runs WHERE hyperparameters ->> $1 = $2 AND (metrics ->> 'loss')::float < $3 "
      "AND hyperparameters @> $4";
  EXPECT_EQ(known(sql, 1), Known("training_runs.hyperparameters", Role::kKey));
  EXPECT_EQ(known(sql, 2), Known("training_runs.hyperparameters", Role::kKeyValue));
  EXPECT_EQ(known(sql, 3), Known("training_runs.metrics", Role::kKeyValue));
  EXPECT_EQ(known(sql, 4), Known("training_runs.hyperparameters", Role::kDocument));
  EXPECT_EQ(placeholders_of(catalog(), sql).at(2).key, "loss");
  EXPECT_TRUE(placeholders_of(catalog(), sql).at(2).numeric);
}

TEST(PlaceholdersTest, R26_ReadsWrites) {
  EXPECT_EQ(known("INSERT INTO models (model_name, is_active) VALUES ($1, $2), ($3, $4)", 3),
            Known("models.model_name", Role::kInserted));
  EXPECT_EQ(known("INSERT INTO environments VALUES ($1, $2)", 2), Known("environments.name", Role::kInserted));
  EXPECT_EQ(known("UPDATE deployments SET status = $1 WHERE deployment_id = $2", 1),
            Known("deployments.status", Role::kUpdated));
  EXPECT_EQ(known("UPDATE deployments SET status = $1 WHERE deployment_id = $2", 2),
            Known("deployments.deployment_id", Role::kValue));
}

TEST(PlaceholdersTest, R26_AnyTextIsRead) {
  for (const char* sql : {"", "$1", "SELECT", "SELECT $1 FROM nowhere WHERE a.b.c.d = $2", "VALUES ($1)",
                          "SELECT (t).x FROM t WHERE (t).x = $1"})
    EXPECT_LE(placeholders_of(catalog(), sql).size(), 2U) << sql;
}

}  // namespace
}  // namespace cairn::tuner
