#include "tracking/experiments.h"

#include <charconv>
#include <map>

#include "base/clock.h"
#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/names.h"
#include "tracking/run_json.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

constexpr db::Statement kCreate{
    "create_experiment",
    "INSERT INTO tracking.experiments (experiment_id, name, artifact_location, tags, creation_time, last_update_time) "
    "SELECT id, $1, coalesce(nullif($2, ''), 'mlflow-artifacts:/' || id), $3, $4, $4 "
    "FROM nextval(pg_get_serial_sequence('tracking.experiments', 'experiment_id')) AS id RETURNING experiment_id"};
constexpr db::Statement kGet{
    "get_experiment", "SELECT " CAIRN_EXPERIMENT_COLUMNS " FROM tracking.experiments e WHERE experiment_id = $1"};
constexpr db::Statement kGetByName{"get_experiment_by_name",
                                   "SELECT " CAIRN_EXPERIMENT_COLUMNS " FROM tracking.experiments e WHERE name = $1"};
constexpr db::Statement kLock{
    "lock_experiment",
    "SELECT lifecycle_stage, tags ? $2 FROM tracking.experiments WHERE experiment_id = $1 FOR NO KEY UPDATE"};
constexpr db::Statement kSetStage{
    "set_experiment_stage",
    "UPDATE tracking.experiments SET lifecycle_stage = $2, last_update_time = $3 WHERE experiment_id = $1"};
constexpr db::Statement kSetRunStages{
    "set_stage_of_runs",
    "UPDATE tracking.training_runs t SET lifecycle_stage = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN now() END "
    "FROM (SELECT id FROM tracking.training_runs WHERE experiment_id = $1 AND lifecycle_stage <> $2 "
    "      ORDER BY id FOR NO KEY UPDATE) r WHERE t.id = r.id"};
constexpr db::Statement kRename{
    "rename_experiment", "UPDATE tracking.experiments SET name = $2, last_update_time = $3 WHERE experiment_id = $1"};
// Tags leave the experiment's time as it is, as in MLflow.
constexpr db::Statement kSetTag{"set_experiment_tag",
                                "UPDATE tracking.experiments SET tags = tags || jsonb_build_object($2::text, $3::text) "
                                "WHERE experiment_id = $1"};
constexpr db::Statement kDeleteTag{"delete_experiment_tag",
                                   "UPDATE tracking.experiments SET tags = tags - $2 WHERE experiment_id = $1"};

Error unknown(const std::string& id) { return not_found("No Experiment with id=" + id + " exists"); }

Response experiment_response(const db::Rows& rows) {
  Response response;
  json::Writer writer(response.body);
  writer.begin_object();
  writer.key("experiment");
  write_experiment(writer, rows, 0);
  writer.end_object();
  return response;
}

task<Response> create(db::Pool& pool, Request& request) {
  std::string name;
  std::string location;
  std::string tags;
  {
    const http::Arguments arguments(request);
    name = arguments->required_string("name");
    check_length(name, "name", kMaxExperimentNameLength);
    location = arguments->string("artifact_location").value_or("");
    if (location.find('#') != std::string::npos || location.find(';') != std::string::npos) {
      throw invalid("'artifact_location' URL can't include fragments or params.");
    }
    std::map<std::string, std::string> values;
    for (const json::Fields& tag : arguments->objects("tags")) {
      const std::string key = tag.string("key").value_or("");
      check_key(key);
      std::string value = tag.string("value").value_or("");
      check_length(value, "value", kMaxExperimentTagLength);
      values[key] = std::move(value);
    }
    json::Writer writer(tags);
    writer.begin_object();
    for (const auto& [key, value] : values) writer.field(key, value);
    writer.end_object();
  }
  try {
    const db::Rows rows = co_await pool.query(kCreate, db::Params::of(name, location, db::Jsonb{tags}, now_ms()));
    co_return http::json_response(R"({"experiment_id":")" + std::to_string(rows.integer(0, 0)) + R"("})");
  } catch (const db::DbError& error) {
    if (!error.is_unique_violation()) throw;
  }
  throw Error(ErrorCode::kResourceAlreadyExists, "Experiment(name=" + name +
                                                     ") already exists. A deleted experiment keeps its name until it "
                                                     "is removed for good.");
}

task<Response> get(db::Pool& pool, Request& request) {
  const std::string id = http::Arguments(request)->required_string("experiment_id");
  const db::Rows rows = co_await pool.query(kGet, db::Params::of(parse_experiment_id(id)));
  if (rows.empty()) throw unknown(id);
  co_return experiment_response(rows);
}

task<Response> get_by_name(db::Pool& pool, Request& request) {
  const std::string name = http::Arguments(request)->required_string("experiment_name");
  const db::Rows rows = co_await pool.query(kGetByName, db::Params::of(name));
  if (rows.empty()) throw not_found("Could not find experiment with name '" + name + "'");
  co_return experiment_response(rows);
}

