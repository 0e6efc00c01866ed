#include "tracking/logged_models.h"

#include <map>

#include "base/clock.h"
#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/experiments.h"
#include "tracking/logged_model_json.h"
#include "tracking/names.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

constexpr size_t kMaxName = 500;

Error unknown(const std::string& model_id) { return not_found("Logged model with ID '" + model_id + "' not found."); }

std::string captured(const Request& request, std::string_view name) { return request.captures.find(name)->second; }

std::string model_response(const LoggedModels& models) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  writer.key("model");
  write_logged_model(writer, models);
  writer.end_object();
  return out;
}

// The list of keys and values as a JSON object; of a key that is there twice the last value counts.
std::string read_pairs(const json::Fields& fields, const char* name) {
  std::map<std::string, std::string> values;
  for (const json::Fields& pair : fields.objects(name)) {
    values[pair.required_string("key")] = pair.string("value").value_or("");
  }
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  for (const auto& [key, value] : values) writer.field(key, value);
  writer.end_object();
  return text;
}

void check_model_name(const std::string& name) {
  check_length(name, "name", kMaxName);
  const bool blank = name.find_first_not_of(" \t\r\n\v\f") == name.npos;
  if (!blank && name.find_first_of("/:.%\"'") == name.npos) return;
  throw invalid("Invalid model name ('" + name +
                "') provided. Model name must be a non-empty string and cannot contain the following characters: "
                "('/', ':', '.', '%', '\"', \"'\")");
}

struct NewModel {
  int64_t experiment_id = 0;
  std::string name, model_type, source_run_id, params, tags;
};

NewModel read_new_model(const Request& request) {
  const http::Arguments arguments(request);
  NewModel model;
  model.experiment_id = parse_experiment_id(arguments->required_string("experiment_id"));
  model.name = arguments->string("name").value_or("");
  if (model.name.empty()) model.name = random_run_name();
  check_model_name(model.name);
  model.model_type = arguments->string("model_type").value_or("");
  check_length(model.model_type, "model_type", kMaxName);
  model.source_run_id = arguments->string("source_run_id").value_or("");
  check_length(model.source_run_id, "source_run_id", kMaxName);
  model.params = read_pairs(*arguments, "params");
  model.tags = read_pairs(*arguments, "tags");
  return model;
}

// SHARE: the experiment must not be deleted before the model is there.
constexpr db::Statement kExperimentStage{
    "logged_model_experiment", "SELECT lifecycle_stage FROM tracking.experiments WHERE experiment_id = $1 FOR SHARE"};
constexpr db::Statement kCreate{
    "create_logged_model",
    "INSERT INTO tracking.logged_models (model_id, experiment_id, name, artifact_location, model_type, source_run_id, "
    "params, tags, creation_time, last_updated_time) "
    "SELECT $1, e.experiment_id, $3, coalesce(nullif(e.artifact_location, ''), 'mlflow-artifacts:/' || "
    "e.experiment_id) || '/models/' || $1 || '/artifacts', $4, nullif($5, ''), $6, $7, $8, $8 "
    "FROM tracking.experiments e WHERE e.experiment_id = $2"};

task<Response> create(db::Pool& pool, Request& request) {
  const NewModel model = read_new_model(request);
  const std::vector<std::string> ids{"m-" + new_run_id()};
  auto body = [&](db::Transaction& tx) -> task<LoggedModels> {
    const db::Rows stage = co_await tx.query(kExperimentStage, db::Params::of(model.experiment_id));
    const std::string experiment = std::to_string(model.experiment_id);
    if (stage.empty()) throw not_found("No Experiment with id=" + experiment + " exists");
    if (stage.view(0, 0) != "active") {
      throw invalid("The experiment " + experiment + " must be in the 'active' state. Current state is deleted.");
    }
    co_await tx.query(kCreate,
                      db::Params::of(ids[0], model.experiment_id, model.name, model.model_type, model.source_run_id,
                                     db::Jsonb{model.params}, db::Jsonb{model.tags}, now_ms()));
    co_return co_await load_logged_models(tx, ids);
  };
  const LoggedModels made = co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response(model_response(made));
}

constexpr db::Statement kIsActive{"logged_model_is_active",
                                  "SELECT lifecycle_stage = 'active' FROM tracking.logged_models WHERE model_id = $1"};

task<Response> get(db::Pool& pool, Request& request) {
  const std::vector<std::string> ids{captured(request, "model_id")};
  auto body = [&](db::Transaction& tx) -> task<LoggedModels> {
    const db::Rows active = co_await tx.query(kIsActive, db::Params::of(ids[0]));
    if (active.empty() || !active.boolean(0, 0)) throw unknown(ids[0]);
    co_return co_await load_logged_models(tx, ids);
  };
  const LoggedModels found = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  co_return http::json_response(model_response(found));
}

// As stored. Names are MLflow's, with or without their prefix; numbers are the enum's.
std::string read_status(const json::Fields& fields) {
  const std::string raw = fields.raw("status").value_or("");
  if (raw.empty()) fields.required_string("status");
  if (raw == "1" || raw == "\"LOGGED_MODEL_PENDING\"" || raw == "\"PENDING\"") return "PENDING";
  if (raw == "2" || raw == "\"LOGGED_MODEL_READY\"" || raw == "\"READY\"") return "READY";
  if (raw == "3" || raw == "\"LOGGED_MODEL_UPLOAD_FAILED\"" || raw == "\"FAILED\"") return "FAILED";
  throw invalid("Invalid value " + raw +
                " for parameter 'status' supplied: it is one of LOGGED_MODEL_PENDING, LOGGED_MODEL_READY, "
                "LOGGED_MODEL_UPLOAD_FAILED.");
}

