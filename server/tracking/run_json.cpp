#include "tracking/run_json.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace cairn::tracking {
namespace {

constexpr std::pair<std::string_view, std::string_view> kStatuses[] = {{"pending", "SCHEDULED"},
                                                                       {"running", "RUNNING"},
                                                                       {"succeeded", "FINISHED"},
                                                                       {"failed", "FAILED"},
                                                                       {"killed", "KILLED"}};

// Why arrays stand in subqueries: docs/ARCHITECTURE.md.
constexpr db::Statement kRuns{
    "load_runs",
    "SELECT r.id, r.run_id, r.experiment_id, r.run_name, r.user_id, r.status, r.start_time, r.end_time, "
    "r.artifact_uri, "
    "r.lifecycle_stage, r.hyperparameters "
    "FROM unnest((SELECT $1::bigint[])) WITH ORDINALITY u (id, n) JOIN tracking.training_runs r USING (id)"
    " ORDER BY u.n"};
constexpr db::Statement kMetrics{
    "load_run_metrics",
    "SELECT u.run, m.* FROM unnest((SELECT $1::bigint[])) u (run) CROSS JOIN LATERAL (SELECT array_agg(key_id), "
    "array_agg(last_value), array_agg(last_step), array_agg(last_timestamp) FROM tracking.metric_series s "
    "WHERE s.run = u.run) m"};
constexpr db::Statement kTags{"load_run_tags",
                              "SELECT run, array_agg(key_id), array_agg(value) FROM tracking.tags "
                              "WHERE run = ANY((SELECT $1::bigint[])::bigint[]) GROUP BY run"};
constexpr db::Statement kDatasets{
    "load_run_inputs",
    "SELECT i.run, d.name, d.digest, d.source_type, d.source, d.schema, d.profile, i.tags "
    "FROM tracking.inputs i JOIN tracking.datasets d USING (dataset_id) "
    "WHERE i.run = ANY((SELECT $1::bigint[])::bigint[]) ORDER BY i.run, i.dataset_id"};
constexpr db::Statement kModels{"load_run_models",
                                "SELECT run, direction = 'input', model_id, step FROM tracking.model_io"
                                " WHERE run = ANY((SELECT $1::bigint[])::bigint[]) ORDER BY run, model_id"};
#define TAGS_JSON(document)                                                                          \
  "(SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key COLLATE \"C\")" \
  " FROM jsonb_each_text(" document ") t)"

constexpr db::Statement kRunExperiments{
    "load_run_experiments",
    "SELECT e.experiment_id, json_build_object('experiment_id', e.experiment_id::text, 'name', e.name, "
    "'artifact_location', coalesce(nullif(e.artifact_location, ''), 'mlflow-artifacts:/' || e.experiment_id), "
    "'lifecycle_stage', e.lifecycle_stage, 'last_update_time', e.last_update_time, 'creation_time', e.creation_time, "
    "'tags', " TAGS_JSON("e.tags") ", 'workspace', 'default') "
    "FROM tracking.experiments e WHERE e.experiment_id = ANY((SELECT $1::bigint[])::bigint[])"};
constexpr db::Statement kRunVersions{
    "load_run_versions",
    "SELECT v.run_id, json_build_object('name', m.model_name, 'version', v.version::text, "
    "'creation_timestamp', v.creation_time, 'last_updated_timestamp', v.last_updated_time, 'user_id', v.user_id, "
    "'current_stage', v.current_stage, 'description', v.description, 'source', v.source, 'run_id', v.run_id, "
    "'status', v.status, 'status_message', v.status_message, 'tags', " TAGS_JSON("v.tags") ", "
    "'run_link', v.run_link, 'aliases', (SELECT json_agg(a.alias ORDER BY a.alias) FROM registry.model_aliases a "
    "WHERE a.model_id = v.model_id AND a.version = v.version), 'model_id', v.logged_model_id) "
    "FROM registry.model_versions v JOIN registry.models m USING (model_id) WHERE v.run_id = ANY((SELECT $1::text[])::text[]) "
    "ORDER BY v.last_updated_time DESC, m.model_name, v.version DESC"};
constexpr db::Statement kKeyNames{
    "load_key_names",
    "SELECT key_id, name FROM tracking.keys WHERE key_id = ANY((SELECT $1::int[])::int[]) ORDER BY name"};

std::vector<RunView> read_runs(const db::Rows& rows) {
  std::vector<RunView> runs(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    RunView& run = runs[static_cast<size_t>(i)];
    run.id = rows.integer(i, 0);
    run.run_id = rows.text(i, 1);
    run.experiment_id = rows.integer(i, 2);
    run.run_name = rows.text(i, 3);
    run.user_id = rows.text(i, 4);
    run.status = rows.text(i, 5);
    run.start_time = rows.optional_integer(i, 6);
    run.end_time = rows.optional_integer(i, 7);
    run.artifact_uri = rows.text(i, 8);
    run.lifecycle_stage = rows.text(i, 9);
    run.params = json_members(rows.view(i, 10));
  }
  return runs;
}

// A key's name, and its place among the names of the page: places are compared instead of names.
struct KeyName {
  std::string name;
  size_t place = 0;
};
using KeyNames = std::unordered_map<int64_t, KeyName>;

task<KeyNames> load_key_names(db::Transaction& transaction, const db::Rows& metrics, const db::Rows& tags) {
  std::unordered_set<int32_t> ids;
  for (const db::Rows* rows : {&metrics, &tags}) {
    for (int i = 0; i < rows->size(); ++i) {
      for (const int64_t id : rows->integers(i, 1)) ids.insert(static_cast<int32_t>(id));
    }
  }
  KeyNames names;
  if (ids.empty()) co_return names;
  const std::vector<int32_t> wanted(ids.begin(), ids.end());
  const db::Rows rows = co_await transaction.query(kKeyNames, db::Params::of(wanted));
  for (int i = 0; i < rows.size(); ++i) names[rows.integer(i, 0)] = {rows.text(i, 1), static_cast<size_t>(i)};
  co_return names;
}

// The names of the keys in their order, each with the index of its key.
std::vector<std::pair<const std::string*, size_t>> by_name(const KeyNames& names, const std::vector<int64_t>& keys) {
  std::vector<std::tuple<size_t, const std::string*, size_t>> places;
  places.reserve(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const KeyName& key = names.at(keys[i]);
    places.emplace_back(key.place, &key.name, i);
  }
  std::sort(places.begin(), places.end());
  std::vector<std::pair<const std::string*, size_t>> sorted;
  sorted.reserve(keys.size());
  for (const auto& [place, name, index] : places) sorted.emplace_back(name, index);
  return sorted;
}

void write_data(json::Writer& writer, const RunView& run) {
  writer.begin_object();
  if (!run.metrics.empty()) {
    writer.key("metrics");
    writer.begin_array();
    // A page of runs is mostly this: names that are known beforehand are not quoted anew.
    std::string text;
    for (const MetricView& metric : run.metrics) {
      text = R"({"key":)";
      json::Writer(text).string(metric.key);
      text += R"(,"value":)";
      json::Writer(text).number(metric.value);
      text += R"(,"timestamp":)";
      json::Writer(text).integer(metric.timestamp);
      text += R"(,"step":)";
      json::Writer(text).integer(metric.step);
      text += '}';
      writer.raw(text);
    }
    writer.end_array();
  }
  write_pairs(writer, "params", run.params);
  write_pairs(writer, "tags", run.tags);
  writer.end_object();
}

void write_dataset_input(json::Writer& writer, const DatasetInputView& input) {
  writer.begin_object();
  write_pairs(writer, "tags", input.tags);
  writer.key("dataset");
  writer.begin_object();
  writer.field("name", input.name);
  writer.field("digest", input.digest);
  writer.field("source_type", input.source_type);
  writer.field("source", input.source);
  writer.field("schema", input.schema);
  writer.field("profile", input.profile);
  writer.end_object();
  writer.end_object();
}

void write_inputs(json::Writer& writer, const RunView& run) {
  writer.begin_object();
  if (!run.dataset_inputs.empty()) {
    writer.key("dataset_inputs");
    writer.begin_array();
    for (const DatasetInputView& input : run.dataset_inputs) write_dataset_input(writer, input);
    writer.end_array();
  }
  if (!run.model_inputs.empty()) {
    writer.key("model_inputs");
    writer.begin_array();
    for (const ModelIoView& model : run.model_inputs) {
      writer.begin_object();
      writer.field("model_id", model.model_id);
      writer.end_object();
    }
    writer.end_array();
  }
  writer.end_object();
}

void write_outputs(json::Writer& writer, const RunView& run) {
  writer.begin_object();
  if (!run.model_outputs.empty()) {
    writer.key("model_outputs");
    writer.begin_array();
    for (const ModelIoView& model : run.model_outputs) {
      writer.begin_object();
      writer.field("model_id", model.model_id);
      writer.field("step", model.step);
      writer.end_object();
    }
    writer.end_array();
  }
  writer.end_object();
}

}  // namespace

