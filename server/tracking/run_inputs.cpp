#include "tracking/run_inputs.h"

#include <map>

#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/api.h"
#include "tracking/experiments.h"
#include "tracking/names.h"
#include "tracking/runs.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

constexpr size_t kMaxDatasetName = 500;
constexpr size_t kMaxDigest = 36;
constexpr size_t kMaxInputTagKey = 255;
constexpr size_t kMaxInputTagValue = 500;
constexpr size_t kMaxSource = 65535;
constexpr size_t kMaxSchema = 1048575;
constexpr size_t kMaxProfile = 16777215;
constexpr size_t kMaxExperiments = 20;

// One element a dataset in each.
struct DatasetInputs {
  std::vector<std::string> names, digests, source_types, sources;
  std::vector<std::optional<std::string>> schemas, profiles;
  std::vector<std::string> tags;  // a JSON object each
};

struct ModelIo {
  std::vector<std::string> model_ids;
  std::vector<int64_t> steps;
};

std::string read_tags(const json::Fields& input) {
  std::map<std::string, std::string> tags;
  for (const json::Fields& tag : input.objects("tags")) {
    const std::string key = tag.string("key").value_or("");
    const std::string value = tag.string("value").value_or("");
    check_length(key, "key", kMaxInputTagKey);
    check_length(value, "value", kMaxInputTagValue);
    tags[key] = value;
  }
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  for (const auto& [key, value] : tags) writer.field(key, value);
  writer.end_object();
  return text;
}

std::string read_text(const json::Fields& dataset, const char* name, size_t limit) {
  std::string text = dataset.string(name).value_or("");
  check_length(text, name, limit);
  return text;
}

DatasetInputs read_datasets(const json::Fields& arguments) {
  DatasetInputs datasets;
  for (const json::Fields& input : arguments.objects("datasets")) {
    const auto dataset = input.object("dataset");
    if (!dataset) {
      throw invalid(
          "Missing value for required parameter 'dataset'. See the API docs for more information about request "
          "parameters.");
    }
    datasets.names.push_back(read_text(*dataset, "name", kMaxDatasetName));
    datasets.digests.push_back(read_text(*dataset, "digest", kMaxDigest));
    datasets.source_types.push_back(read_text(*dataset, "source_type", kMaxDatasetName));
    datasets.sources.push_back(read_text(*dataset, "source", kMaxSource));
    datasets.schemas.push_back(dataset->string("schema"));
    datasets.profiles.push_back(dataset->string("profile"));
    check_length(datasets.schemas.back().value_or(""), "schema", kMaxSchema);
    check_length(datasets.profiles.back().value_or(""), "profile", kMaxProfile);
    datasets.tags.push_back(read_tags(input));
  }
  return datasets;
}

ModelIo read_models(const json::Fields& arguments) {
  ModelIo models;
  for (const json::Fields& model : arguments.objects("models")) {
    models.model_ids.push_back(model.required_string("model_id"));
    models.steps.push_back(model.integer("step").value_or(0));
  }
  return models;
}

// In the order of their keys, so that two requests for the same datasets cannot deadlock. Of a dataset that is there
// already nothing changes.
constexpr db::Statement kAddDatasets{
    "add_datasets",
    "INSERT INTO tracking.datasets (experiment_id, name, digest, source_type, source, schema, profile) "
    "SELECT $1, name, digest, source_type, source, schema, profile FROM "
    "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) "
    "WITH ORDINALITY u (name, digest, source_type, source, schema, profile, n) "
    "ORDER BY name, digest, n ON CONFLICT DO NOTHING"};
constexpr db::Statement kAddInputs{
    "add_inputs",
    "INSERT INTO tracking.inputs (run, dataset_id, tags) SELECT $1, d.dataset_id, u.tags::jsonb "
    "FROM unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY u (name, digest, tags, n) "
    "JOIN tracking.datasets d ON d.experiment_id = $2 AND d.name = u.name AND d.digest = u.digest "
    "ORDER BY u.n ON CONFLICT DO NOTHING"};
constexpr db::Statement kAddModels{
    "add_run_models",
    "INSERT INTO tracking.model_io (run, model_id, direction, step) "
    "SELECT $1, m.model_id, $2, u.step FROM unnest($3::text[], $4::bigint[]) WITH ORDINALITY u (model_id, step, n) "
    "JOIN tracking.logged_models m USING (model_id) ORDER BY m.model_id, u.n ON CONFLICT DO NOTHING"};
