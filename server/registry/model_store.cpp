#include <map>

#include "base/json.h"
#include "registry/documents.h"
#include "registry/store.h"

namespace cairn::registry {

using db::Isolation;
using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

Error model_not_found(const std::string& name) {
  return not_found("Registered Model with name=" + name + " not found");
}

constexpr Statement kInsertEvent{
    "insert_event",
    "INSERT INTO audit.events (actor, action, object_type, object_id, details, request_id) "
    "VALUES ($1, $2, $3, $4, $5, nullif($6, ''))"};

db::Query audit_query(const Caller& caller, const Event& event) {
  std::string details;
  json::Writer writer(details);
  writer.begin_object();
  for (const auto& [name, value] : event.details) writer.field(name, value);
  writer.end_object();
  return {kInsertEvent, Params::of(caller.user, event.action, event.object_type, event.object_id, db::Jsonb{details},
                                   caller.request_id)};
}

// The last of several values of a key wins.
std::string tags_document(const std::vector<Tag>& tags) {
  std::map<std::string, std::string> last;
  for (const Tag& tag : tags) last[tag.key] = tag.value;
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  for (const auto& [key, value] : last) writer.field(key, value);
  writer.end_object();
  return out;
}

namespace {

constexpr Statement kReadModel{"read_model",
                               "SELECT " CAIRN_MODEL_JSON " FROM registry.models m WHERE m.model_name = $1"};

Error model_exists(const std::string& name) {
  return Error(ErrorCode::kResourceAlreadyExists, "Registered Model (name=" + name + ") already exists.");
}

// Runs a change that touches one row, or none where the model is not there; then the audit row; then reads the model.
task<std::string> change_model(db::Pool& pool, const Caller& caller, const db::Query& change, const Event& event,
                               const std::string& name) {
  auto body = [&](Transaction& tx) -> task<std::string> {
    const Rows changed = co_await tx.query(change.statement, change.params);
    if (changed.affected() == 0) throw model_not_found(event.object_id);
    std::vector<db::Query> rest;
    rest.push_back(audit_query(caller, event));
    rest.push_back({kReadModel, Params::of(name)});
    const std::vector<Rows> results = co_await tx.run_and_commit(std::move(rest));
    co_return results[1].empty() ? std::string() : results[1].text(0, 0);
  };
  co_return co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

}  // namespace

constexpr Statement kInsertModel{"insert_model",
                                 "INSERT INTO registry.models (model_name, description, tags) VALUES ($1, $2, $3)"};

task<std::string> create_model(db::Pool& pool, const Caller& caller, std::string name, std::string description,
                               std::vector<Tag> tags) {
  const std::string document = tags_document(tags);
  const db::Query change{kInsertModel, Params::of(name, description, db::Jsonb{document})};
  const Event event{"create", "model", name};
  try {
    co_return co_await change_model(pool, caller, change, event, name);
  } catch (const db::DbError& error) {
    if (error.is_unique_violation()) throw model_exists(name);
    throw;
  }
}

task<std::string> read_model(db::Pool& pool, std::string name) {
  const Rows rows = co_await pool.query(kReadModel, Params::of(name));
  if (rows.empty()) throw model_not_found(name);
  co_return rows.text(0, 0);
}

constexpr Statement kUpdateModel{"update_model",
                                 "UPDATE registry.models SET description = $2, last_updated_time = " CAIRN_NOW_MS
                                 " WHERE model_name = $1"};

task<std::string> update_model(db::Pool& pool, const Caller& caller, std::string name, std::string description) {
  const db::Query change{kUpdateModel, Params::of(name, description)};
  const Event event{"update", "model", name, {{"description", description}}};
  co_return co_await change_model(pool, caller, change, event, name);
}

// Its versions have another name from then on, and the time of that.
constexpr Statement kRenameModel{
    "rename_model", "WITH renamed AS (UPDATE registry.models SET model_name = $2, last_updated_time = " CAIRN_NOW_MS
                    " WHERE model_name = $1 RETURNING model_id, last_updated_time), versions AS ("
                    "UPDATE registry.model_versions v SET last_updated_time = r.last_updated_time FROM renamed r "
                    "WHERE v.model_id = r.model_id) SELECT FROM renamed"};

task<std::string> rename_model(db::Pool& pool, const Caller& caller, std::string name, std::string new_name) {
  const db::Query change{kRenameModel, Params::of(name, new_name)};
  const Event event{"rename", "model", name, {{"new_name", new_name}}};
  try {
    co_return co_await change_model(pool, caller, change, event, new_name);
  } catch (const db::DbError& error) {
    if (error.is_unique_violation()) throw model_exists(new_name);
    throw;
  }
}

constexpr Statement kRequireApproval{
    "require_approval",
    "UPDATE registry.models SET requires_approval = $2, last_updated_time = " CAIRN_NOW_MS " WHERE model_name = $1"};

task<std::string> require_approval(db::Pool& pool, const Caller& caller, std::string name, bool required) {
  const db::Query change{kRequireApproval, Params::of(name, required)};
  const Event event{"require_approval", "model", name, {{"requires_approval", required ? "true" : "false"}}};
  std::string model = co_await change_model(pool, caller, change, event, name);
  // MLflow's document of a model has no such field, so the statement that reads it has none.
  model.insert(model.size() - 1, required ? ",\"requires_approval\":true" : ",\"requires_approval\":false");
  co_return model;
}

constexpr Statement kDeleteModel{"delete_model", "DELETE FROM registry.models WHERE model_name = $1"};

task<> delete_model(db::Pool& pool, const Caller& caller, std::string name) {
  const db::Query change{kDeleteModel, Params::of(name)};
  const Event event{"delete", "model", name};
  co_await change_model(pool, caller, change, event, name);
}

// Tags and aliases leave the model's time as it is, as in MLflow.
constexpr Statement kSetModelTag{"set_model_tag",
                                 "UPDATE registry.models SET tags = CASE WHEN $3::text IS NULL THEN tags - $2 ELSE "
                                 "tags || jsonb_build_object($2, $3::text) END "
                                 "WHERE model_name = $1"};

task<> set_model_tag(db::Pool& pool, const Caller& caller, std::string name, std::string key,
                     std::optional<std::string> value) {
  const db::Query change{kSetModelTag, Params::of(name, key, value)};
  Event event{value ? "set_tag" : "delete_tag", "model", name, {{"key", key}}};
  if (value) event.details.emplace_back("value", *value);
  co_await change_model(pool, caller, change, event, name);
}

constexpr Statement kLatestVersions{
    "latest_versions", "SELECT " CAIRN_LATEST_JSON(
                           "AND (cardinality($2::text[]) = 0 OR s.current_stage = ANY ($2))") " FROM registry.models m "
                       "WHERE m.model_name = $1"};

task<std::string> latest_versions(db::Pool& pool, std::string name, std::vector<std::string> stages) {
  const Rows rows = co_await pool.query(kLatestVersions, Params::of(name, stages));
  if (rows.empty()) throw model_not_found(name);
  co_return rows.optional_text(0, 0).value_or("");
}

constexpr Statement kLockModel{"lock_model",
                               "SELECT model_id FROM registry.models WHERE model_name = $1 FOR NO KEY UPDATE"};
constexpr Statement kSetAlias{
    "set_alias",
    "INSERT INTO registry.model_aliases (model_id, alias, version) "
    "SELECT v.model_id, $3, v.version FROM registry.models m JOIN registry.model_versions v USING (model_id) "
    "WHERE m.model_name = $1 AND v.version = $2 ON CONFLICT (model_id, alias) DO UPDATE SET version = "
    "EXCLUDED.version"};

task<> set_alias(db::Pool& pool, const Caller& caller, VersionKey key, std::string alias) {
  auto body = [&](Transaction& tx) -> task<> {
    std::vector<db::Query> change;
    change.push_back({kLockModel, Params::of(key.name)});
    change.push_back({kSetAlias, Params::of(key.name, key.number(), alias)});
    const std::vector<Rows> set = co_await tx.run(std::move(change));
    if (set[1].affected() == 0) throw version_not_found(key);
    const Event event{"set_alias", "model", key.name, {{"alias", alias}, {"version", key.version}}};
    std::vector<db::Query> rest;
    rest.push_back(audit_query(caller, event));
    co_await tx.run_and_commit(std::move(rest));
  };
  co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

constexpr Statement kDeleteAlias{"delete_alias",
                                 "DELETE FROM registry.model_aliases a USING registry.models m "
                                 "WHERE m.model_id = a.model_id AND m.model_name = $1 AND a.alias = $2"};

task<> delete_alias(db::Pool& pool, const Caller& caller, std::string name, std::string alias) {
  auto body = [&](Transaction& tx) -> task<> {
    const Rows locked = co_await tx.query(kLockModel, Params::of(name));
    if (locked.empty()) throw model_not_found(name);
    const Event event{"delete_alias", "model", name, {{"alias", alias}}};
    std::vector<db::Query> rest;
    rest.push_back({kDeleteAlias, Params::of(name, alias)});
    rest.push_back(audit_query(caller, event));
    co_await tx.run_and_commit(std::move(rest));
  };
  co_await db::with_transaction(pool, Isolation::kReadCommitted, body);
}

// `latest`, which no alias may be, is the newest version.
constexpr Statement kVersionByAlias{
    "version_by_alias",
    "SELECT (SELECT " CAIRN_VERSION_JSON
    " FROM registry.model_versions v WHERE v.model_id = m.model_id AND v.version = CASE lower($2) WHEN 'latest' "
    "THEN (SELECT max(n.version) FROM registry.model_versions n WHERE n.model_id = m.model_id) "
    "ELSE (SELECT n.version FROM registry.model_aliases n WHERE n.model_id = m.model_id AND n.alias = $2) END) "
    "FROM registry.models m WHERE m.model_name = $1"};

task<std::string> version_by_alias(db::Pool& pool, std::string name, std::string alias) {
  const Rows rows = co_await pool.query(kVersionByAlias, Params::of(name, alias));
  if (rows.empty()) throw model_not_found(name);
  if (rows.is_null(0, 0)) throw invalid("Registered model alias " + alias + " not found.");
  co_return rows.text(0, 0);
}

}  // namespace cairn::registry