Pairs json_members(std::string_view text) {
  Pairs pairs;
  if (text == "{}") return pairs;
  static thread_local simdjson::ondemand::parser parser;  // keeps its buffers
  const simdjson::padded_string padded(text);
  simdjson::ondemand::document document = parser.iterate(padded);
  for (auto field : document.get_object()) {
    std::string key(field.unescaped_key().value());
    simdjson::ondemand::value value = field.value();
    std::string_view shown;
    switch (value.type().value()) {
      case simdjson::ondemand::json_type::string:
        shown = value.get_string().value();
        break;
      case simdjson::ondemand::json_type::array:
        shown = value.get_array().value().raw_json().value();
        break;
      case simdjson::ondemand::json_type::object:
        shown = value.get_object().value().raw_json().value();
        break;
      default:
        shown = value.raw_json_token();
        shown = shown.substr(0, shown.find_last_not_of(" \n") + 1);
    }
    pairs.emplace_back(std::move(key), std::string(shown));
  }
  return pairs;
}

void write_pairs(json::Writer& writer, std::string_view name, const Pairs& pairs) {
  if (pairs.empty()) return;
  writer.key(name);
  writer.begin_array();
  for (const auto& [key, value] : pairs) {
    writer.begin_object();
    writer.field("key", key);
    writer.field("value", value);
    writer.end_object();
  }
  writer.end_array();
}