// Deletes an active experiment with its runs, or restores a deleted one.
task<Response> set_stage(db::Pool& pool, Request& request, std::string_view from, std::string_view to) {
  const std::string text = http::Arguments(request)->required_string("experiment_id");
  const int64_t id = parse_experiment_id(text);
  auto body = [&](db::Transaction& tx) -> task<> {
    const db::Rows rows = co_await tx.query(kLock, db::Params::of(id, ""));
    if (rows.empty() || rows.view(0, 0) != from) throw unknown(text);
    std::vector<db::Query> last;
    last.push_back({kSetStage, db::Params::of(id, to, now_ms())});
    last.push_back({kSetRunStages, db::Params::of(id, to)});
    co_await tx.run_and_commit(std::move(last));
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response("{}");
}

// Locks the experiment, asks that it is active, runs one statement.
task<> change_active(db::Pool& pool, const std::string& id, db::Query change, std::string_view must_have_tag = "") {
  auto body = [&](db::Transaction& tx) -> task<> {
    const db::Rows rows = co_await tx.query(kLock, db::Params::of(parse_experiment_id(id), must_have_tag));
    if (rows.empty()) throw unknown(id);
    if (rows.view(0, 0) != "active") {
      throw invalid("The experiment " + id + " must be in the 'active' state. Current state is deleted.");
    }
    if (!must_have_tag.empty() && !rows.boolean(0, 1)) {
      throw not_found("No tag with name: " + std::string(must_have_tag) + " in experiment with id " + id);
    }
    std::vector<db::Query> last;
    last.push_back(change);
    co_await tx.run_and_commit(std::move(last));
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
}

task<Response> update(db::Pool& pool, Request& request) {
  std::string id;
  std::string name;
  {
    const http::Arguments arguments(request);
    id = arguments->required_string("experiment_id");
    name = arguments->required_string("new_name");
    check_length(name, "name", kMaxExperimentNameLength);
  }
  db::Query rename{kRename, db::Params::of(parse_experiment_id(id), name, now_ms())};
  try {
    co_await change_active(pool, id, rename);
    co_return http::json_response("{}");
  } catch (const db::DbError& error) {
    if (!error.is_unique_violation()) throw;
  }
  throw Error(ErrorCode::kResourceAlreadyExists, "Experiment(name=" + name + ") already exists.");
}

task<Response> set_tag(db::Pool& pool, Request& request) {
  std::string id, key, value;
  {
    const http::Arguments arguments(request);
    id = arguments->required_string("experiment_id");
    key = arguments->required_string("key");
    check_key(key);
    value = arguments->string("value").value_or("");
    check_length(value, "value", kMaxExperimentTagLength);
  }
  db::Query change{kSetTag, db::Params::of(parse_experiment_id(id), key, value)};
  co_await change_active(pool, id, change);
  co_return http::json_response("{}");
}

task<Response> delete_tag(db::Pool& pool, Request& request) {
  std::string id, key;
  {
    const http::Arguments arguments(request);
    id = arguments->required_string("experiment_id");
    key = arguments->required_string("key");
  }
  db::Query change{kDeleteTag, db::Params::of(parse_experiment_id(id), key)};
  co_await change_active(pool, id, change, key);
  co_return http::json_response("{}");
}

}  // namespace

int64_t parse_experiment_id(const std::string& text) {
  int64_t id = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (ec == std::errc::invalid_argument || end != text.data() + text.size()) {
    throw invalid("Invalid experiment ID '" + text + "'. Experiment ID must be a valid integer.");
  }
  return ec == std::errc() ? id : -1;
}

void write_experiment(json::Writer& writer, const db::Rows& rows, int row) {
  writer.begin_object();
  writer.field("experiment_id", std::to_string(rows.integer(row, 0)));
  writer.field("name", rows.view(row, 1));
  writer.field("artifact_location", rows.view(row, 2));
  writer.field("lifecycle_stage", rows.view(row, 3));
  writer.field("last_update_time", rows.integer(row, 5));
  writer.field("creation_time", rows.integer(row, 4));
  write_pairs(writer, "tags", json_members(rows.view(row, 6)));
  writer.field("workspace", "default");
  writer.end_object();
}

void register_experiment_routes(http::Router& router, db::Pool& pool) {
  const auto route = [&](const char* method, const char* path, task<Response> (*handler)(db::Pool&, Request&)) {
    http::add_mlflow_route(router, method, std::string("/mlflow/experiments/") + path,
                           [&pool, handler](Request& request) { return handler(pool, request); });
  };
  route("POST", "create", create);
  route("GET", "get", get);
  route("GET", "get-by-name", get_by_name);
  route("POST", "update", update);
  route("POST", "set-experiment-tag", set_tag);
  route("POST", "delete-experiment-tag", delete_tag);
  route("POST", "delete", [](db::Pool& p, Request& r) { return set_stage(p, r, "active", "deleted"); });
  route("POST", "restore", [](db::Pool& p, Request& r) { return set_stage(p, r, "deleted", "active"); });
}

}  // namespace cairn::tracking
