#include "tracking/runs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/experiments.h"
#include "tracking/graphql.h"
#include "tracking/names.h"
#include "tracking/run_json.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

constexpr size_t kMaxBatchMetrics = 1000;
constexpr size_t kMaxBatchParams = 100;
constexpr size_t kMaxBatchTags = 100;
constexpr size_t kMaxBatchEntities = 1000;
constexpr std::string_view kRunNameTag = "mlflow.runName";

constexpr db::Statement kFindRun{"find_run", "SELECT id FROM tracking.training_runs WHERE run_id = $1"};
constexpr db::Statement kLockRun{
    "lock_run",
    "SELECT id, lifecycle_stage, experiment_id FROM tracking.training_runs WHERE run_id = $1 FOR NO KEY UPDATE"};
constexpr db::Statement kUpdateRun{
    "update_run",
    "UPDATE tracking.training_runs SET status = coalesce($2, status), end_time = coalesce($3, end_time), "
    "run_name = coalesce($4, run_name) WHERE id = $1"};
constexpr db::Statement kSetNameTag{
    "set_run_name_tag",
    "WITH k AS (INSERT INTO tracking.keys (name) VALUES ('mlflow.runName') ON CONFLICT DO NOTHING RETURNING key_id) "
    "INSERT INTO tracking.tags (run, key_id, value) SELECT $1, key_id, $2 FROM "
    "(SELECT key_id FROM k UNION SELECT key_id FROM tracking.keys WHERE name = 'mlflow.runName') i "
    "ON CONFLICT (run, key_id) DO UPDATE SET value = excluded.value"};
constexpr db::Statement kSetStage{
    "set_run_stage",
    "UPDATE tracking.training_runs SET lifecycle_stage = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN now() END "
    "WHERE run_id = $1 AND lifecycle_stage <> $2"};
constexpr db::Statement kDeleteTag{
    "delete_run_tag",
    "DELETE FROM tracking.tags WHERE run = $1 AND key_id = (SELECT key_id FROM tracking.keys WHERE name = $2)"};

// In milliseconds: what a timestamptz holds, which the tables keep beside it. Its last second is left out, because the
// way there, by double precision, rounds some of it up to what is too late.
std::optional<int64_t> read_time(const json::Fields& fields, const char* name) {
  constexpr int64_t kFirst = -210866803200000, kLast = 9224318015000000;
  const auto ms = fields.integer(name);
  if (!ms || (*ms >= kFirst && *ms <= kLast)) return ms;
  throw invalid("Invalid value " + std::to_string(*ms) + " for parameter '" + name +
                "' supplied: it is a time in milliseconds since 1970, from " + std::to_string(kFirst) + " to " +
                std::to_string(kLast) + ".");
}

Error unknown(const std::string& run_id) { return not_found("Run with id=" + run_id + " not found"); }

Response empty_response() { return http::json_response("{}"); }

RunCreate read_create(const Request& request) {
  const http::Arguments arguments(request);
  RunCreate create;
  create.run_id = new_run_id();
  create.experiment_id = parse_experiment_id(arguments->required_string("experiment_id"));
  create.user_id = arguments->string("user_id").value_or("");
  create.start_time = read_time(*arguments, "start_time").value_or(0);
  create.run_name = arguments->string("run_name").value_or("");
  check_length(create.run_name, "run_name", kMaxKeyLength);
  std::set<std::string> seen;
  std::string named;
  for (const json::Fields& tag : arguments->objects("tags")) {
    KeyValue entry{tag.string("key").value_or(""), tag.string("value").value_or("")};
    check_length(entry.key, "key", kMaxKeyLength);
    entry.value = truncated(entry.value, kMaxRunTagLength);
    if (!seen.insert(entry.key).second) throw invalid("The tag '" + entry.key + "' is given twice.");
    if (entry.key == kRunNameTag) named = entry.value;
    create.tags.push_back(std::move(entry));
  }
  if (!create.run_name.empty() && !named.empty() && create.run_name != named) {
    throw invalid(
        "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='" +
        create.run_name + "', mlflow.runName='" + named + "').");
  }
  if (create.run_name.empty()) create.run_name = named.empty() ? random_run_name() : named;
  if (named.empty()) {
    std::erase_if(create.tags, [](const KeyValue& tag) { return tag.key == kRunNameTag; });
    create.tags.push_back({std::string(kRunNameTag), create.run_name});
  }
  return create;
}