std::string_view mlflow_status(std::string_view stored) {
  for (const auto& [ours, theirs] : kStatuses) {
    if (ours == stored) return theirs;
  }
  return "RUNNING";
}

std::optional<std::string_view> stored_status(std::string_view mlflow) {
  for (const auto& [ours, theirs] : kStatuses) {
    if (theirs == mlflow) return ours;
  }
  return std::nullopt;
}

task<std::vector<RunView>> load_runs(db::Transaction& transaction, std::span<const int64_t> ids) {
  if (ids.empty()) co_return std::vector<RunView>();
  std::vector<db::Query> queries;
  for (const db::Statement& statement : {kRuns, kMetrics, kTags, kDatasets, kModels}) {
    queries.push_back({statement, db::Params::of(ids)});
  }
  const std::vector<db::Rows> results = co_await transaction.run(std::move(queries));
  std::vector<RunView> runs = read_runs(results[0]);
  const db::Rows &metrics = results[1], &tags = results[2], &datasets = results[3], &models = results[4];
  const KeyNames names = co_await load_key_names(transaction, metrics, tags);

  std::unordered_map<int64_t, RunView*> by_id;
  for (RunView& run : runs) by_id.emplace(run.id, &run);
  RunView unknown;  // takes what belongs to a run that was made after the first statement
  const auto run_of = [&](const db::Rows& rows, int row) -> RunView& {
    const auto found = by_id.find(rows.integer(row, 0));
    return found == by_id.end() ? unknown : *found->second;
  };
  for (int i = 0; i < metrics.size(); ++i) {
    RunView& run = run_of(metrics, i);
    const auto keys = metrics.integers(i, 1), steps = metrics.integers(i, 3), times = metrics.integers(i, 4);
    const auto values = metrics.numbers(i, 2);
    run.metrics.reserve(keys.size());
    for (const auto& [name, k] : by_name(names, keys)) run.metrics.push_back({*name, values[k], steps[k], times[k]});
  }
  for (int i = 0; i < tags.size(); ++i) {
    RunView& run = run_of(tags, i);
    const auto keys = tags.integers(i, 1);
    auto values = tags.texts(i, 2);
    for (const auto& [name, k] : by_name(names, keys)) run.tags.emplace_back(*name, std::move(values[k]));
  }
  for (int i = 0; i < datasets.size(); ++i) {
    run_of(datasets, i)
        .dataset_inputs.push_back({datasets.text(i, 1), datasets.text(i, 2), datasets.text(i, 3), datasets.text(i, 4),
                                   datasets.optional_text(i, 5), datasets.optional_text(i, 6),
                                   json_members(datasets.view(i, 7))});
  }
  for (int i = 0; i < models.size(); ++i) {
    RunView& run = run_of(models, i);
    auto& models_of_run = models.boolean(i, 1) ? run.model_inputs : run.model_outputs;
    models_of_run.push_back({models.text(i, 2), models.integer(i, 3)});
  }
  co_return runs;
}

