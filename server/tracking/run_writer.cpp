#include "tracking/run_writer.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/json.h"
#include "db/transaction.h"

namespace cairn::tracking {
namespace {

// Why arrays stand in subqueries: docs/ARCHITECTURE.md.
// Rows are locked in the order of their ids, so that two servers on one database cannot deadlock.
#define CAIRN_LOCK_RUNS                                                                              \
  "SELECT id, run_id, lifecycle_stage, CASE WHEN run_id = ANY($2::text[]) THEN hyperparameters END " \
  "FROM tracking.training_runs WHERE run_id = ANY((SELECT $1::text[])::text[]) ORDER BY id FOR NO KEY UPDATE"
constexpr db::Statement kLockRuns{"lock_runs", CAIRN_LOCK_RUNS};
constexpr db::Statement kLockFreeRuns{"lock_free_runs", CAIRN_LOCK_RUNS " SKIP LOCKED"};
constexpr db::Statement kRunsThere{
    "runs_there", "SELECT run_id FROM tracking.training_runs WHERE run_id = ANY((SELECT $1::text[])::text[])"};
// A group waits no longer for what another's transaction holds: everybody's writes wait behind it.
constexpr db::Statement kBoundWait{"bound_wait", "SET LOCAL lock_timeout = '1s'"};

constexpr db::Statement kFindKeys{
    "find_keys", "SELECT name, key_id FROM tracking.keys WHERE name = ANY((SELECT $1::text[])::text[])"};

constexpr db::Statement kAddKeys{
    "add_keys",
    "INSERT INTO tracking.keys (name) SELECT name FROM unnest($1::text[]) name ORDER BY name ON CONFLICT DO NOTHING"};

constexpr db::Statement kAppendMetrics{"append_metrics", "SELECT tracking.append_metrics($1, $2, $3, $4, $5)"};

// A logged model is only marked as deleted, and its row may not be removed until this transaction has ended.
constexpr db::Statement kFindModels{"find_logged_models",
                                    "SELECT model_id FROM tracking.logged_models"
                                    " WHERE model_id = ANY((SELECT $1::text[])::text[])"
                                    " ORDER BY model_id FOR KEY SHARE"};

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

// SHARE: an experiment that is being deleted is waited for, so that no active run comes to be in a deleted one.
#define CAIRN_CREATE_RUNS(skip)                                                                           \
  "WITH wanted AS ("                                                                                      \
  "  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]) "               \
  "  AS w (run_id, run_name, experiment_id, user_id, start_time)"                                         \
  "), made AS ("                                                                                          \
  "  INSERT INTO tracking.training_runs "                                                                 \
  "    (run_id, run_name, experiment_id, experiment_name, user_id, start_time, artifact_uri) "            \
  "  SELECT w.run_id, w.run_name, e.experiment_id, e.name, w.user_id, w.start_time, "                     \
  "    coalesce(nullif(e.artifact_location, ''), 'mlflow-artifacts:/' || e.experiment_id) "               \
  "      || '/' || w.run_id || '/artifacts' "                                                             \
  "  FROM wanted w JOIN tracking.experiments e USING (experiment_id) WHERE e.lifecycle_stage = 'active' " \
  "  FOR SHARE OF e " skip                                                                                \
  " RETURNING id, run_id, artifact_uri"                                                                   \
  "), tagged AS ("                                                                                        \
  "  INSERT INTO tracking.tags (run, key_id, value) SELECT made.id, k.key_id, t.value "                   \
  "  FROM unnest($6::text[], $7::text[], $8::text[]) AS t (run_id, name, value) "                         \
  "  JOIN made USING (run_id) JOIN tracking.keys k USING (name)"                                          \
  ") SELECT run_id, artifact_uri FROM made"
constexpr db::Statement kCreateRuns{"create_runs", CAIRN_CREATE_RUNS("")};
constexpr db::Statement kCreateRunsSkipping{"create_runs_skipping", CAIRN_CREATE_RUNS("SKIP LOCKED")};

constexpr db::Statement kExperimentStages{"experiment_stages",
                                          "SELECT experiment_id, lifecycle_stage FROM tracking.experiments"
                                          " WHERE experiment_id = ANY((SELECT $1::bigint[])::bigint[])"};

using KeyIds = std::unordered_map<std::string, int32_t>;

KeyIds read_keys(const db::Rows& rows) {
  KeyIds ids;
  for (int i = 0; i < rows.size(); ++i) ids.emplace(rows.text(i, 0), static_cast<int32_t>(rows.integer(i, 1)));
  return ids;
}

// The ids of names of which some are new.
task<KeyIds> add_keys(db::Transaction& tx, const std::vector<std::string>& names) {
  co_await tx.query(kAddKeys, db::Params::of(names));
  const db::Rows rows = co_await tx.query(kFindKeys, db::Params::of(names));
  co_return read_keys(rows);
}

// What is told of something that another transaction has locked for too long.
Error held(const std::string& what) {
  return Error(ErrorCode::kTemporarilyUnavailable,
               what + " is locked by another transaction; nothing was written. Send the request again later.");
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
  if (stage->second == "active") return held("The experiment " + std::to_string(id));
  return invalid("The experiment " + std::to_string(id) + " must be in the 'active' state. Current state is " +
                 stage->second + ".");
}

// Throws for a request that names a logged model that is not there.
void check_models(const RunWrite& write, const std::set<std::string>& there) {
  for (const ModelPoint& point : write.model_points) {
    if (!there.contains(point.model_id)) throw not_found("Logged model with ID '" + point.model_id + "' not found.");
  }
}

// A point is one, and so are 64 bytes of text.
size_t weight_of(std::initializer_list<const std::string*> texts) {
  size_t bytes = 0;
  for (const std::string* text : texts) bytes += text->size();
  return 1 + bytes / 64;
}

size_t weight_of(const std::vector<KeyValue>& pairs) {
  size_t weight = 0;
  for (const KeyValue& pair : pairs) weight += weight_of({&pair.key, &pair.value});
  return weight;
}

size_t weight_of(const RunWrite& write) {
  size_t weight = 1 + weight_of(write.params) + weight_of(write.tags);
  for (const Metric& metric : write.metrics) weight += weight_of({&metric.key});
  for (const ModelPoint& point : write.model_points)
    weight += weight_of({&point.model_id, &point.dataset_name, &point.dataset_digest});
  return weight;
}

// What a group of writes names.
struct Named {
  explicit Named(const db::Batcher<RunWrite, Nothing>::Group& group) {
    std::set<std::string> run_set, with_params, model_set, key_set;
    for (const auto& item : group) {
      const RunWrite& write = item->input;
      run_set.insert(write.run_id);
      if (!write.params.empty()) with_params.insert(write.run_id);
      for (const auto& metric : write.metrics) key_set.insert(metric.key);
      for (const auto& point : write.model_points) model_set.insert(point.model_id);
      for (const auto& param : write.params) key_set.insert(param.key);
      for (const auto& tag : write.tags) key_set.insert(tag.key);
    }
    runs.assign(run_set.begin(), run_set.end());
    runs_with_params.assign(with_params.begin(), with_params.end());
    models.assign(model_set.begin(), model_set.end());
    keys.assign(key_set.begin(), key_set.end());
  }
  std::vector<std::string> runs, runs_with_params, models, keys;
};

// What of it is there; the runs are locked.
struct Found {
  std::unordered_map<std::string, LockedRun> runs;
  std::set<std::string> held;  // runs that another transaction has locked
  std::set<std::string> models;
  KeyIds keys;
};

std::set<std::string> first_column(const db::Rows& rows) {
  std::set<std::string> values;
  for (int i = 0; i < rows.size(); ++i) values.insert(rows.text(i, 0));
  return values;
}

task<Found> find(db::Transaction& tx, const Named& named, bool skip_held) {
  std::vector<db::Query> queries;
  queries.push_back({kBoundWait, db::Params()});
  queries.push_back({skip_held ? kLockFreeRuns : kLockRuns, db::Params::of(named.runs, named.runs_with_params)});
  queries.push_back({kFindKeys, db::Params::of(named.keys)});
  if (!named.models.empty()) queries.push_back({kFindModels, db::Params::of(named.models)});
  if (skip_held) queries.push_back({kRunsThere, db::Params::of(named.runs)});
  const std::vector<db::Rows> rows = co_await tx.run(std::move(queries));
  Found found;
  for (int i = 0; i < rows[1].size(); ++i) {
    LockedRun run;
    run.id = rows[1].integer(i, 0);
    run.active = rows[1].view(i, 2) == "active";
    if (!rows[1].is_null(i, 3)) run.params = read_params(rows[1].view(i, 3));
    found.runs.emplace(rows[1].text(i, 1), std::move(run));
  }
  found.keys = read_keys(rows[2]);
  if (found.keys.size() < named.keys.size()) found.keys = co_await add_keys(tx, named.keys);
  if (!named.models.empty()) found.models = first_column(rows[3]);
  if (skip_held) found.held = first_column(rows.back());
  co_return found;
}

void add(const RunWrite& write, Found& found, Columns& columns) {
  const auto run = found.runs.find(write.run_id);
  if (run == found.runs.end() && found.held.contains(write.run_id)) throw held("The run " + write.run_id);
  if (run == found.runs.end()) throw not_found("Run with id=" + write.run_id + " not found");
  if (!run->second.active)
    throw invalid("The run " + write.run_id + " must be in the 'active' state. Current state is deleted.");
  check_models(write, found.models);
  add(write, run->second, found.keys, columns);
}

// Runs body(transaction, skip_held) and, where it waited too long for a lock, once more, now to skip what is held.
template <class Body>
task<> with_bounded_wait(db::Pool& pool, Body& body) {
  for (bool skip_held = false;; skip_held = true) {
    auto once = [&](db::Transaction& tx) { return body(tx, skip_held); };
    try {
      co_await db::with_transaction(pool, db::Isolation::kReadCommitted, once);
      co_return;
    } catch (const db::DbError& error) {
      if (skip_held || !error.is_lock_timeout()) throw;
    }
  }
}

}  // namespace

// 20,000 points a group: some tens of milliseconds of PostgreSQL's time, and a few MiB of parameters.
RunWriter::RunWriter(db::Pool& pool)
    : pool_(pool),
      writes_(
          "run writer", 20000, [](const RunWrite& write) { return weight_of(write); },
          [this](Writes::Group& group) { return commit_writes(group); }),
      creates_(
          "run creator", 10000, [](const RunCreate& create) { return 1 + weight_of(create.tags); },
          [this](Creates::Group& group) { return commit_creates(group); }) {}

task<> RunWriter::write(RunWrite request) { co_await writes_.submit(std::move(request)); }

task<RunCreated> RunWriter::create(RunCreate request) { co_return co_await creates_.submit(std::move(request)); }

task<> RunWriter::commit_writes(Writes::Group& group) {
  const Named named(group);
  auto body = [&](db::Transaction& tx, bool skip_held) -> task<> {
    Found found = co_await find(tx, named, skip_held);
    Columns columns;
    for (const auto& item : group) {
      item->error = nullptr;
      try {
        add(item->input, found, columns);
      } catch (const Error&) {
        item->error = std::current_exception();
      }
    }
    co_await tx.run_and_commit(statements(columns));
  };
  co_await with_bounded_wait(pool_, body);
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

  auto body = [&](db::Transaction& tx, bool skip_held) -> task<> {
    std::vector<db::Query> first;
    first.push_back({kBoundWait, db::Params()});
    first.push_back({kFindKeys, db::Params::of(name_list)});
    const auto found = co_await tx.run(std::move(first));
    if (found[1].size() < static_cast<int>(name_list.size())) co_await add_keys(tx, name_list);
    std::vector<db::Query> last;
    last.push_back(
        {skip_held ? kCreateRunsSkipping : kCreateRuns,
         db::Params::of(run_ids, run_names, experiments, users, start_times, tag_runs, tag_names, tag_values)});
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
  co_await with_bounded_wait(pool_, body);
}

}  // namespace cairn::tracking
