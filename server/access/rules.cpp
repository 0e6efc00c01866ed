#include "access/rules.h"

#include <algorithm>

namespace cairn::access {
namespace {

constexpr auto kRead = http::Permission::kRead;
constexpr auto kEdit = http::Permission::kEdit;
constexpr auto kManage = http::Permission::kManage;
using enum Find;
using enum Kind;

// Rules of one route stand together. A route that no line names is refused to whoever has permissions of their own, and
// fails a test.
constexpr Rule kRules[] = {
    // -- experiments, runs
    {"POST /mlflow/experiments/create", kArtifact, kExperiment, kRead, "artifact_location"},
    {"POST /mlflow/experiments/create", kCreates, kExperiment, kManage, "experiment_id"},
    {"GET /mlflow/experiments/get", kName, kExperiment, kRead, "experiment_id"},
    {"GET /mlflow/experiments/get-by-name", kExperimentName, kExperiment, kRead, "experiment_name"},
    {"POST /mlflow/experiments/update", kName, kExperiment, kEdit, "experiment_id"},
    {"POST /mlflow/experiments/set-experiment-tag", kName, kExperiment, kEdit, "experiment_id"},
    {"POST /mlflow/experiments/delete-experiment-tag", kName, kExperiment, kEdit, "experiment_id"},
    {"POST /mlflow/experiments/delete", kName, kExperiment, kManage, "experiment_id"},
    {"POST /mlflow/experiments/restore", kName, kExperiment, kManage, "experiment_id"},
    {"POST /mlflow/experiments/search", kAnswer, kExperiment, kRead, "experiments.experiment_id"},
    {"GET /mlflow/experiments/search", kAnswer, kExperiment, kRead, "experiments.experiment_id"},
    {"POST /mlflow/experiments/search-datasets", kNames, kExperiment, kRead, "experiment_ids"},
    {"POST /mlflow/runs/create", kName, kExperiment, kEdit, "experiment_id"},
    {"GET /mlflow/runs/get", kRun, kExperiment, kRead},
    {"POST /mlflow/runs/update", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/delete", kRun, kExperiment, kManage},
    {"POST /mlflow/runs/restore", kRun, kExperiment, kManage},
    {"POST /mlflow/runs/delete-tag", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/log-metric", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/log-parameter", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/set-tag", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/log-batch", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/log-inputs", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/outputs", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/log-model", kRun, kExperiment, kEdit},
    {"POST /mlflow/runs/search", kAnswer, kExperiment, kRead, "runs.info.experiment_id"},
    {"GET /mlflow/metrics/get-history", kRun, kExperiment, kRead},
    {"GET /mlflow/metrics/get-history-bulk", kRuns, kExperiment, kRead, "run_id"},
    {"GET /mlflow/metrics/get-history-bulk-interval", kRuns, kExperiment, kRead, "run_ids"},
    {"GET /api/v1/runs/compare", kRuns, kExperiment, kRead, "run_id"},
    {"POST /mlflow/logged-models", kName, kExperiment, kEdit, "experiment_id"},
    {"GET /mlflow/logged-models/{model_id}", kLoggedModel, kExperiment, kRead, "{model_id}"},
    {"PATCH /mlflow/logged-models/{model_id}", kLoggedModel, kExperiment, kEdit, "{model_id}"},
    {"DELETE /mlflow/logged-models/{model_id}", kLoggedModel, kExperiment, kManage, "{model_id}"},
    {"POST /mlflow/logged-models/{model_id}/params", kLoggedModel, kExperiment, kEdit, "{model_id}"},
    {"PATCH /mlflow/logged-models/{model_id}/tags", kLoggedModel, kExperiment, kEdit, "{model_id}"},
    {"DELETE /mlflow/logged-models/{model_id}/tags/{key}", kLoggedModel, kExperiment, kEdit, "{model_id}"},
    {"POST /mlflow/logged-models/search", kAnswer, kExperiment, kRead, "models.info.experiment_id"},
    // Each of its fields is asked for as the route that it stands for.
    {"POST /graphql"},
    {"GET /graphql"},
    {"GET /mlflow/server-info"},

    // -- artifacts
    {"GET /mlflow/artifacts/list", kRun, kExperiment, kRead},
    {"GET /get-artifact", kRun, kExperiment, kRead},
    {"GET /mlflow/logged-models/{model_id}/artifacts/directories", kLoggedModel, kExperiment, kRead, "{model_id}"},
    {"GET /mlflow/logged-models/{model_id}/artifacts/files", kLoggedModel, kExperiment, kRead, "{model_id}"},
    {"GET /model-versions/get-artifact", kName, kModel, kRead, "name"},
    {"GET /mlflow-artifacts/artifacts", kArtifact, kExperiment, kRead, "path"},
    {"GET /mlflow-artifacts/artifacts/{path...}", kArtifact, kExperiment, kRead, "{path}"},
    {"PUT /mlflow-artifacts/artifacts/{path...}", kArtifact, kExperiment, kEdit, "{path}"},
    {"DELETE /mlflow-artifacts/artifacts/{path...}", kArtifact, kExperiment, kManage, "{path}"},
    {"POST /mlflow-artifacts/mpu/…"},       // not implemented
    {"GET /mlflow-artifacts/presigned/…"},  // not implemented

    // -- registered models
    {"POST /mlflow/registered-models/create", kCreates, kModel, kManage, "name"},
    {"GET /mlflow/registered-models/get", kName, kModel, kRead, "name"},
    {"PATCH /mlflow/registered-models/update", kName, kModel, kEdit, "name"},
    {"POST /mlflow/registered-models/rename", kName, kModel, kEdit, "name"},
    {"DELETE /mlflow/registered-models/delete", kName, kModel, kManage, "name"},
    {"GET /mlflow/registered-models/search", kAnswer, kModel, kRead, "registered_models.name"},
    {"POST /mlflow/registered-models/set-tag", kName, kModel, kEdit, "name"},
    {"DELETE /mlflow/registered-models/delete-tag", kName, kModel, kEdit, "name"},
    {"POST /mlflow/registered-models/get-latest-versions", kName, kModel, kRead, "name"},
    {"GET /mlflow/registered-models/get-latest-versions", kName, kModel, kRead, "name"},
    {"POST /mlflow/registered-models/alias", kName, kModel, kEdit, "name"},
    {"DELETE /mlflow/registered-models/alias", kName, kModel, kEdit, "name"},
    {"GET /mlflow/registered-models/alias", kName, kModel, kRead, "name"},
    // Its files are read by whoever reads the model, so its maker must be able to read them.
    {"POST /mlflow/model-versions/create", kName, kModel, kEdit, "name"},
    {"POST /mlflow/model-versions/create", kRun, kExperiment, kRead},
    {"POST /mlflow/model-versions/create", kLoggedModel, kExperiment, kRead, "model_id"},
    {"POST /mlflow/model-versions/create", kArtifact, kExperiment, kRead, "source"},
    {"POST /mlflow/model-versions/create", kSource, kModel, kRead, "source"},
    {"GET /mlflow/model-versions/get", kName, kModel, kRead, "name"},
    {"PATCH /mlflow/model-versions/update", kName, kModel, kEdit, "name"},
    {"POST /mlflow/model-versions/transition-stage", kName, kModel, kEdit, "name"},
    {"DELETE /mlflow/model-versions/delete", kName, kModel, kManage, "name"},
    {"GET /mlflow/model-versions/search", kAnswer, kModel, kRead, "model_versions.name"},
    {"POST /mlflow/model-versions/set-tag", kName, kModel, kEdit, "name"},
    {"DELETE /mlflow/model-versions/delete-tag", kName, kModel, kEdit, "name"},
    {"GET /mlflow/model-versions/get-download-uri", kName, kModel, kRead, "name"},
    {"PATCH /api/v1/models/{name}", kName, kModel, kManage, "{name}"},
    {"GET /api/v1/environments"},
    {"POST /api/v1/environments"},
    {"GET /api/v1/deployments", kAnswer, kModel, kRead, "deployments.model"},
    {"POST /api/v1/deployments", kName, kModel, kEdit, "model"},
    {"GET /api/v1/deployments/{id}", kDeployment, kModel, kRead, "{id}"},
    {"POST /api/v1/deployments/rollback", kName, kModel, kEdit, "model"},
    {"GET /api/v1/approvals", kAnswer, kModel, kRead, "approvals.model"},
    {"POST /api/v1/approvals", kName, kModel, kEdit, "model"},
    {"POST /api/v1/approvals/{id}/approve", kApproval, kModel, kManage, "{id}"},
    {"POST /api/v1/approvals/{id}/reject", kApproval, kModel, kManage, "{id}"},

    // -- collections
    {"GET /api/v1/collections", kAnswer, kCollection, kRead, "collections.name"},
    {"POST /api/v1/collections", kCreates, kCollection, kManage, "name"},
    {"GET /api/v1/collections/{name}", kName, kCollection, kRead, "{name}"},
    {"DELETE /api/v1/collections/{name}", kName, kCollection, kManage, "{name}"},
    {"POST /api/v1/collections/{name}/search", kName, kCollection, kRead, "{name}"},
    {"POST /api/v1/collections/{name}/embed", kName, kCollection, kEdit, "{name}"},
    {"POST /api/v1/collections/{name}/index", kName, kCollection, kEdit, "{name}"},
    {"POST /api/v1/collections/{name}/tune", kName, kCollection, kEdit, "{name}"},
    {"POST /api/v1/collections/{name}/documents", kName, kCollection, kEdit, "{name}"},
    {"DELETE /api/v1/collections/{name}/documents", kName, kCollection, kEdit, "{name}"},
    {"POST /v1/vector_stores/{id}/search", kName, kCollection, kRead, "{id}"},

    // -- feature views
    {"GET /api/v1/features", kAnswer, kView, kRead, "feature_views.name"},
    {"POST /api/v1/features/apply", kViews, kView, kEdit},
    {"POST /api/v1/features/apply", kCreates, kView, kManage, "feature_views"},
    {"POST /api/v1/features/historical", kFeatures, kView, kRead},
    {"POST /api/v1/features/online", kFeatures, kView, kRead},
    {"GET /api/v1/features/range", kFeatures, kView, kRead},
    {"POST /api/v1/features/range", kFeatures, kView, kRead},
    {"GET /api/v1/features/health", kAnswer, kView, kRead, "feature_views.name"},
    {"POST /api/v1/features/health/baseline", kAll, kView, kEdit},
    {"DELETE /api/v1/features/views/{name}", kName, kView, kManage, "{name}"},
    {"POST /api/v1/features/views/{name}/rows", kName, kView, kEdit, "{name}"},
    {"POST /get-online-features", kFeatures, kView, kRead},
    {"POST /search", kFeatures, kView, kRead},
    {"POST /retrieve-online-documents", kFeatures, kView, kRead},
    {"POST /write-to-online-store", kName, kView, kEdit, "feature_view_name"},
    {"POST /push", kPushSource, kView, kEdit, "push_source_name"},
    {"POST /materialize", kViews, kView, kEdit},
    {"POST /materialize-incremental", kViews, kView, kEdit},
    {"GET /api/v1/features/training-sets", kAll, kView, kRead},
    {"GET /api/v1/features/training-sets/{name}", kAll, kView, kRead},
    {"GET /api/v1/features/training-sets/{name}/data", kEverything},
    {"POST /api/v1/features/training-sets", kEverything},
    {"POST /api/v1/features/training-sets/{name}/log-input", kRun, kExperiment, kEdit},
    {"POST /api/v1/features/training-sets/{name}/log-input", kAll, kView, kRead},
    {"DELETE /api/v1/features/training-sets/{name}"},

    // -- the server
    {"GET /api/v1/audit", kEverything},
    {"POST /api/v1/database/explain", kEverything},
    {"GET /api/v1/database…"},
    {"POST /api/v1/database/…"},
    {"PUT /api/v1/database/…"},
    {"PATCH /api/v1/database/…"},
    {"DELETE /api/v1/database/…"},
    {"GET /api/v1/events"},
    {"GET /api/v1/monitor/…"},
    {"GET /api/v1/jobs…"},
    {"POST /api/v1/jobs…"},
    {"GET /api/v1/openapi.json"},
    {"GET /metrics"},
    {"GET /health"},
    {"GET /version"},
    {"GET /"},
    {"GET /ui/…"},

    // -- users and permissions: their handlers decide
    {"POST /mlflow/users/create"},
    {"GET /mlflow/users/get"},
    {"GET /mlflow/users/list"},
    {"PATCH /mlflow/users/update-password"},
    {"PATCH /mlflow/users/update-admin"},
    {"DELETE /mlflow/users/delete"},
    {"POST /mlflow/experiments/permissions/create"},
    {"GET /mlflow/experiments/permissions/get"},
    {"PATCH /mlflow/experiments/permissions/update"},
    {"DELETE /mlflow/experiments/permissions/delete"},
    {"POST /mlflow/registered-models/permissions/create"},
    {"GET /mlflow/registered-models/permissions/get"},
    {"PATCH /mlflow/registered-models/permissions/update"},
    {"DELETE /mlflow/registered-models/permissions/delete"},
    {"GET /api/v1/access/users"},
    {"PATCH /api/v1/access/users/{name}"},
    {"GET /api/v1/access/permissions"},
    {"POST /mlflow/users/permissions/grant"},
    {"POST /mlflow/users/permissions/revoke"},
    {"GET /mlflow/users/permissions/get"},
};

constexpr std::string_view kBelow = "…";

bool names(const Rule& rule, std::string_view route) {
  if (!rule.route.ends_with(kBelow)) return rule.route == route;
  return route.starts_with(rule.route.substr(0, rule.route.size() - kBelow.size()));
}

}  // namespace

std::string_view object_type(Kind kind) {
  constexpr std::string_view kTypes[] = {"", "experiment", "registered_model", "collection", "feature_view"};
  return kTypes[static_cast<size_t>(kind)];
}

std::span<const Rule> rules_of(std::string_view method, std::string_view pattern) {
  constexpr std::string_view kPrefixes[] = {"/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0"};
  std::string_view path = pattern;
  for (const std::string_view prefix : kPrefixes)
    if (pattern.starts_with(prefix)) path = pattern.substr(prefix.size());
  const std::string route = std::string(method) + " " + std::string(path);
  const auto first = std::ranges::find_if(kRules, [&](const Rule& rule) { return names(rule, route); });
  auto last = first;
  while (last != std::end(kRules) && last->route == first->route) ++last;
  return {first, last};
}

}  // namespace cairn::access