task<Response> create(RunWriter& writer, Request& request) {
  const RunCreate create = read_create(request);
  const RunCreated created = co_await writer.create(create);
  RunView run;
  run.run_id = create.run_id;
  run.experiment_id = create.experiment_id;
  run.run_name = create.run_name;
  run.user_id = create.user_id;
  run.status = "running";
  run.start_time = create.start_time;
  run.artifact_uri = created.artifact_uri;
  run.lifecycle_stage = "active";
  for (const KeyValue& tag : create.tags) run.tags.emplace_back(tag.key, tag.value);
  Response response;
  json::Writer json(response.body);
  json.begin_object();
  json.key("run");
  write_run(json, run);
  json.end_object();
  co_return response;
}

// The run as it is in the transaction's snapshot.
task<RunView> load_run(db::Transaction& tx, const std::string& run_id) {
  const db::Rows rows = co_await tx.query(kFindRun, db::Params::of(run_id));
  if (rows.empty()) throw unknown(run_id);
  const std::vector<int64_t> ids{rows.integer(0, 0)};
  auto runs = co_await load_runs(tx, ids);
  if (runs.empty()) throw unknown(run_id);
  co_return std::move(runs.front());
}

// A status by its name or its number in MLflow's protocol; an unknown one changes nothing, as there.
std::optional<std::string> read_status(const json::Fields& fields) {
  static constexpr std::string_view kByNumber[] = {"", "running", "pending", "succeeded", "failed", "killed"};
  const auto raw = fields.raw("status");
  if (!raw) return std::nullopt;
  if (raw->starts_with('"')) {
    const auto stored = stored_status(*fields.string("status"));
    if (stored) return std::string(*stored);
    return std::nullopt;
  }
  const int64_t number = fields.integer("status").value_or(0);
  if (number < 1 || number > 5) return std::nullopt;
  return std::string(kByNumber[number]);
}

task<Response> update(db::Pool& pool, Request& request) {
  std::string run_id;
  std::optional<std::string> status;
  std::optional<int64_t> end_time;
  std::optional<std::string> name;
  {
    const http::Arguments arguments(request);
    run_id = run_id_of(*arguments);
    status = read_status(*arguments);
    end_time = read_time(*arguments, "end_time");
    name = arguments->string("run_name");
    if (name && name->empty()) name.reset();
    if (name) check_length(*name, "run_name", kMaxKeyLength);
  }
  auto body = [&](db::Transaction& tx) -> task<RunView> {
    const ActiveRun locked = co_await lock_active_run(tx, run_id);
    const int64_t id = locked.id;
    std::vector<db::Query> changes;
    changes.push_back({kUpdateRun, db::Params::of(id, status, end_time, name)});
    if (name) changes.push_back({kSetNameTag, db::Params::of(id, *name)});
    co_await tx.run(std::move(changes));
    co_return co_await load_run(tx, run_id);
  };
  const RunView run = co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  Response response;
  json::Writer json(response.body);
  json.begin_object();
  json.key("run_info");
  write_run_info(json, run);
  json.end_object();
  co_return response;
}

task<Response> set_stage(db::Pool& pool, Request& request, std::string_view stage) {
  const std::string run_id = run_id_of(*http::Arguments(request));
  const db::Rows changed = co_await pool.query(kSetStage, db::Params::of(run_id, stage));
  if (changed.affected() == 0) {
    const db::Rows rows = co_await pool.query(kFindRun, db::Params::of(run_id));
    if (rows.empty()) throw unknown(run_id);
  }
  co_return empty_response();
}

