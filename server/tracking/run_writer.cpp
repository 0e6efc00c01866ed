#include "tracking/run_writer.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/json.h"
#include "db/transaction.h"

namespace cairn::tracking {
namespace {

// Rows are locked in the order of their ids, so that two servers on one database cannot deadlock.
constexpr db::Statement kLockRuns{
    "lock_runs",
    "SELECT id, run_id, lifecycle_stage, CASE WHEN run_id = ANY($2::text[]) THEN hyperparameters END "
    "FROM tracking.training_runs WHERE run_id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE"};

constexpr db::Statement kFindKeys{"find_keys", "SELECT name, key_id FROM tracking.keys WHERE name = ANY($1::text[])"};

constexpr db::Statement kAddKeys{
    "add_keys",
    "INSERT INTO tracking.keys (name) SELECT name FROM unnest($1::text[]) name ORDER BY name ON CONFLICT DO NOTHING"};

constexpr db::Statement kAppendMetrics{"append_metrics", "SELECT tracking.append_metrics($1, $2, $3, $4, $5)"};

// A logged model is only marked as deleted, and its row may not be removed until this transaction has ended.
constexpr db::Statement kFindModels{
    "find_logged_models",
    "SELECT model_id FROM tracking.logged_models WHERE model_id = ANY($1::text[]) ORDER BY model_id FOR KEY SHARE"};

constexpr db::Statement kAddModelMetrics{
    "add_model_metrics",
    "INSERT INTO tracking.logged_model_metrics "
    "(model_id, key_id, step, timestamp, value, run_id, dataset_name, dataset_digest) "
    "SELECT model_id, key_id, step, ts, value, run_id, nullif(dataset_name, ''), nullif(dataset_digest, '') "
    "FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::float8[], $6::text[], $7::text[], $8::text[]) "
    "AS u (model_id, key_id, step, ts, value, run_id, dataset_name, dataset_digest) "
    "ORDER BY 1, 2, 3, 4, 5, 6 ON CONFLICT DO NOTHING"};

constexpr db::Statement kAddParams{"add_params",
                                   "INSERT INTO tracking.params (run, key_id, value) "
                                   "SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[]) ORDER BY 1, 2"};

constexpr db::Statement kMergeParams{
    "merge_params",
    "UPDATE tracking.training_runs t SET hyperparameters = t.hyperparameters || p.params, updated_at = now() FROM "
    "(SELECT run, jsonb_object_agg(name, value) AS params FROM unnest($1::bigint[], $2::text[], $3::text[]) "
    "AS u (run, name, value) GROUP BY run) p WHERE t.id = p.run"};

constexpr db::Statement kSetTags{"set_tags",
                                 "INSERT INTO tracking.tags (run, key_id, value) "
                                 "SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[]) ORDER BY 1, 2 "
                                 "ON CONFLICT (run, key_id) DO UPDATE SET value = excluded.value"};

constexpr db::Statement kRenameRuns{
    "rename_runs",
    "UPDATE tracking.training_runs t SET run_name = u.name FROM unnest($1::bigint[], $2::text[]) AS u (run, name) "
    "WHERE t.id = u.run"};

constexpr db::Statement kCreateRuns{
    "create_runs",
    "WITH wanted AS ("
    "  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]) "
    "  AS w (run_id, run_name, experiment_id, user_id, start_time)"
    "), made AS ("
    "  INSERT INTO tracking.training_runs "
    "    (run_id, run_name, experiment_id, experiment_name, user_id, start_time, artifact_uri) "
    "  SELECT w.run_id, w.run_name, e.experiment_id, e.name, w.user_id, w.start_time, "
    "    coalesce(nullif(e.artifact_location, ''), 'mlflow-artifacts:/' || e.experiment_id) "
    "      || '/' || w.run_id || '/artifacts' "
    "  FROM wanted w JOIN tracking.experiments e USING (experiment_id) WHERE e.lifecycle_stage = 'active' "
    "  RETURNING id, run_id, artifact_uri"
    "), tagged AS ("
    "  INSERT INTO tracking.tags (run, key_id, value) SELECT made.id, k.key_id, t.value "
    "  FROM unnest($6::text[], $7::text[], $8::text[]) AS t (run_id, name, value) "
    "  JOIN made USING (run_id) JOIN tracking.keys k USING (name)"
    ") SELECT run_id, artifact_uri FROM made"};

constexpr db::Statement kExperimentStages{
    "experiment_stages",
    "SELECT experiment_id, lifecycle_stage FROM tracking.experiments WHERE experiment_id = ANY($1::bigint[])"};

using KeyIds = std::unordered_map<std::string, int32_t>;

// The ids of the names, added where they are new.
task<KeyIds> key_ids(db::Transaction& tx, std::vector<std::string> names) {
  KeyIds ids;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const db::Rows rows = co_await tx.query(kFindKeys, db::Params::of(names));
    for (int i = 0; i < rows.size(); ++i) ids.emplace(rows.text(i, 0), static_cast<int32_t>(rows.integer(i, 1)));
    if (ids.size() == names.size() || attempt == 1) break;
    co_await tx.query(kAddKeys, db::Params::of(names));
  }
  co_return ids;
}

struct LockedRun {
  int64_t id = 0;
  bool active = false;
  std::map<std::string, std::string> params;
};

std::map<std::string, std::string> read_params(std::string_view text) {
  std::map<std::string, std::string> params;
  const json::Document document(text);
  simdjson::dom::object object;
  if (document.root().get(object)) return params;
  for (const auto [key, value] : object) {
    std::string_view string;
    params.emplace(std::string(key), value.get(string) ? simdjson::minify(value) : std::string(string));
  }
  return params;
}

// The columns of what a group writes.
struct Columns {
  std::vector<int64_t> metric_runs, steps, timestamps;
  std::vector<int32_t> metric_keys;
  std::vector<double> values;
  std::vector<std::string> models, model_runs, dataset_names, dataset_digests;
  std::vector<int32_t> model_keys;
  std::vector<int64_t> model_steps, model_timestamps;
  std::vector<double> model_values;
  std::vector<int64_t> param_runs;
  std::vector<int32_t> param_keys;
  std::vector<std::string> param_names, param_values;
  std::map<std::pair<int64_t, int32_t>, std::string> tags;  // the last value wins
  std::map<int64_t, std::string> names;
};

std::string changed_param(const RunWrite& write, const KeyValue& param, const std::string& old) {
  if (write.is_batch) {
    return "Changing param values is not allowed. Params were already logged='[{'key': '" + param.key +
           "', 'old_value': '" + old + "', 'new_value': '" + param.value + "'}]' for run ID='" + write.run_id + "'.";
  }
  return "Changing param values is not allowed. Param with key='" + param.key + "' was already logged with value='" +
         old + "' for run ID='" + write.run_id + "'. Attempted logging new value '" + param.value + "'.";
}

void add_model_points(const RunWrite& write, const KeyIds& keys, Columns& columns) {
  for (const ModelPoint& point : write.model_points) {
    const Metric& metric = write.metrics[point.metric];
    columns.models.push_back(point.model_id);
    columns.model_runs.push_back(write.run_id);
    columns.model_keys.push_back(keys.at(metric.key));
    columns.model_steps.push_back(metric.step);
    columns.model_timestamps.push_back(metric.timestamp);
    columns.model_values.push_back(metric.value);
    columns.dataset_names.push_back(point.dataset_name);
    columns.dataset_digests.push_back(point.dataset_digest);
  }
}

void add(const RunWrite& write, LockedRun& run, const KeyIds& keys, Columns& columns) {
  for (const KeyValue& param : write.params) {
    const auto known = run.params.find(param.key);
    if (known != run.params.end() && known->second != param.value) {
      throw invalid(changed_param(write, param, known->second));
    }
  }
  for (const KeyValue& param : write.params) {
    if (!run.params.emplace(param.key, param.value).second) continue;
    columns.param_runs.push_back(run.id);
    columns.param_keys.push_back(keys.at(param.key));
    columns.param_names.push_back(param.key);
    columns.param_values.push_back(param.value);
  }
  for (const Metric& metric : write.metrics) {
    columns.metric_runs.push_back(run.id);
    columns.metric_keys.push_back(keys.at(metric.key));
    columns.steps.push_back(metric.step);
    columns.timestamps.push_back(metric.timestamp);
    columns.values.push_back(metric.value);
  }
  add_model_points(write, keys, columns);
  for (const KeyValue& tag : write.tags) {
    columns.tags[{run.id, keys.at(tag.key)}] = tag.value;
    if (tag.key == "mlflow.runName" && !tag.value.empty()) columns.names[run.id] = tag.value;
  }
}

std::vector<db::Query> statements(const Columns& c) {
  std::vector<db::Query> queries;
  if (!c.metric_runs.empty()) {
    queries.push_back({kAppendMetrics, db::Params::of(c.metric_runs, c.metric_keys, c.steps, c.timestamps, c.values)});
  }
  if (!c.models.empty()) {
    queries.push_back(
        {kAddModelMetrics, db::Params::of(c.models, c.model_keys, c.model_steps, c.model_timestamps, c.model_values,
                                          c.model_runs, c.dataset_names, c.dataset_digests)});
  }
  if (!c.param_runs.empty()) {
    queries.push_back({kAddParams, db::Params::of(c.param_runs, c.param_keys, c.param_values)});
    queries.push_back({kMergeParams, db::Params::of(c.param_runs, c.param_names, c.param_values)});
  }
  if (!c.tags.empty()) {
    std::vector<int64_t> runs;
    std::vector<int32_t> keys;
    std::vector<std::string> values;
    for (const auto& [place, value] : c.tags) {
      runs.push_back(place.first);
      keys.push_back(place.second);
      values.push_back(value);
    }
    queries.push_back({kSetTags, db::Params::of(runs, keys, values)});
  }
  if (!c.names.empty()) {
    std::vector<int64_t> runs;
    std::vector<std::string> names;
    for (const auto& [run, name] : c.names) runs.push_back(run), names.push_back(name);
    queries.push_back({kRenameRuns, db::Params::of(runs, names)});
  }
  return queries;
}

Error experiment_error(int64_t id, const std::map<int64_t, std::string>& stages) {
  const auto stage = stages.find(id);
  if (stage == stages.end()) return not_found("No Experiment with id=" + std::to_string(id) + " exists");
  return invalid("The experiment " + std::to_string(id) + " must be in the 'active' state. Current state is " +
                 stage->second + ".");
}

// Throws for a request that names a logged model that is not there.
void check_models(const RunWrite& write, const std::set<std::string>& there) {
  for (const ModelPoint& point : write.model_points) {
    if (!there.contains(point.model_id)) throw not_found("Logged model with ID '" + point.model_id + "' not found.");
  }
}

size_t weight_of(const RunWrite& write) { return 1 + write.metrics.size() + write.params.size() + write.tags.size(); }

}  // namespace

