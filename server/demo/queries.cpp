#include "demo/queries.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/error.h"

namespace cairn::demo {
namespace {

constexpr int kTimes = 7;
constexpr Oid kFloat8 = 701;

constexpr const char* kRegistry = "registry, tracking, text002, public";
constexpr const char* kMetrics = "text000, public";

constexpr const char* kLatestDeployments = R"(
SELECT m.model_name, mv.semver, d.status, d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days'
ORDER BY d.deployed_at DESC
LIMIT 50)";

constexpr const char* kRunsOfExperiment = R"(
SELECT run_id, model_name, status, accuracy, created_at
FROM training_runs
WHERE experiment_name = $1
  AND created_at > NOW() - INTERVAL '7 days'
ORDER BY accuracy DESC NULLS LAST
LIMIT 20)";

constexpr const char* kModelStatistics = R"(
SELECT
    m.model_name,
    COUNT(DISTINCT mv.version_id) as version_count,
    COUNT(DISTINCT tr.run_id) as training_runs,
    MAX(tr.accuracy) as best_accuracy
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN training_runs tr ON tr.version_id = mv.version_id
WHERE m.is_active = true
GROUP BY m.model_id, m.model_name
ORDER BY version_count DESC)";

constexpr const char* kActiveDeployments = R"(
SELECT m.model_name, mv.semver, d.status, d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.environment_id = 1 AND d.status = 'active'
ORDER BY d.deployed_at DESC)";

constexpr const char* kModelOverview = R"(
SELECT
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

constexpr const char* kMovingAverages = R"(
SELECT
    timestamp,
    accuracy,
    AVG(accuracy) OVER (
        ORDER BY timestamp
        ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
    ) as accuracy_ma_10,
    loss,
    AVG(loss) OVER (
        ORDER BY timestamp
        ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
    ) as loss_ma_10
FROM model_metrics
WHERE model_id = (SELECT id FROM models WHERE name = $1)
ORDER BY timestamp)";

constexpr const char* kPerformanceSummary = R"(
SELECT
    m.name as model_name,
    m.status,
    COUNT(*) as total_runs,
    AVG(mm.accuracy) as avg_accuracy,
    MAX(mm.timestamp) as last_run,
    MIN(mm.timestamp) as first_run,
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY mm.accuracy) as median_accuracy
FROM models m
JOIN model_metrics mm ON m.id = mm.model_id
GROUP BY m.id, m.name, m.status)";

constexpr DashboardQuery kQueries[] = {
    {"dashboard 1", "latest deployments", kRegistry, kLatestDeployments, nullptr},
    {"dashboard 2", "training runs of the experiment, the best first", kRegistry, kRunsOfExperiment, kExperiment},
    {"dashboard 3", "models with their versions, runs and best accuracy", kRegistry, kModelStatistics, nullptr},
    {"dashboard 4", "what is active in production", kRegistry, kActiveDeployments, nullptr},
    {"dashboard 5", "models with their deployments and accuracy", kRegistry, kModelOverview, nullptr},
    {"windows 1", "moving averages over the last ten epochs", kMetrics, kMovingAverages, kModel},
    {"windows 2", "performance of each model over all its points", kMetrics, kPerformanceSummary, nullptr},
};

}  // namespace

std::span<const DashboardQuery> dashboard_queries() { return kQueries; }

Database::Database(const std::string& connection_string)
    : connection_(PQconnectdb(connection_string.c_str()), &PQfinish) {
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Error(ErrorCode::kTemporarilyUnavailable,
                std::string("cannot connect to the database: ") + PQerrorMessage(connection_.get()));
  execute("SET timezone = 'UTC'");
}

Database::Rows Database::execute(const char* sql, const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
  Rows rows(PQexecParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                         nullptr, 0),
            &PQclear);
  const ExecStatusType status = PQresultStatus(rows.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    throw Error(ErrorCode::kInternalError, PQresultErrorMessage(rows.get()));
  return rows;
}

Database::Result Database::run(const DashboardQuery& query) {
  execute(fmt::format("SET search_path = {}", query.search_path).c_str());
  std::vector<std::string> parameters;
  if (query.parameter) parameters.emplace_back(query.parameter);
  std::vector<double> times;
  Rows rows(nullptr, &PQclear);
  for (int i = 0; i < kTimes; ++i) {
    const auto start = std::chrono::steady_clock::now();
    rows = execute(query.sql, parameters);
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  Result result;
  result.median_ms = times[kTimes / 2];
  const int columns = PQnfields(rows.get());
  for (int c = 0; c < columns; ++c) result.table.columns.emplace_back(PQfname(rows.get(), c));
  for (int r = 0; r < PQntuples(rows.get()); ++r) {
    auto& row = result.table.rows.emplace_back();
    for (int c = 0; c < columns; ++c) {
      if (PQgetisnull(rows.get(), r, c) != 0) {
        row.emplace_back();
        continue;
      }
      const char* text = PQgetvalue(rows.get(), r, c);
      row.emplace_back(PQftype(rows.get(), c) == kFloat8 ? fmt::format("{:.4f}", std::atof(text)) : std::string(text));
    }
  }
  return result;
}

}  // namespace cairn::demo
