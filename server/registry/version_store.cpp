#include <charconv>

#include "registry/documents.h"
#include "registry/source.h"
#include "registry/store.h"

namespace cairn::registry {

using db::Isolation;
using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

int32_t VersionKey::number() const {
  int32_t number = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
  return error == std::errc() && end == version.data() + version.size() ? number : 0;
}

Error version_not_found(const VersionKey& key) {
  return not_found("Model Version (name=" + key.name + ", version=" + key.version + ") not found");
}

namespace {

#define CAIRN_THE_VERSION \
  " FROM registry.models m JOIN registry.model_versions v USING (model_id) WHERE m.model_name = $1 AND v.version = $2"

constexpr Statement kReadVersion{"read_version", "SELECT " CAIRN_VERSION_JSON CAIRN_THE_VERSION};
// Locks the model, so that changes of one model's versions come one after another.
constexpr Statement kLockVersion{"lock_version",
                                 "SELECT v.version_id, v.current_stage, m.requires_approval" CAIRN_THE_VERSION
                                 " FOR NO KEY UPDATE OF m"};

// A model stands where its foremost version stands.
constexpr Statement kSetModelStatus{
    "set_model_status", "UPDATE registry.models m SET last_updated_time = " CAIRN_NOW_MS
                        ", status = coalesce((SELECT min(lower(v.current_stage)) FROM registry.model_versions v "
                        "WHERE v.model_id = m.model_id AND v.current_stage IN ('Production', 'Staging')), 'draft') "
                        "WHERE m.model_name = $1"};

std::string event_id(const VersionKey& key) { return key.name + "/" + key.version; }

// Runs `change`, whose first two parameters are the version's name and number, and if given `on_model`, whose one is
// the model's name, between the lock and the audit row.
task<std::string> change_version(db::Pool& pool, const Caller& caller, const VersionKey& key, const db::Query& change,
                                 const Event& event, const Statement* on_model = nullptr) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows locked = co_await tx.query(kLockVersion, Params::of(key.name, key.number()));
    if (locked.empty()) throw version_not_found(key);
    std::vector<db::Query> rest;
    rest.push_back(change);
    if (on_model != nullptr) rest.push_back({*on_model, Params::of(key.name)});
    rest.push_back(audit_query(caller, event));
    rest.push_back({kReadVersion, Params::of(key.name, key.number())});
    const std::vector<Rows> results = co_await tx.run_and_commit(std::move(rest));
    co_return results.back().empty() ? std::string() : results.back().text(0, 0);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

bool is_prompt(const std::vector<Tag>& tags) {
  for (const Tag& tag : tags)
    if (tag.key == "mlflow.prompt.is_prompt") return true;
  return false;
}

}  // namespace

// The row's lock is held until the version is committed, so that numbers have no gap and no double.
constexpr Statement kNextVersion{
    "next_version", "UPDATE registry.models m SET last_updated_time = " CAIRN_NOW_MS
                    ", last_version = 1 + greatest(last_version, "
                    "(SELECT max(v.version) FROM registry.model_versions v WHERE v.model_id = m.model_id)) "
                    "WHERE model_name = $1 RETURNING last_version, is_prompt"};
// The trigger model_versions_run writes model_name and version_id of the run.
constexpr Statement kInsertVersion{
    "insert_version",
    "INSERT INTO registry.model_versions (model_id, version, semver, source, storage_location, run_id, run_link, "
    "description, logged_model_id, tags, user_id) SELECT model_id, $2::int, $2::text || '.0.0', $3, $4, nullif($5, "
    "''), "
    "$6, $7, nullif($8, ''), $9, $10 FROM registry.models WHERE model_name = $1"};

// MLflow keeps the versions of a logged model in a tag of it, as a JSON list. What is no such list is replaced.
constexpr Statement kTagLoggedModel{
    "tag_logged_model",
    "UPDATE tracking.logged_models SET tags = tags || jsonb_build_object('mlflow.modelVersions', "
    "CASE WHEN tags ->> 'mlflow.modelVersions' LIKE '[{%}]' THEN left(tags ->> 'mlflow.modelVersions', -1) || ', ' "
    "ELSE '[' END || '{\"name\": ' || to_jsonb($2::text)::text || ', \"version\": ' || $3::int || '}]') "
    "WHERE model_id = $1"};

task<std::string> create_version(db::Pool& pool, const Caller& caller, NewVersion version) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows next = co_await tx.query(kNextVersion, Params::of(version.name));
    if (next.empty()) throw model_not_found(version.name);
    ResolvedSource resolved{version.source, ""};
    if (!next.boolean(0, 1) && !is_prompt(version.tags)) resolved = co_await resolve_source(tx, version);
    if (!version.run_id.empty()) resolved.run_id = version.run_id;
    const auto number = static_cast<int32_t>(next.integer(0, 0));
    const VersionKey key{version.name, std::to_string(number)};
    const std::string tags = tags_document(version.tags);
    const Event event{
        "create", "model_version", event_id(key), {{"source", version.source}, {"run_id", resolved.run_id}}};
    std::vector<db::Query> rest;
    rest.push_back({kInsertVersion, Params::of(version.name, number, version.source, resolved.storage_location,
                                               resolved.run_id, version.run_link, version.description,
                                               version.logged_model_id, db::Jsonb{tags}, caller.user)});
    if (!version.logged_model_id.empty())
      rest.push_back({kTagLoggedModel, Params::of(version.logged_model_id, version.name, number)});
    rest.push_back(audit_query(caller, event));
    rest.push_back({kReadVersion, Params::of(version.name, number)});
    const std::vector<Rows> results = co_await tx.run_and_commit(std::move(rest));
    co_return results.back().text(0, 0);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

task<std::string> read_version(db::Pool& pool, VersionKey key) {
  const Rows rows = co_await pool.query(kReadVersion, Params::of(key.name, key.number()));
  if (rows.empty()) throw version_not_found(key);
  co_return rows.text(0, 0);
}

constexpr Statement kDownloadUri{"download_uri",
                                 "SELECT coalesce(nullif(v.storage_location, ''), v.source)" CAIRN_THE_VERSION};

task<std::string> download_uri(db::Pool& pool, VersionKey key) {
  const Rows rows = co_await pool.query(kDownloadUri, Params::of(key.name, key.number()));
  if (rows.empty()) throw version_not_found(key);
  co_return rows.text(0, 0);
}

#define CAIRN_SET_OF_VERSION(assignments)             \
  "UPDATE registry.model_versions v SET " assignments \
  " FROM registry.models m WHERE m.model_id = v.model_id AND m.model_name = $1 AND v.version = $2"
#define CAIRN_UPDATE_VERSION(assignments) CAIRN_SET_OF_VERSION("last_updated_time = " CAIRN_NOW_MS ", " assignments)

constexpr Statement kUpdateVersion{"update_version", CAIRN_UPDATE_VERSION("description = $3")};

task<std::string> update_version(db::Pool& pool, const Caller& caller, VersionKey key, std::string description) {
  const db::Query change{kUpdateVersion, Params::of(key.name, key.number(), description)};
  const Event event{"update", "model_version", event_id(key), {{"description", description}}};
  co_return co_await change_version(pool, caller, key, change, event);
}

// A tag leaves the times of version and model as they are, as in MLflow: searches begin with the version that was
// updated last.
constexpr Statement kSetVersionTag{"set_version_tag",
                                   CAIRN_SET_OF_VERSION("tags = CASE WHEN $4::text IS NULL THEN v.tags - $3 "
                                                        "ELSE v.tags || jsonb_build_object($3, $4::text) END")};

task<> set_version_tag(db::Pool& pool, const Caller& caller, VersionKey key, std::string tag,
                       std::optional<std::string> value) {
  const db::Query change{kSetVersionTag, Params::of(key.name, key.number(), tag, value)};
  Event event{value ? "set_tag" : "delete_tag", "model_version", event_id(key), {{"key", tag}}};
  if (value) event.details.emplace_back("value", *value);
  co_await change_version(pool, caller, key, change, event);
}

constexpr Statement kDeleteVersion{"delete_version",
                                   "DELETE FROM registry.model_versions v USING registry.models m "
                                   "WHERE m.model_id = v.model_id AND m.model_name = $1 AND v.version = $2"};

task<> delete_version(db::Pool& pool, const Caller& caller, VersionKey key) {
  const db::Query change{kDeleteVersion, Params::of(key.name, key.number())};
  const Event event{"delete", "model_version", event_id(key)};
  co_await change_version(pool, caller, key, change, event, &kSetModelStatus);
}

// The newest request decides: a rejection after an approval takes it back.
constexpr Statement kIsApproved{"version_is_approved",
                                "SELECT status = 'approved' FROM registry.approvals WHERE version_id = $1::text::uuid "
                                "AND lower(target) = 'production' ORDER BY approval_id DESC LIMIT 1"};
constexpr Statement kSetStage{"set_stage", CAIRN_UPDATE_VERSION("current_stage = $3")};
constexpr Statement kArchiveOthers{
    "archive_others",
    "UPDATE registry.model_versions v SET current_stage = 'Archived', last_updated_time = " CAIRN_NOW_MS
    " FROM registry.models m WHERE m.model_id = v.model_id AND m.model_name = $1 AND v.version <> $2 "
    "AND v.current_stage = $3"};

task<std::string> transition_version(db::Pool& pool, const Caller& caller, VersionKey key, Transition transition) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows locked = co_await tx.query(kLockVersion, Params::of(key.name, key.number()));
    if (locked.empty()) throw version_not_found(key);
    const std::string from = locked.text(0, 1);
    if (transition.stage == "Production" && from != "Production" && locked.boolean(0, 2)) {
      const Rows approved = co_await tx.query(kIsApproved, Params::of(locked.text(0, 0)));
      if (approved.empty() || !approved.boolean(0, 0))
        throw Error(ErrorCode::kPermissionDenied, "Version " + key.version + " of model '" + key.name +
                                                      "' has no approval for Production, which this model requires: "
                                                      "request one with POST /api/v1/approvals and have it approved.");
    }
    const Event event{"transition", "model_version", event_id(key), {{"from", from}, {"to", transition.stage}}};
    std::vector<db::Query> rest;
    rest.push_back({kSetStage, Params::of(key.name, key.number(), transition.stage)});
    if (transition.archive_others)
      rest.push_back({kArchiveOthers, Params::of(key.name, key.number(), transition.stage)});
    rest.push_back({kSetModelStatus, Params::of(key.name)});
    rest.push_back(audit_query(caller, event));
    rest.push_back({kReadVersion, Params::of(key.name, key.number())});
    const std::vector<Rows> results = co_await tx.run_and_commit(std::move(rest));
    co_return results.back().text(0, 0);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

}  // namespace cairn::registry