task<Response> delete_tag(db::Pool& pool, Request& request) {
  std::string run_id, key;
  {
    const http::Arguments arguments(request);
    run_id = run_id_of(*arguments);
    key = arguments->required_string("key");
  }
  auto body = [&](db::Transaction& tx) -> task<> {
    const ActiveRun run = co_await lock_active_run(tx, run_id);
    const db::Rows gone = co_await tx.query(kDeleteTag, db::Params::of(run.id, key));
    if (gone.affected() == 0) throw not_found("No tag with name: " + key + " in run with id " + run_id);
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return empty_response();
}

// Where a parameter stands, for messages: `key`, or in a list `metrics[3].key`. An int does for a list of 1,000.
struct Place {
  std::string_view list;
  int index = 0;
  std::string of(std::string_view field) const {
    std::string path;
    if (!list.empty()) path.append(list) += "[" + std::to_string(index) + "].";
    return path.append(field);
  }
  template <class T>
  T required(std::optional<T> value, std::string_view field) const {
    if (!value) {
      throw invalid("Missing value for required parameter '" + of(field) +
                    "'. See the API docs for more information about request parameters.");
    }
    return *std::move(value);
  }
};

// Throws like check_key(); the names are made only for a message.
void check_key_at(const std::string& key, const Place& place, std::string_view field, std::string_view length_name) {
  try {
    check_key(key);
  } catch (const Error&) {
    check_key(key, place.of(field), length_name.empty() ? place.of(field) : std::string(length_name));
  }
}

std::string read_key(const json::Fields& fields, const Place& place) {
  std::optional<std::string> key = fields.string("key");
  if (key && key->empty()) key.reset();
  return place.required(std::move(key), "key");
}

Metric read_metric(const json::Fields& fields, const Place& place) {
  Metric metric;
  metric.key = read_key(fields, place);
  check_key_at(metric.key, place, "name", "Metric name");
  // As MLflow stores an infinity: the greatest double of its sign.
  constexpr double kGreatest = std::numeric_limits<double>::max();
  metric.value = place.required(fields.number("value"), "value");
  if (std::isinf(metric.value)) metric.value = std::copysign(kGreatest, metric.value);
  metric.timestamp = place.required(fields.integer("timestamp"), "timestamp");
  metric.step = fields.integer("step").value_or(0);
  if (metric.timestamp < 0) {
    throw invalid("Invalid value " + std::to_string(metric.timestamp) + " for parameter '" + place.of("timestamp") +
                  "' supplied: metric '" + metric.key + "' (value=" + std::to_string(metric.value) +
                  "). Timestamp must be a nonnegative long (64-bit integer)");
  }
  return metric;
}

void add_metric(const json::Fields& fields, RunWrite& write, const Place& place = {}) {
  write.metrics.push_back(read_metric(fields, place));
  const std::string model_id = fields.string("model_id").value_or("");
  if (model_id.empty()) return;
  write.model_points.push_back({write.metrics.size() - 1, model_id, fields.string("dataset_name").value_or(""),
                                fields.string("dataset_digest").value_or("")});
}

KeyValue read_param(const json::Fields& fields, const Place& place = {}) {
  KeyValue param{read_key(fields, place), truncated(fields.string("value").value_or(""), kMaxParamLength)};
  check_key_at(param.key, place, "key", "Param key");
  return param;
}

KeyValue read_tag(const json::Fields& fields, const Place& place = {}) {
  KeyValue tag{read_key(fields, place), truncated(fields.string("value").value_or(""), kMaxRunTagLength)};
  check_key_at(tag.key, place, "key", "");
  return tag;
}

RunWrite read_log_metric(const Request& request) {
  const http::Arguments arguments(request);
  RunWrite write;
  write.run_id = run_id_of(*arguments);
  add_metric(*arguments, write);
  return write;
}
RunWrite read_log_param(const Request& request) {
  const http::Arguments arguments(request);
  RunWrite write;
  write.run_id = run_id_of(*arguments);
  write.params.push_back(read_param(*arguments));
  return write;
}
RunWrite read_set_tag(const Request& request) {
  const http::Arguments arguments(request);
  RunWrite write;
  write.run_id = run_id_of(*arguments);
  write.tags.push_back(read_tag(*arguments));
  return write;
}

void check_count(size_t count, size_t limit, const std::string& what) {
  if (count <= limit) return;
  throw invalid("A batch logging request can contain at most " + std::to_string(limit) + " " + what + ". Got " +
                std::to_string(count) + " " + what + ". Please split up " + what +
                " across multiple requests and try again.");
}

RunWrite read_batch(const Request& request) {
  const http::Arguments arguments(request);
  RunWrite write;
  write.is_batch = true;
  write.run_id = run_id_of(*arguments);
  const auto metrics = arguments->objects("metrics");
  const auto params = arguments->objects("params");
  const auto tags = arguments->objects("tags");
  check_count(metrics.size(), kMaxBatchMetrics, "metrics");
  check_count(params.size(), kMaxBatchParams, "params");
  check_count(tags.size(), kMaxBatchTags, "tags");
  check_count(metrics.size() + params.size() + tags.size(), kMaxBatchEntities, "metrics, params, and tags");
  write.metrics.reserve(metrics.size());
  for (int i = 0; const json::Fields& metric : metrics) add_metric(metric, write, {"metrics", i++});
  std::set<std::string> seen;
  for (int i = 0; const json::Fields& param : params) {
    write.params.push_back(read_param(param, {"params", i++}));
    if (!seen.insert(write.params.back().key).second) {
      throw invalid("Duplicate parameter keys have been submitted: ['" + write.params.back().key +
                    "']. Please ensure the request contains only one param value per param key.");
    }
  }
  for (int i = 0; const json::Fields& tag : tags) write.tags.push_back(read_tag(tag, {"tags", i++}));
  return write;
}

task<Response> log(RunWriter& writer, RunWrite write) {
  co_await writer.write(std::move(write));
  co_return empty_response();
}

}  // namespace