task<> load_run_extras(db::Transaction& transaction, std::vector<RunView>& runs, RunExtras extras) {
  if (runs.empty() || (!extras.experiment && !extras.model_versions)) co_return;
  std::vector<int64_t> experiment_ids;
  std::unordered_map<std::string, RunView*> by_run_id;
  for (RunView& run : runs) {
    if (extras.experiment) experiment_ids.push_back(run.experiment_id);
    if (extras.model_versions) by_run_id.emplace(run.run_id, &run);
    if (extras.model_versions) run.model_versions.emplace();
  }
  std::vector<std::string> run_ids;
  for (const auto& [run_id, run] : by_run_id) run_ids.push_back(run_id);
  std::vector<db::Query> queries;
  queries.push_back({kRunExperiments, db::Params::of(experiment_ids)});
  queries.push_back({kRunVersions, db::Params::of(run_ids)});
  const std::vector<db::Rows> results = co_await transaction.run(std::move(queries));
  std::unordered_map<int64_t, std::string> experiments;
  for (int i = 0; i < results[0].size(); ++i) experiments.emplace(results[0].integer(i, 0), results[0].text(i, 1));
  for (RunView& run : runs) run.experiment = experiments[run.experiment_id];
  for (int i = 0; i < results[1].size(); ++i) {
    std::string& versions = *by_run_id.at(results[1].text(i, 0))->model_versions;
    versions += (versions.empty() ? "" : ",") + results[1].text(i, 1);
  }
}

void write_run_info(json::Writer& writer, const RunView& run) {
  writer.begin_object();
  writer.field("run_uuid", run.run_id);
  writer.field("experiment_id", std::to_string(run.experiment_id));
  writer.field("run_name", run.run_name);
  writer.field("user_id", run.user_id);
  writer.field("status", mlflow_status(run.status));
  writer.field("start_time", run.start_time);
  writer.field("end_time", run.end_time);
  writer.field("artifact_uri", run.artifact_uri);
  writer.field("lifecycle_stage", run.lifecycle_stage);
  writer.field("run_id", run.run_id);
  writer.end_object();
}

void write_run(json::Writer& writer, const RunView& run) {
  writer.begin_object();
  writer.key("info");
  write_run_info(writer, run);
  writer.key("data");
  write_data(writer, run);
  writer.key("inputs");
  write_inputs(writer, run);
  writer.key("outputs");
  write_outputs(writer, run);
  if (!run.experiment.empty()) {
    writer.key("experiment");
    writer.raw(run.experiment);
  }
  if (run.model_versions) {
    writer.key("model_versions");
    writer.raw("[" + *run.model_versions + "]");
  }
  writer.end_object();
}

}  // namespace cairn::tracking
