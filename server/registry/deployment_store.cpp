#include "registry/deployment_store.h"

#include <algorithm>

namespace cairn::registry {

using db::Isolation;
using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

namespace {

// Times are milliseconds since 1970, as everywhere in the API.
#define CAIRN_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

#define CAIRN_ENVIRONMENT_JSON                                                              \
  "json_build_object('name', e.environment_name, 'requires_approval', e.requires_approval," \
  " 'created_at', " CAIRN_MS("e.created_at") ")"

#define CAIRN_DEPLOYMENT_JSON \
  "json_build_object('deployment_id', d.deployment_id, 'model', m.model_name, 'version', v.version::text," \
  " 'environment', e.environment_name, 'status', d.status, 'replicas', d.replicas,"                        \
  " 'deployed_at', " CAIRN_MS("d.deployed_at") ", 'deployed_by', d.deployed_by,"                           \
  " 'ended_at', " CAIRN_MS("d.ended_at") ", 'replaced_deployment_id', d.replaced_deployment_id, 'config', d.config)"
#define CAIRN_DEPLOYMENTS                                                                      \
  " FROM registry.deployments d JOIN registry.model_versions v ON v.version_id = d.version_id" \
  " JOIN registry.models m ON m.model_id = d.model_id JOIN registry.environments e USING (environment_id)"

#define CAIRN_APPROVAL_JSON \
  "json_build_object('approval_id', a.approval_id, 'model', m.model_name, 'version', v.version::text,"        \
  " 'target', a.target, 'status', a.status, 'requested_by', a.requested_by,"                                  \
  " 'requested_at', " CAIRN_MS("a.requested_at") ", 'decided_by', a.approved_by,"                             \
  " 'decided_at', " CAIRN_MS("a.approved_at") ", 'comment', a.comment)"
#define CAIRN_APPROVALS                                                          \
  " FROM registry.approvals a JOIN registry.model_versions v USING (version_id)" \
  " JOIN registry.models m ON m.model_id = v.model_id"

constexpr Statement kListEnvironments{"list_environments",
                                      "SELECT coalesce(json_agg(" CAIRN_ENVIRONMENT_JSON
                                      " ORDER BY e.environment_id), '[]') FROM registry.environments e"};
constexpr Statement kReadEnvironment{
    "read_environment", "SELECT " CAIRN_ENVIRONMENT_JSON " FROM registry.environments e WHERE e.environment_name = $1"};
constexpr Statement kInsertEnvironment{
    "insert_environment",
    "INSERT INTO registry.environments (environment_name, requires_approval) VALUES ($1, $2) "
    "ON CONFLICT (environment_name) DO NOTHING"};
constexpr Statement kFindEnvironment{
    "find_environment",
    "SELECT environment_id, requires_approval FROM registry.environments WHERE environment_name = $1"};

constexpr Statement kListDeployments{
    "list_deployments",
    "SELECT coalesce(json_agg(x.document), '[]') FROM (SELECT " CAIRN_DEPLOYMENT_JSON " AS document" CAIRN_DEPLOYMENTS
    " WHERE ($1::text IS NULL OR m.model_name = $1) AND ($2::text IS NULL OR e.environment_name = $2) "
    "AND ($3::text IS NULL OR d.status = $3) AND ($4::bigint IS NULL OR d.deployment_id < $4) "
    "AND m.model_name <> ALL ($6::text[]) ORDER BY d.deployment_id DESC LIMIT $5) x"};
constexpr Statement kReadDeployment{"read_deployment",
                                    "SELECT " CAIRN_DEPLOYMENT_JSON CAIRN_DEPLOYMENTS " WHERE d.deployment_id = $1"};
constexpr Statement kLockForDeployment{
    "lock_for_deployment",
    "SELECT m.model_id, v.version_id, m.requires_approval FROM registry.models m JOIN registry.model_versions v "
    "USING (model_id) WHERE m.model_name = $1 AND v.version = $2 FOR NO KEY UPDATE OF m"};
// An approval names the environment; one for the stage Production is one for the environment `production`.
constexpr Statement kIsApprovedFor{
    "is_approved_for",
    "SELECT status = 'approved' FROM registry.approvals WHERE version_id = $1::text::uuid "
    "AND lower(target) = lower($2) ORDER BY approval_id DESC LIMIT 1"};
constexpr Statement kEndActive{
    "end_active_deployment",
    "UPDATE registry.deployments SET status = $3, ended_at = now() WHERE model_id = $1::text::uuid "
    "AND environment_id = $2 AND status = 'active' RETURNING deployment_id"};
constexpr Statement kInsertDeployment{
    "insert_deployment",
    "INSERT INTO registry.deployments (version_id, environment_id, status, replicas, config, deployed_by, "
    "replaced_deployment_id) VALUES ($1::text::uuid, $2, 'active', $3, $4, $5, $6) RETURNING deployment_id"};
constexpr Statement kLockModelByName{
    "lock_model_by_name",
    "SELECT model_id, requires_approval FROM registry.models WHERE model_name = $1 FOR NO KEY UPDATE"};
constexpr Statement kActiveDeployment{
    "active_deployment",
    "SELECT d.deployment_id, d.replaced_deployment_id, v.version_id, v.version::text FROM registry.deployments d "
    "LEFT JOIN registry.deployments replaced ON replaced.deployment_id = d.replaced_deployment_id "
    "LEFT JOIN registry.model_versions v ON v.version_id = replaced.version_id WHERE d.model_id = $1::text::uuid "
    "AND d.environment_id = $2 AND d.status = 'active'"};
// The copy replaces what its original had replaced, so that the next roll-back goes one step further back.
constexpr Statement kRepeatDeployment{
    "repeat_deployment",
    "INSERT INTO registry.deployments (version_id, environment_id, status, replicas, config, deployed_by, "
    "replaced_deployment_id) SELECT version_id, environment_id, 'active', replicas, config, $2, replaced_deployment_id "
    "FROM registry.deployments WHERE deployment_id = $1 RETURNING deployment_id"};

constexpr Statement kListApprovals{
    "list_approvals",
    "SELECT coalesce(json_agg(x.document), '[]') FROM (SELECT " CAIRN_APPROVAL_JSON " AS document" CAIRN_APPROVALS
    " WHERE ($1::text IS NULL OR m.model_name = $1) AND ($2::text IS NULL OR a.status = $2) "
    "AND ($3::bigint IS NULL OR a.approval_id < $3) AND m.model_name <> ALL ($5::text[]) "
    "ORDER BY a.approval_id DESC LIMIT $4) x"};
constexpr Statement kReadApproval{"read_approval",
                                  "SELECT " CAIRN_APPROVAL_JSON CAIRN_APPROVALS " WHERE a.approval_id = $1"};
constexpr Statement kInsertApproval{
    "insert_approval",
    "INSERT INTO registry.approvals (version_id, target, requested_by, comment) SELECT v.version_id, $3, $4, $5 "
    "FROM registry.models m JOIN registry.model_versions v USING (model_id) WHERE m.model_name = $1 AND v.version = $2 "
    "FOR NO KEY UPDATE OF m RETURNING approval_id"};
// A deployment that is under way has read the approvals under the same lock.
constexpr Statement kLockModelOfApproval{
    "lock_model_of_approval", "SELECT m.model_id" CAIRN_APPROVALS " WHERE a.approval_id = $1 FOR NO KEY UPDATE OF m"};
constexpr Statement kDecideApproval{
    "decide_approval",
    "UPDATE registry.approvals SET status = $2, approved_by = $3, approved_at = now(), "
    "comment = coalesce(nullif($4, ''), comment) WHERE approval_id = $1 AND status = 'pending'"};
constexpr Statement kApprovalStatus{"approval_status", "SELECT status FROM registry.approvals WHERE approval_id = $1"};

constexpr Statement kListEvents{
    "list_events",
    "SELECT coalesce(json_agg(x.document), '[]') FROM (SELECT json_build_object('event_id', event_id, 'at', " CAIRN_MS(
        "at") ", 'actor', actor, 'action', action, 'object_type', object_type, 'object_id', object_id, 'details', details, "
    "'request_id', request_id) AS document FROM audit.events WHERE ($1::text IS NULL OR object_type = $1) "
    "AND ($2::text IS NULL OR object_id = $2) AND ($3::text IS NULL OR actor = $3) "
    "AND ($4::bigint IS NULL OR event_id < $4) ORDER BY event_id DESC LIMIT $5) x"};

// The audit row, COMMIT's partner, and the document that the change made.
task<std::string> finish(Transaction& tx, const Caller& caller, const Event& event, const db::Query& read) {
  std::vector<db::Query> rest;
  rest.push_back(audit_query(caller, event));
  rest.push_back(read);
  const std::vector<Rows> results = co_await tx.run_and_commit(std::move(rest));
  co_return results[1].text(0, 0);
}

Error environment_not_found(const std::string& name) {
  return not_found("Environment '" + name + "' not found. GET /api/v1/environments lists them, POST makes one.");
}

bool same_name(const std::string& a, const std::string& b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

struct Environment {
  int32_t id = 0;
  std::string name;
  bool requires_approval = false;
};

task<Environment> find_environment(Transaction& tx, const std::string& name) {
  const Rows rows = co_await tx.query(kFindEnvironment, Params::of(name));
  if (rows.empty()) throw environment_not_found(name);
  co_return Environment{static_cast<int32_t>(rows.integer(0, 0)), name, rows.boolean(0, 1)};
}

// Throws where the environment, or for `production` the model, asks for an approval that the version does not have.
task<> check_approved(Transaction& tx, const VersionKey& key, const std::string& version_id, bool model_requires,
                      const Environment& environment) {
  if (!environment.requires_approval && !(model_requires && same_name(environment.name, "production"))) co_return;
  const Rows approved = co_await tx.query(kIsApprovedFor, Params::of(version_id, environment.name));
  if (approved.empty() || !approved.boolean(0, 0))
    throw Error(ErrorCode::kPermissionDenied, "Version " + key.version + " of model '" + key.name +
                                                  "' has no approval for '" + environment.name +
                                                  "', which is required: request one with POST /api/v1/approvals "
                                                  "and have it approved.");
}

}  // namespace

task<std::string> list_environments(db::Pool& pool) {
  const Rows rows = co_await pool.query(kListEnvironments);
  co_return rows.text(0, 0);
}

task<std::string> create_environment(db::Pool& pool, const Caller& caller, std::string name, bool requires_approval) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows inserted = co_await tx.query(kInsertEnvironment, Params::of(name, requires_approval));
    if (inserted.affected() == 0)
      throw Error(ErrorCode::kResourceAlreadyExists, "Environment '" + name + "' already exists.");
    const Event event{"create", "environment", name};
    const db::Query read{kReadEnvironment, Params::of(name)};
    co_return co_await finish(tx, caller, event, read);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> list_deployments(db::Pool& pool, Listing listing) {
  const Rows rows = co_await pool.query(kListDeployments, Params::of(listing.model, listing.environment, listing.status,
                                                                     listing.before, listing.limit, listing.hidden));
  co_return rows.text(0, 0);
}

task<std::string> read_deployment(db::Pool& pool, int64_t id) {
  const Rows rows = co_await pool.query(kReadDeployment, Params::of(id));
  if (rows.empty()) throw not_found("Deployment " + std::to_string(id) + " not found.");
  co_return rows.text(0, 0);
}

task<std::string> deploy(db::Pool& pool, const Caller& caller, NewDeployment deployment) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const VersionKey& key = deployment.version;
    const Rows locked = co_await tx.query(kLockForDeployment, Params::of(key.name, key.number()));
    if (locked.empty()) throw version_not_found(key);
    const Environment environment = co_await find_environment(tx, deployment.environment);
    const std::string model_id = locked.text(0, 0), version_id = locked.text(0, 1);
    co_await check_approved(tx, key, version_id, locked.boolean(0, 2), environment);
    const Rows ended = co_await tx.query(kEndActive, Params::of(model_id, environment.id, "inactive"));
    std::optional<int64_t> replaced;
    if (!ended.empty()) replaced = ended.integer(0, 0);
    const Rows inserted =
        co_await tx.query(kInsertDeployment, Params::of(version_id, environment.id, deployment.replicas,
                                                        db::Jsonb{deployment.config}, caller.user, replaced));
    const int64_t id = inserted.integer(0, 0);
    const Event event{"deploy",
                      "deployment",
                      std::to_string(id),
                      {{"model", key.name}, {"version", key.version}, {"environment", deployment.environment}}};
    const db::Query read{kReadDeployment, Params::of(id)};
    co_return co_await finish(tx, caller, event, read);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> roll_back(db::Pool& pool, const Caller& caller, std::string model, std::string environment) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows locked = co_await tx.query(kLockModelByName, Params::of(model));
    if (locked.empty()) throw model_not_found(model);
    const Environment target = co_await find_environment(tx, environment);
    const std::string model_id = locked.text(0, 0);
    const Rows active = co_await tx.query(kActiveDeployment, Params::of(model_id, target.id));
    if (active.empty()) throw not_found("Model '" + model + "' is not deployed in '" + environment + "'.");
    if (active.is_null(0, 1))
      throw Error(ErrorCode::kResourceConflict, "The deployment of model '" + model + "' in '" + environment +
                                                    "' replaced none: there is nothing to roll back to.");
    // What was approved when it was deployed may have been rejected since.
    const VersionKey replaced{model, active.text(0, 3)};
    co_await check_approved(tx, replaced, active.text(0, 2), locked.boolean(0, 1), target);
    co_await tx.query(kEndActive, Params::of(model_id, target.id, "rolled_back"));
    const Rows inserted = co_await tx.query(kRepeatDeployment, Params::of(active.integer(0, 1), caller.user));
    const int64_t id = inserted.integer(0, 0);
    const Event event{"roll_back",
                      "deployment",
                      std::to_string(id),
                      {{"model", model},
                       {"environment", environment},
                       {"rolled_back_deployment_id", std::to_string(active.integer(0, 0))}}};
    const db::Query read{kReadDeployment, Params::of(id)};
    co_return co_await finish(tx, caller, event, read);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> list_approvals(db::Pool& pool, Listing listing) {
  const Rows rows = co_await pool.query(
      kListApprovals, Params::of(listing.model, listing.status, listing.before, listing.limit, listing.hidden));
  co_return rows.text(0, 0);
}

task<std::string> request_approval(db::Pool& pool, const Caller& caller, VersionKey version, std::string target,
                                   std::string comment) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows inserted =
        co_await tx.query(kInsertApproval, Params::of(version.name, version.number(), target, caller.user, comment));
    if (inserted.empty()) throw version_not_found(version);
    const int64_t id = inserted.integer(0, 0);
    const Event event{"request",
                      "approval",
                      std::to_string(id),
                      {{"model", version.name}, {"version", version.version}, {"target", target}}};
    const db::Query read{kReadApproval, Params::of(id)};
    co_return co_await finish(tx, caller, event, read);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> decide_approval(db::Pool& pool, const Caller& caller, Decision decision) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const std::string id = std::to_string(decision.approval_id);
    const char* status = decision.approve ? "approved" : "rejected";
    co_await tx.query(kLockModelOfApproval, Params::of(decision.approval_id));
    const Rows decided =
        co_await tx.query(kDecideApproval, Params::of(decision.approval_id, status, caller.user, decision.comment));
    if (decided.affected() == 0) {
      const Rows found = co_await tx.query(kApprovalStatus, Params::of(decision.approval_id));
      if (found.empty()) throw not_found("Approval " + id + " not found.");
      throw Error(ErrorCode::kResourceConflict,
                  "Approval " + id + " is already " + found.text(0, 0) + ": request a new one to decide again.");
    }
    const Event event{decision.approve ? "approve" : "reject", "approval", id, {{"comment", decision.comment}}};
    const db::Query read{kReadApproval, Params::of(decision.approval_id)};
    co_return co_await finish(tx, caller, event, read);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> list_events(db::Pool& pool, Listing listing) {
  const Rows rows = co_await pool.query(
      kListEvents, Params::of(listing.object_type, listing.object_id, listing.actor, listing.before, listing.limit));
  co_return rows.text(0, 0);
}

}  // namespace cairn::registry