constexpr db::Statement kUnknownModel{
    "unknown_run_model",
    "SELECT u.model_id FROM unnest($1::text[]) WITH ORDINALITY u (model_id, n) "
    "WHERE NOT EXISTS (SELECT FROM tracking.logged_models m WHERE m.model_id = u.model_id) ORDER BY u.n LIMIT 1"};

// Writes to the run's inputs or outputs. A model must be there: the row points to it.
task<> write(db::Pool& pool, const std::string& run_id, const DatasetInputs& datasets, const ModelIo& models,
             std::string_view direction) {
  auto body = [&](db::Transaction& tx) -> task<> {
    const ActiveRun run = co_await lock_active_run(tx, run_id);
    std::vector<db::Query> queries;
    queries.push_back({kUnknownModel, db::Params::of(models.model_ids)});
    if (!datasets.names.empty()) {
      queries.push_back(
          {kAddDatasets, db::Params::of(run.experiment_id, datasets.names, datasets.digests, datasets.source_types,
                                        datasets.sources, datasets.schemas, datasets.profiles)});
      queries.push_back(
          {kAddInputs, db::Params::of(run.id, run.experiment_id, datasets.names, datasets.digests, datasets.tags)});
    }
    if (!models.model_ids.empty()) {
      queries.push_back({kAddModels, db::Params::of(run.id, direction, models.model_ids, models.steps)});
    }
    const std::vector<db::Rows> results = co_await tx.run(std::move(queries));
    if (!results[0].empty()) throw not_found("Logged model with ID '" + results[0].text(0, 0) + "' not found.");
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
}

task<Response> log_inputs(db::Pool& pool, Request& request) {
  std::string run_id;
  DatasetInputs datasets;
  ModelIo models;
  {
    const http::Arguments arguments(request);
    run_id = run_id_of(*arguments);
    datasets = read_datasets(*arguments);
    models = read_models(*arguments);
  }
  co_await write(pool, run_id, datasets, models, "input");
  co_return http::json_response("{}");
}

task<Response> log_outputs(db::Pool& pool, Request& request) {
  std::string run_id;
  ModelIo models;
  {
    const http::Arguments arguments(request);
    run_id = run_id_of(*arguments);
    if (!arguments->has("models")) {
      throw invalid(
          "Missing value for required parameter 'models'. See the API docs for more information about request "
          "parameters.");
    }
    models = read_models(*arguments);
  }
  const DatasetInputs none;
  co_await write(pool, run_id, none, models, "output");
  co_return http::json_response("{}");
}

// What MLflow 2 keeps of a model in the run's tag, as one element of a JSON list.
std::string read_model_history(const std::string& model_json) {
  static constexpr const char* kMandatory[] = {"artifact_path", "flavors", "utc_time_created", "run_id"};
  std::string out;
  try {
    const json::Document document(model_json);
    const json::Fields model = json::root_fields(document);
    std::string missing;
    for (const char* name : kMandatory) {
      if (!model.has(name)) missing += (missing.empty() ? "'" : ", '") + std::string(name) + "'";
    }
    if (!missing.empty()) {
      out = "Model json is missing mandatory fields: {" + missing + "}";
    } else {
      json::Writer writer(out);
      writer.begin_object();
      for (const char* name : {"run_id", "artifact_path", "utc_time_created", "model_uuid", "flavors"}) {
        writer.key(name);
        writer.raw(model.raw(name).value_or("null"));
      }
      writer.end_object();
      return out;
    }
  } catch (const Error&) {
    out = "Malformed model info. \n " + model_json.substr(0, 500) + " \n is not a valid JSON.";
  }
  throw invalid(out);
}

constexpr db::Statement kAddHistoryKey{
    "add_model_history_key",
    "INSERT INTO tracking.keys (name) VALUES ('mlflow.log-model.history') ON CONFLICT DO NOTHING"};
// A value that is no list is replaced.
constexpr db::Statement kAppendHistory{
    "append_model_history",
    "INSERT INTO tracking.tags AS t (run, key_id, value) "
    "SELECT $1, key_id, '[' || $2::text || ']' FROM tracking.keys WHERE name = 'mlflow.log-model.history' "
    "ON CONFLICT (run, key_id) DO UPDATE SET value = CASE WHEN t.value LIKE '[{%}]' "
    "THEN left(t.value, -1) || ', ' || $2::text || ']' ELSE excluded.value END"};

task<Response> log_model(db::Pool& pool, Request& request) {
  std::string run_id, history;
  {
    const http::Arguments arguments(request);
    run_id = run_id_of(*arguments);
    history = read_model_history(arguments->required_string("model_json"));
  }
  auto body = [&](db::Transaction& tx) -> task<> {
    const ActiveRun run = co_await lock_active_run(tx, run_id);
    std::vector<db::Query> queries;
    queries.push_back({kAddHistoryKey, {}});
    queries.push_back({kAppendHistory, db::Params::of(run.id, history)});
    co_await tx.run_and_commit(std::move(queries));
  };
  co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  co_return http::json_response("{}");
}

constexpr db::Statement kSearchDatasets{
    "search_datasets",
    "SELECT DISTINCT d.experiment_id, d.name, d.digest, i.tags ->> 'mlflow.data.context' "
    "FROM tracking.datasets d JOIN tracking.inputs i USING (dataset_id) "
    "WHERE d.experiment_id = ANY ($1::bigint[]) ORDER BY 1, 2, 3, 4 LIMIT 1000"};

task<Response> search_datasets(db::Pool& pool, Request& request) {
  std::vector<int64_t> experiments;
  for (const std::string& id : http::Arguments(request)->strings("experiment_ids")) {
    experiments.push_back(parse_experiment_id(id));
  }
  if (experiments.empty()) throw invalid("SearchDatasets request must specify at least one experiment_id.");
  if (experiments.size() > kMaxExperiments) {
    throw invalid("SearchDatasets request cannot specify more than 20 experiment_ids. Received " +
                  std::to_string(experiments.size()) + " experiment_ids.");
  }
  const db::Rows rows = co_await pool.query(kSearchDatasets, db::Params::of(experiments));
  Response response;
  json::Writer writer(response.body);
  writer.begin_object();
  if (!rows.empty()) {
    writer.key("dataset_summaries");
    writer.begin_array();
    for (int i = 0; i < rows.size(); ++i) {
      writer.begin_object();
      writer.field("experiment_id", std::to_string(rows.integer(i, 0)));
      writer.field("name", rows.view(i, 1));
      writer.field("digest", rows.view(i, 2));
      writer.field("context", rows.optional_text(i, 3));
      writer.end_object();
    }
    writer.end_array();
  }
  writer.end_object();
  co_return response;
}

}  // namespace

