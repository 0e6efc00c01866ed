// For *_test.cpp only: a catalog with the tables of a model registry, primary keys alone, at a size where indexes
// count.
#pragma once

#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"

namespace cairn::tuner::testing_catalog {

inline Column column(std::string name, std::string type, char category, double distinct, int width = 8) {
  return {.name = std::move(name),
          .type = std::move(type),
          .category = category,
          .has_statistics = true,
          .distinct = distinct,
          .width = width};
}

inline Column text(std::string name, double distinct, std::vector<CommonValue> common = {}) {
  Column made = column(std::move(name), "text", 'S', distinct, 12);
  made.common = std::move(common);
  return made;
}

inline Column number(std::string name, double distinct) { return column(std::move(name), "int4", 'N', distinct, 4); }
inline Column time(std::string name, double distinct) { return column(std::move(name), "timestamptz", 'D', distinct); }
inline Column json(std::string name) { return column(std::move(name), "jsonb", 'U', 1000, 200); }

inline Index primary_key(const Table& table) {
  return {.oid = table.oid + 1000,
          .name = table.name.name + "_pkey",
          .definition = {.table = table.name, .keys = {{.text = table.columns[0].name}}, .unique = true},
          .primary = true,
          .constraint = true,
          .bytes = 1 << 20};
}

inline Table table(int64_t oid, std::string name, double rows, std::vector<Column> columns) {
  Table made{.oid = oid,
             .name = {"public", std::move(name)},
             .rows = rows,
             .pages = static_cast<int64_t>(rows / 50),
             .columns = std::move(columns)};
  made.indexes.push_back(primary_key(made));
  return made;
}

inline Catalog registry() {
  Catalog catalog{.version = 150000, .search_path = {"public"}, .has_trigrams = true};
  Column active = column("is_active", "bool", 'B', 2, 1);
  active.common = {{"t", 0.9}, {"f", 0.1}};
  Column started = time("started_at", 49000);
  started.correlation = 0.99;
  Column environment = number("environment_id", 3);
  environment.common = {{"1", 0.3}, {"2", 0.3}, {"3", 0.4}};
  catalog.tables = {
      table(1, "models", 2000, {number("model_id", 2000), text("model_name", 2000), active, time("created_at", 2000)}),
      table(2, "model_versions", 8000,
            {number("version_id", 8000), number("model_id", 2000), text("semver", 50), time("registered_at", 8000),
             json("metadata_")}),
      table(3, "training_runs", 500000,
            {column("run_id", "uuid", 'U', 500000, 16), number("version_id", 8000), text("model_name", 2000),
             text("experiment_name", 500), text("status", 4, {{"succeeded", 0.4}, {"failed", 0.3}, {"running", 0.3}}),
             column("accuracy", "float8", 'N', 400000), started, time("created_at", 490000), json("hyperparameters"),
             json("metrics"), column("tags", "_text", 'A', 100, 60), column("log", "text", 'S', 400000, 90)}),
      table(4, "deployments", 40000,
            {number("deployment_id", 40000), number("version_id", 8000), environment,
             text("status", 5, {{"active", 0.2}, {"retired", 0.6}}), time("deployed_at", 39000),
             text("deployed_by", 40), number("replicas", 10)}),
      table(5, "approvals", 9000,
            {number("approval_id", 9000), number("version_id", 8000), text("status", 3, {{"approved", 0.3}}),
             time("approved_at", 9000)}),
      table(6, "environments", 3, {number("environment_id", 3), text("name", 3)}),
  };
  catalog.foreign_keys = {{"model_versions_model_id_fkey", 2, {"model_id"}, 1},
                          {"training_runs_version_id_fkey", 3, {"version_id"}, 2},
                          {"deployments_version_id_fkey", 4, {"version_id"}, 2},
                          {"deployments_environment_id_fkey", 4, {"environment_id"}, 6},
                          {"approvals_version_id_fkey", 5, {"version_id"}, 2}};
  return catalog;
}

}  // namespace cairn::tuner::testing_catalog
