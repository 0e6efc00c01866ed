// The queries of a model registry that is slow, and the eighteen indexes that a careful engineer gave it: what is
// proposed is held against them by the planner's own costs.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/reactor.h"
#include "db/pool.h"
#include "db/testing.h"
#include "tuner/advise/candidates.h"
#include "tuner/advise/what_if.h"

namespace cairn::tuner {
namespace {

constexpr const char* kRegistry = R"(
  CREATE EXTENSION hypopg;
  CREATE TABLE models (model_id int PRIMARY KEY, model_name text, is_active bool, created_at timestamptz);
  CREATE TABLE model_versions (version_id int PRIMARY KEY, model_id int REFERENCES models, semver text,
    registered_at timestamptz, metadata_ jsonb);
  CREATE TABLE training_runs (run_id int PRIMARY KEY, version_id int REFERENCES model_versions, model_name text,
    experiment_name text, status text, accuracy float8, started_at timestamptz, created_at timestamptz,
    hyperparameters jsonb);
  CREATE TABLE deployments (deployment_id int PRIMARY KEY, version_id int REFERENCES model_versions,
    environment_id int, status text, deployed_at timestamptz, deployed_by text);
  CREATE TABLE approvals (approval_id int PRIMARY KEY, version_id int REFERENCES model_versions, status text,
    approved_at timestamptz, note text);
  INSERT INTO models SELECT i, 'model-' || i, i % 10 <> 0, now() - i * interval '3 hours' FROM generate_series(1, 1000) i;
  INSERT INTO model_versions SELECT i, i % 1000 + 1, '1.' || i % 20, now() - i * interval '1 hour',
    jsonb_build_object('framework', i % 4) FROM generate_series(1, 4000) i;
  INSERT INTO training_runs SELECT i, i % 4000 + 1, 'model-' || i % 1000, 'exp-' || i % 300,
    (array['succeeded', 'failed', 'running', 'queued', 'killed'])[1 + i * 7919 % 5], (i * 7919 % 10007) / 10007.0,
    now() - i * interval '5 minutes', now() - i * interval '5 minutes', jsonb_build_object('lr', i % 100)
    FROM generate_series(1, 40000) i;
  INSERT INTO deployments SELECT i, i % 4000 + 1, i * 31 % 3 + 1, (array['active', 'retired', 'failed', 'retired',
    'retired'])[1 + i * 7919 % 5], now() - i * interval '10 minutes', 'user-' || i % 40 FROM generate_series(1, 20000) i;
  INSERT INTO approvals SELECT i, i % 4000 + 1, (array['approved', 'pending', 'refused'])[1 + i % 3],
    now() - i * interval '1 hour', repeat('x', 100) FROM generate_series(1, 10000) i;
  ANALYZE;)";

#define CAIRN_DEPLOYMENTS                                                                                     \
  "FROM deployments d JOIN model_versions mv ON d.version_id = mv.version_id JOIN models m ON mv.model_id = " \
  "m.model_id "
constexpr const char* kStatements[] = {
    "SELECT m.model_name, mv.semver, d.environment_id, d.status, d.deployed_at, d.deployed_by " CAIRN_DEPLOYMENTS
    "WHERE d.deployed_at > NOW() - INTERVAL '30 days' ORDER BY d.deployed_at DESC LIMIT 50",
    "SELECT run_id, model_name, status, accuracy, created_at FROM training_runs WHERE experiment_name = 'exp-7' AND "
    "created_at > NOW() - INTERVAL '7 days' ORDER BY accuracy DESC NULLS LAST LIMIT 20",
    "SELECT m.model_name, COUNT(DISTINCT mv.version_id), COUNT(DISTINCT tr.run_id), COUNT(DISTINCT d.deployment_id) AS "
    "deployments, MAX(tr.accuracy) FROM models m LEFT JOIN model_versions mv ON m.model_id = mv.model_id LEFT JOIN "
    "training_runs tr ON tr.version_id = mv.version_id LEFT JOIN deployments d ON d.version_id = mv.version_id WHERE "
    "m.is_active = true GROUP BY m.model_id, m.model_name ORDER BY deployments DESC",
    "SELECT m.model_name, mv.semver, d.status, d.deployed_at " CAIRN_DEPLOYMENTS
    "WHERE d.environment_id = 1 AND d.status = 'active' ORDER BY d.deployed_at DESC",
    "SELECT * FROM training_runs WHERE created_at > now() - interval '1 day' ORDER BY created_at DESC",
    "SELECT * FROM model_versions ORDER BY registered_at DESC LIMIT 10",
    "SELECT accuracy, created_at FROM training_runs WHERE model_name = 'model-5' AND status = 'failed'",
    "SELECT accuracy, run_id FROM training_runs WHERE model_name = 'model-5' AND status = 'succeeded' ORDER BY "
    "created_at "
    "DESC",
    "SELECT * FROM approvals WHERE version_id = 77 AND status = 'approved' ORDER BY approved_at DESC LIMIT 1",
    "SELECT * FROM approvals WHERE version_id = 77",
    "SELECT * FROM model_versions WHERE model_id = 12",
};

IndexKey descending(std::string column) { return {.text = std::move(column), .descending = true, .nulls_first = true}; }

// Those of the eighteen that hypothetical indexes can be: all but GIN.
std::vector<IndexDefinition> by_hand() {
  const auto on = [](const char* table) { return TableName{"public", table}; };
  return {{.table = on("model_versions"), .keys = {{.text = "model_id"}}},
          {.table = on("training_runs"), .keys = {{.text = "version_id"}}},
          {.table = on("deployments"), .keys = {{.text = "version_id"}}},
          {.table = on("deployments"), .keys = {{.text = "environment_id"}}},
          {.table = on("approvals"), .keys = {{.text = "version_id"}}},
          {.table = on("deployments"), .keys = {descending("deployed_at")}},
          {.table = on("training_runs"), .keys = {descending("created_at")}},
          {.table = on("training_runs"),
           .method = "brin",
           .keys = {{.text = "started_at"}},
           .options = "pages_per_range = 128"},
          {.table = on("model_versions"), .keys = {descending("registered_at")}},
          {.table = on("training_runs"),
           .keys = {{.text = "experiment_name"}, descending("created_at")},
           .include = {"accuracy", "status"}},
          {.table = on("training_runs"),
           .keys = {{.text = "model_name"}, {.text = "status"}},
           .include = {"accuracy", "created_at"}},
          {.table = on("deployments"),
           .keys = {{.text = "environment_id"}, {.text = "status"}, descending("deployed_at")},
           .include = {"version_id"}},
          {.table = on("deployments"),
           .keys = {{.text = "version_id"}, descending("deployed_at")},
           .predicate = "environment_id = 1 AND status = 'active'"},
          {.table = on("training_runs"),
           .keys = {{.text = "model_name"}, descending("created_at")},
           .include = {"accuracy", "run_id"},
           .predicate = "status = 'succeeded'"},
          {.table = on("approvals"),
           .keys = {{.text = "version_id"}, descending("approved_at")},
           .predicate = "status = 'approved'"}};
}

TEST(Eighteen, R25_NoStatementCostsMoreThanWithTheIndexesMadeByHand) {
  db::TestDatabase database;
  Reactor reactor;
  database.execute(kRegistry);
  std::vector<WorkloadStatement> workload;
  for (const char* text : kStatements) workload.push_back({.text = text, .calls = 100});
  db::PoolOptions options;
  options.connection_string = database.url();
  std::vector<IndexDefinition> proposed;
  {
    db::Pool pool(options);
    for (const Candidate& candidate : propose(reactor.block_on(read_catalog(pool)), workload))
      proposed.push_back(candidate.index);
  }
  WhatIf what_if(reactor, {.connection_string = database.url()});
  ASSERT_EQ(what_if.missing(), "");
  for (const IndexDefinition& index : proposed)
    EXPECT_TRUE(what_if.bytes(index)) << create_statement(index, std::nullopt, false) << what_if.refusal(index);
  for (const char* text : kStatements) {
    std::string refusal;
    const auto statement = what_if.add(text, refusal);
    ASSERT_TRUE(statement) << refusal;
    const double none = what_if.cost(*statement), hand = what_if.estimate(*statement, by_hand()).cost;
    const double ours = what_if.estimate(*statement, proposed).cost;
    EXPECT_LE(ours, hand * 1.001) << text << "\nwithout " << none << ", by hand " << hand;
    EXPECT_LT(ours, none) << text;
  }
}

}  // namespace
}  // namespace cairn::tuner