task<> log_training_dataset(db::Pool& pool, std::string run_id, DatasetInput dataset) {
  DatasetInputs inputs;
  inputs.names = {dataset.name};
  inputs.digests = {dataset.digest};
  inputs.source_types = {dataset.source_type};
  inputs.sources = {dataset.source};
  inputs.schemas.emplace_back(dataset.schema);
  inputs.profiles.emplace_back(dataset.profile);
  inputs.tags = {R"({"mlflow.data.context":"training"})"};
  const ModelIo none;
  co_await write(pool, run_id, inputs, none, "input");
}

constexpr db::Statement kRunsOfDataset{
    "runs_of_dataset",
    "SELECT coalesce(array_agg(r.run_id ORDER BY r.id), '{}') FROM tracking.datasets d JOIN tracking.inputs i USING"
    " (dataset_id) JOIN tracking.training_runs r ON r.id = i.run"
    " WHERE d.name = $1 AND d.digest = $2 AND r.lifecycle_stage = 'active'"};

task<std::vector<std::string>> runs_trained_on(db::Pool& pool, std::string name, std::string digest) {
  const db::Rows rows = co_await pool.query(kRunsOfDataset, db::Params::of(name, digest));
  co_return rows.texts(0, 0);
}

void register_run_input_routes(http::Router& router, db::Pool& pool) {
  const auto add = [&](const char* path, task<Response> (*handler)(db::Pool&, Request&)) {
    http::add_mlflow_route(router, "POST", std::string("/mlflow/runs/") + path,
                           [&pool, handler](Request& request) { return handler(pool, request); });
  };
  add("log-inputs", log_inputs);
  add("outputs", log_outputs);
  add("log-model", log_model);
  // As in MLflow, only its page asks for this.
  router.add("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets",
             [&pool](Request& request) { return search_datasets(pool, request); });
}

}  // namespace cairn::tracking