// 20,000 points a group: some tens of milliseconds of PostgreSQL's time, and a few MiB of parameters.
RunWriter::RunWriter(db::Pool& pool)
    : pool_(pool),
      writes_("run writer", 20000, weight_of, [this](Writes::Group& group) { return commit_writes(group); }),
      creates_(
          "run creator", 1000, [](const RunCreate&) { return size_t{1}; },
          [this](Creates::Group& group) { return commit_creates(group); }) {}

task<> RunWriter::write(RunWrite request) { co_await writes_.submit(std::move(request)); }

task<RunCreated> RunWriter::create(RunCreate request) { co_return co_await creates_.submit(std::move(request)); }

task<> RunWriter::commit_writes(Writes::Group& group) {
  std::set<std::string> names;
  std::set<std::string> run_ids;
  std::set<std::string> with_params;
  std::set<std::string> models;
  for (const auto& item : group) {
    const RunWrite& write = item->input;
    run_ids.insert(write.run_id);
    if (!write.params.empty()) with_params.insert(write.run_id);
    for (const auto& metric : write.metrics) names.insert(metric.key);
    for (const auto& point : write.model_points) models.insert(point.model_id);
    for (const auto& param : write.params) names.insert(param.key);
    for (const auto& tag : write.tags) names.insert(tag.key);
  }
  const std::vector<std::string> run_list(run_ids.begin(), run_ids.end());
  const std::vector<std::string> param_list(with_params.begin(), with_params.end());
  const std::vector<std::string> name_list(names.begin(), names.end());
  const std::vector<std::string> model_list(models.begin(), models.end());

  auto body = [&](db::Transaction& tx) -> task<> {
    std::vector<db::Query> first;
    first.push_back({kLockRuns, db::Params::of(run_list, param_list)});
    first.push_back({kFindKeys, db::Params::of(name_list)});
    if (!model_list.empty()) first.push_back({kFindModels, db::Params::of(model_list)});
    const auto found = co_await tx.run(std::move(first));
    std::unordered_map<std::string, LockedRun> runs;
    for (int i = 0; i < found[0].size(); ++i) {
      LockedRun run;
      run.id = found[0].integer(i, 0);
      run.active = found[0].view(i, 2) == "active";
      if (!found[0].is_null(i, 3)) run.params = read_params(found[0].view(i, 3));
      runs.emplace(found[0].text(i, 1), std::move(run));
    }
    KeyIds keys;
    for (int i = 0; i < found[1].size(); ++i) {
      keys.emplace(found[1].text(i, 0), static_cast<int32_t>(found[1].integer(i, 1)));
    }
    std::set<std::string> models_there;
    for (int i = 0; !model_list.empty() && i < found[2].size(); ++i) models_there.insert(found[2].text(i, 0));
    if (keys.size() < name_list.size()) keys = co_await key_ids(tx, name_list);

    Columns columns;
    for (const auto& item : group) {
      item->error = nullptr;
      try {
        const auto run = runs.find(item->input.run_id);
        if (run == runs.end()) throw not_found("Run with id=" + item->input.run_id + " not found");
        if (!run->second.active) {
          throw invalid("The run " + item->input.run_id + " must be in the 'active' state. Current state is deleted.");
        }
        check_models(item->input, models_there);
        add(item->input, run->second, keys, columns);
      } catch (const Error&) {
        item->error = std::current_exception();
      }
    }
    co_await tx.run_and_commit(statements(columns));
  };
  co_await db::with_transaction(pool_, db::Isolation::kReadCommitted, body);
}