std::string run_id_of(const json::Fields& fields) {
  const auto uuid = fields.string("run_uuid");
  if (uuid && !uuid->empty() && fields.string("run_id").value_or("").empty()) return *uuid;
  return fields.required_string("run_id");
}

task<ActiveRun> lock_active_run(db::Transaction& tx, const std::string& run_id) {
  const db::Rows rows = co_await tx.query(kLockRun, db::Params::of(run_id));
  if (rows.empty()) throw unknown(run_id);
  if (rows.view(0, 1) != "active") {
    throw invalid("The run " + run_id + " must be in the 'active' state. Current state is deleted.");
  }
  co_return ActiveRun{rows.integer(0, 0), rows.integer(0, 2)};
}

task<Response> get_run(db::Pool& pool, Request& request) {
  const RunExtras extras = graphql_extras(request);
  const std::string run_id = run_id_of(*http::Arguments(request));
  auto body = [&](db::Transaction& tx) -> task<std::vector<RunView>> {
    std::vector<RunView> runs;
    runs.push_back(co_await load_run(tx, run_id));
    co_await load_run_extras(tx, runs, extras);
    co_return runs;
  };
  const std::vector<RunView> runs = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  Response response;
  json::Writer json(response.body);
  json.begin_object();
  json.key("run");
  write_run(json, runs.front());
  json.end_object();
  co_return response;
}

void register_run_routes(http::Router& router, db::Pool& pool, RunWriter& writer) {
  const auto add = [&](const char* method, const char* path, http::Handler handler) {
    http::add_mlflow_route(router, method, std::string("/mlflow/runs/") + path, std::move(handler));
  };
  add("POST", "create", [&writer](Request& r) { return create(writer, r); });
  add("GET", "get", [&pool](Request& r) { return get_run(pool, r); });
  add("POST", "update", [&pool](Request& r) { return update(pool, r); });
  add("POST", "delete", [&pool](Request& r) { return set_stage(pool, r, "deleted"); });
  add("POST", "restore", [&pool](Request& r) { return set_stage(pool, r, "active"); });
  add("POST", "delete-tag", [&pool](Request& r) { return delete_tag(pool, r); });
  add("POST", "log-metric", [&writer](Request& r) { return log(writer, read_log_metric(r)); });
  add("POST", "log-parameter", [&writer](Request& r) { return log(writer, read_log_param(r)); });
  add("POST", "set-tag", [&writer](Request& r) { return log(writer, read_set_tag(r)); });
  add("POST", "log-batch", [&writer](Request& r) { return log(writer, read_batch(r)); });
}

}  // namespace cairn::tracking