constexpr db::Statement kFinalize{"finalize_logged_model",
                                  "UPDATE tracking.logged_models SET status = $2, last_updated_time = $3 "
                                  "WHERE model_id = $1"};

task<Response> finalize(db::Pool& pool, Request& request) {
  const std::vector<std::string> ids{captured(request, "model_id")};
  const std::string status = read_status(*http::Arguments(request));
  auto body = [&](db::Transaction& tx) -> task<LoggedModels> {
    const db::Rows changed = co_await tx.query(kFinalize, db::Params::of(ids[0], status, now_ms()));
    if (changed.affected() == 0) throw unknown(ids[0]);
    co_return co_await load_logged_models(tx, ids);
  };
  const LoggedModels found = co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response(model_response(found));
}

constexpr db::Statement kDelete{"delete_logged_model",
                                "UPDATE tracking.logged_models SET lifecycle_stage = 'deleted', last_updated_time = "
                                "CASE WHEN lifecycle_stage = 'deleted' THEN last_updated_time ELSE $2 END "
                                "WHERE model_id = $1"};

task<Response> remove(db::Pool& pool, Request& request) {
  const std::string model_id = captured(request, "model_id");
  const db::Rows changed = co_await pool.query(kDelete, db::Params::of(model_id, now_ms()));
  if (changed.affected() == 0) throw unknown(model_id);
  co_return http::json_response("{}");
}

// With the first of the new params that would change one.
constexpr db::Statement kLockParams{
    "lock_logged_model_params",
    "SELECT n.key, m.params ->> n.key FROM tracking.logged_models m LEFT JOIN LATERAL "
    "(SELECT key FROM jsonb_each_text($2) AS p (key, value) WHERE m.params ->> key <> value ORDER BY key LIMIT 1) n "
    "ON TRUE WHERE m.model_id = $1 FOR NO KEY UPDATE OF m"};
constexpr db::Statement kAddParams{"add_logged_model_params",
                                   "UPDATE tracking.logged_models SET params = params || $2 WHERE model_id = $1"};

task<Response> log_params(db::Pool& pool, Request& request) {
  const std::string model_id = captured(request, "model_id");
  const std::string params = read_pairs(*http::Arguments(request), "params");
  auto body = [&](db::Transaction& tx) -> task<> {
    const db::Rows rows = co_await tx.query(kLockParams, db::Params::of(model_id, db::Jsonb{params}));
    if (rows.empty()) throw unknown(model_id);
    if (!rows.is_null(0, 0)) {
      throw invalid("Changing param values is not allowed. Param with key='" + rows.text(0, 0) +
                    "' was already logged with value='" + rows.text(0, 1) + "' for the logged model '" + model_id +
                    "'.");
    }
    co_await tx.query(kAddParams, db::Params::of(model_id, db::Jsonb{params}));
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response("{}");
}

constexpr db::Statement kSetTags{"set_logged_model_tags",
                                 "UPDATE tracking.logged_models SET tags = tags || $2 WHERE model_id = $1"};

task<Response> set_tags(db::Pool& pool, Request& request) {
  const std::string model_id = captured(request, "model_id");
  const std::string tags = read_pairs(*http::Arguments(request), "tags");
  const db::Rows changed = co_await pool.query(kSetTags, db::Params::of(model_id, db::Jsonb{tags}));
  if (changed.affected() == 0) throw unknown(model_id);
  co_return http::json_response("{}");
}

constexpr db::Statement kDeleteTag{
    "delete_logged_model_tag", "UPDATE tracking.logged_models SET tags = tags - $2 WHERE model_id = $1 AND tags ? $2"};

task<Response> delete_tag(db::Pool& pool, Request& request) {
  const std::string model_id = captured(request, "model_id");
  const std::string key = captured(request, "key");
  auto body = [&](db::Transaction& tx) -> task<> {
    const db::Rows changed = co_await tx.query(kDeleteTag, db::Params::of(model_id, key));
    if (changed.affected() > 0) co_return;
    const db::Rows model = co_await tx.query(kIsActive, db::Params::of(model_id));
    if (model.empty()) throw unknown(model_id);
    throw not_found("No tag with key '" + key + "' found for model with ID '" + model_id + "'.");
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response("{}");
}

}  // namespace

void register_logged_model_routes(http::Router& router, db::Pool& pool) {
  const auto add = [&](const char* method, const char* path, task<Response> (*handler)(db::Pool&, Request&)) {
    http::add_mlflow_route(router, method, std::string("/mlflow/logged-models") + path,
                           [&pool, handler](Request& request) { return handler(pool, request); });
  };
  add("POST", "", create);
  add("GET", "/{model_id}", get);
  add("PATCH", "/{model_id}", finalize);
  add("DELETE", "/{model_id}", remove);
  add("POST", "/{model_id}/params", log_params);
  add("PATCH", "/{model_id}/tags", set_tags);
  add("DELETE", "/{model_id}/tags/{key}", delete_tag);
}

}  // namespace cairn::tracking