task<> RunWriter::commit_creates(Creates::Group& group) {
  std::vector<std::string> run_ids, run_names, users, tag_runs, tag_names, tag_values;
  std::vector<int64_t> experiments, start_times;
  std::set<std::string> names;
  for (const auto& item : group) {
    const RunCreate& create = item->input;
    run_ids.push_back(create.run_id);
    run_names.push_back(create.run_name);
    experiments.push_back(create.experiment_id);
    users.push_back(create.user_id);
    start_times.push_back(create.start_time);
    for (const KeyValue& tag : create.tags) {
      tag_runs.push_back(create.run_id);
      tag_names.push_back(tag.key);
      tag_values.push_back(tag.value);
      names.insert(tag.key);
    }
  }
  const std::vector<std::string> name_list(names.begin(), names.end());

  auto body = [&](db::Transaction& tx) -> task<> {
    co_await key_ids(tx, name_list);
    std::vector<db::Query> last;
    last.push_back({kCreateRuns, db::Params::of(run_ids, run_names, experiments, users, start_times, tag_runs,
                                                tag_names, tag_values)});
    last.push_back({kExperimentStages, db::Params::of(experiments)});
    const auto results = co_await tx.run_and_commit(std::move(last));
    std::unordered_map<std::string, std::string> made;
    for (int i = 0; i < results[0].size(); ++i) made.emplace(results[0].text(i, 0), results[0].text(i, 1));
    std::map<int64_t, std::string> stages;
    for (int i = 0; i < results[1].size(); ++i) stages.emplace(results[1].integer(i, 0), results[1].text(i, 1));
    for (const auto& item : group) {
      const auto run = made.find(item->input.run_id);
      item->error = nullptr;
      if (run != made.end()) {
        item->output.artifact_uri = run->second;
      } else {
        item->error = std::make_exception_ptr(experiment_error(item->input.experiment_id, stages));
      }
    }
  };
  co_await db::with_transaction(pool_, db::Isolation::kReadCommitted, body);
}

}  // namespace cairn::tracking
