// From an MLflow database into Cairn's tables.
//
// MLflow's word counts: what is in its database overwrites the same thing here; what is only here stays. Experiments
// are found by name, runs, logged models, registered models and versions by their ids and names, points by being equal.
#include <cstdlib>
#include <ostream>

#include "base/json.h"
#include "base/log.h"
#include "transfer/api.h"
#include "transfer/copier.h"
#include "transfer/mlflow.h"

namespace cairn::transfer {
namespace {

// Cairn's ids are MLflow's; databases that others wrote to may hold more than its server accepts.
#define RUN_ID_IS_FINE(column) "length(" column ") <= 256 AND " column R"( ~ '^[a-zA-Z0-9][\w\-]*$')"
#define MODEL_ID_IS_FINE(column) column " ~ '^m-[0-9a-f]{32}$'"

// Writers lock the runs that they write to, in the order of id (migrations, 0002).
constexpr Merge kLockRuns{
    "SELECT count(*) FROM (SELECT FROM tracking.training_runs WHERE run_id IN (SELECT run_id FROM stage) "
    "ORDER BY id FOR NO KEY UPDATE) l"};
constexpr Merge kAddKeys{
    "INSERT INTO tracking.keys (name) SELECT DISTINCT key COLLATE \"C\" FROM stage s "
    "WHERE NOT EXISTS (SELECT FROM tracking.keys k WHERE k.name = s.key) ORDER BY 1 ON CONFLICT DO NOTHING"};

const Step kExperiments{
    "experiments",
    "SELECT e.experiment_id, e.name, coalesce(e.artifact_location, ''), coalesce(e.lifecycle_stage, 'active'), "
    "coalesce(e.creation_time, 0), coalesce(e.last_update_time, e.creation_time, 0), "
    "max(e.experiment_id) OVER (), (SELECT coalesce(jsonb_object_agg(t.key, coalesce(t.value, '')), '{}') "
    "FROM experiment_tags t WHERE t.experiment_id = e.experiment_id) "
    "FROM experiments e WHERE " IN_DEFAULT_WORKSPACE("e"),
    "ORDER BY e.experiment_id",
    "experiment_id bigint, name text, artifact_location text, lifecycle_stage text, creation_time bigint, "
    "last_update_time bigint, greatest_id bigint, tags jsonb",
    {
        {"LOCK TABLE tracking.experiments IN SHARE ROW EXCLUSIVE MODE"},
        // Above all ids that are to be kept, so that a new one takes none of them.
        {"SELECT setval(s.name, greatest(q.last_value, (SELECT max(greatest_id) FROM stage), "
         "(SELECT max(experiment_id) FROM tracking.experiments), 1)) "
         "FROM (SELECT pg_get_serial_sequence('tracking.experiments', 'experiment_id') AS name) s, "
         "LATERAL (SELECT coalesce(pg_sequence_last_value(s.name::regclass), 1) AS last_value) q"},
        {"INSERT INTO experiment_map (source_id, target_id) "
         "SELECT s.experiment_id, e.experiment_id FROM stage s JOIN tracking.experiments e USING (name)"},
        {"INSERT INTO experiment_map (source_id, target_id) SELECT s.experiment_id, "
         "CASE WHEN EXISTS (SELECT FROM tracking.experiments e WHERE e.experiment_id = s.experiment_id) "
         "THEN nextval(pg_get_serial_sequence('tracking.experiments', 'experiment_id')) ELSE s.experiment_id END "
         "FROM stage s WHERE s.experiment_id NOT IN (SELECT source_id FROM experiment_map)"},
        {"INSERT INTO tracking.experiments AS e (experiment_id, name, artifact_location, lifecycle_stage, "
         "creation_time, "
         "last_update_time, tags, created_at) SELECT m.target_id, s.name, s.artifact_location, s.lifecycle_stage, "
         "s.creation_time, s.last_update_time, s.tags, to_timestamp(s.creation_time / 1000.0) "
         "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id ON CONFLICT (experiment_id) DO UPDATE "
         "SET "
         "lifecycle_stage = excluded.lifecycle_stage, tags = e.tags || excluded.tags, "
         "last_update_time = greatest(e.last_update_time, excluded.last_update_time) "
         "WHERE e.lifecycle_stage <> excluded.lifecycle_stage OR e.tags <> e.tags || excluded.tags",
         true},
    }};

const Step kRuns{
    "runs",
    "SELECT r.run_uuid, coalesce(nullif(r.name, ''), (SELECT t.value FROM tags t WHERE t.run_uuid = r.run_uuid "
    "AND t.key = 'mlflow.runName'), ''), r.experiment_id, CASE r.status WHEN 'SCHEDULED' THEN 'pending' "
    "WHEN 'FINISHED' THEN 'succeeded' ELSE coalesce(lower(r.status), 'running') END, "
    "coalesce(r.lifecycle_stage, 'active'), coalesce(r.user_id, ''), coalesce(r.source_type, ''), "
    "coalesce(r.source_name, ''), coalesce(r.source_version, ''), coalesce(r.entry_point_name, ''), "
    "coalesce(r.artifact_uri, ''), r.start_time, r.end_time, r.deleted_time "
    "FROM runs r JOIN experiments e USING (experiment_id) "
    "WHERE " IN_DEFAULT_WORKSPACE("e") " AND " RUN_ID_IS_FINE("r.run_uuid"),
    "",
    "run_id text COLLATE \"C\", run_name text, experiment_id bigint, status text, lifecycle_stage text, user_id text, "
    "source_type text, source_name text, source_version text, entry_point_name text, artifact_uri text, "
    "start_time bigint, end_time bigint, deleted_time bigint",
    {
        kLockRuns,
        // No ON CONFLICT: training_runs may be partitioned, and run_id is then unique by a table of its own.
        {"WITH wanted AS (SELECT s.*, m.target_id, "
         "CASE WHEN s.lifecycle_stage = 'deleted' THEN coalesce(to_timestamp(s.deleted_time / 1000.0), now()) END "
         "AS deleted_at FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id), "
         "changed AS (UPDATE tracking.training_runs r SET run_name = w.run_name, status = w.status, "
         "lifecycle_stage = w.lifecycle_stage, end_time = w.end_time, deleted_at = w.deleted_at "
         "FROM wanted w WHERE r.run_id = w.run_id AND (r.run_name, r.status, r.lifecycle_stage, r.end_time) "
         "IS DISTINCT FROM (w.run_name, w.status, w.lifecycle_stage, w.end_time) RETURNING 1), "
         "added AS (INSERT INTO tracking.training_runs (run_id, run_name, experiment_id, experiment_name, status, "
         "lifecycle_stage, user_id, source_type, source_name, source_version, entry_point_name, artifact_uri, "
         "start_time, end_time, deleted_at, created_at) "
         "SELECT w.run_id, w.run_name, w.target_id, '', w.status, w.lifecycle_stage, w.user_id, w.source_type, "
         "w.source_name, w.source_version, w.entry_point_name, w.artifact_uri, w.start_time, w.end_time, w.deleted_at, "
         "coalesce(to_timestamp(w.start_time / 1000.0), now()) FROM wanted w "
         "WHERE NOT EXISTS (SELECT FROM tracking.training_runs r WHERE r.run_id = w.run_id) "
         "ORDER BY w.start_time, w.run_id RETURNING 1) "
         "SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM added)",
         true},
    }};

const Step kParams{
    "params",
    "SELECT run_uuid, key, value FROM params",
    "ORDER BY run_uuid",
    "run_id text COLLATE \"C\", key text COLLATE \"C\", value text",
    {
        kAddKeys,
        kLockRuns,
        {"WITH added AS (INSERT INTO tracking.params (run, key_id, value) SELECT r.id, k.key_id, s.value "
         "FROM stage s JOIN tracking.training_runs r USING (run_id) JOIN tracking.keys k ON k.name = s.key "
         "ON CONFLICT DO NOTHING RETURNING run, key_id, value), "
         "documents AS (UPDATE tracking.training_runs t SET hyperparameters = t.hyperparameters || d.params, "
         "updated_at = now() FROM (SELECT a.run, jsonb_object_agg(k.name, a.value) AS params "
         "FROM added a JOIN tracking.keys k USING (key_id) GROUP BY a.run) d WHERE t.id = d.run) "
         "SELECT count(*) FROM added",
         true},
    }};

const Step kTags{
    "tags",
    "SELECT run_uuid, key, coalesce(value, '') FROM tags",
    "ORDER BY run_uuid",
    "run_id text COLLATE \"C\", key text COLLATE \"C\", value text",
    {
        kAddKeys,
        kLockRuns,
        {"INSERT INTO tracking.tags AS t (run, key_id, value) SELECT r.id, k.key_id, s.value "
         "FROM stage s JOIN tracking.training_runs r USING (run_id) JOIN tracking.keys k ON k.name = s.key "
         "ON CONFLICT (run, key_id) DO UPDATE SET value = excluded.value WHERE t.value <> excluded.value",
         true},
    }};

// In the order of the series, so that a series' points come together and its chunks are full. A run's points that are
// here already are read only as far as their chunks overlap the batch in time. A slice has no more points of a series
// than a client's batch, which is what chunks are made for.
const Step kMetrics{
    "metric points",
    "SELECT run_uuid, key, step, \"timestamp\", CASE WHEN is_nan THEN 'NaN' ELSE value END FROM metrics",
    "ORDER BY run_uuid, key, step",
    "run_id text COLLATE \"C\", key text COLLATE \"C\", step bigint, ts bigint, value double precision",
    {
        kAddKeys,
        kLockRuns,
        {"WITH points AS (SELECT r.id AS run, k.key_id, s.step, s.ts, s.value "
         "FROM stage s JOIN tracking.training_runs r USING (run_id) JOIN tracking.keys k ON k.name = s.key), "
         "series AS (SELECT run, key_id, min(ts) AS first, max(ts) AS last FROM points GROUP BY run, key_id), "
         "missing AS (SELECT * FROM points EXCEPT ("
         "SELECT run, key_id, m.last_step, m.last_timestamp, m.last_value "
         "FROM series JOIN tracking.metric_series m USING (run, key_id) UNION ALL "
         "SELECT run, key_id, u.* FROM series JOIN tracking.metric_series m USING (run, key_id), "
         "unnest(m.tail_steps, m.tail_timestamps, m.tail_values) u UNION ALL "
         "SELECT run, key_id, u.* FROM series s JOIN tracking.metric_chunks c USING (run, key_id), "
         "unnest(c.steps, c.timestamps, c.values) u WHERE c.max_timestamp >= s.first AND c.min_timestamp <= s.last)), "
         "slices AS (SELECT *, (row_number() OVER (PARTITION BY run, key_id ORDER BY step, ts) - 1) / 1000 AS slice "
         "FROM missing) "
         "SELECT count(*), tracking.append_metrics(array_agg(run), array_agg(key_id), array_agg(step), array_agg(ts), "
         "array_agg(value)) FROM slices GROUP BY slice ORDER BY slice",
         true},
    }};

const Step kDatasets{
    "datasets",
    "SELECT experiment_id, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile "
    "FROM datasets",
    "",
    "experiment_id bigint, name text, digest text, source_type text, source text, schema text, profile text",
    {{"INSERT INTO tracking.datasets (experiment_id, name, digest, source_type, source, schema, profile) "
      "SELECT m.target_id, s.name, s.digest, s.source_type, s.source, s.schema, s.profile "
      "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id ON CONFLICT DO NOTHING",
      true}}};

const Step kInputs{
    "inputs",
    "SELECT i.destination_id, d.experiment_id, d.name, d.digest, "
    "(SELECT coalesce(jsonb_object_agg(t.name, t.value), '{}') FROM input_tags t WHERE t.input_uuid = i.input_uuid) "
    "FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id "
    "WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN'",
    "",
    "run_id text COLLATE \"C\", experiment_id bigint, name text, digest text, tags jsonb",
    {kLockRuns,
     {"INSERT INTO tracking.inputs AS i (run, dataset_id, tags) SELECT r.id, d.dataset_id, s.tags "
      "FROM stage s JOIN tracking.training_runs r USING (run_id) JOIN experiment_map m ON m.source_id = "
      "s.experiment_id "
      "JOIN tracking.datasets d ON (d.experiment_id, d.name, d.digest) = (m.target_id, s.name, s.digest) "
      "ON CONFLICT (run, dataset_id) DO UPDATE SET tags = i.tags || excluded.tags "
      "WHERE i.tags <> i.tags || excluded.tags",
      true}}};

const Step kLoggedModels{
    "logged models",
    "SELECT l.model_id, l.experiment_id, l.name, l.artifact_location, "
    "CASE l.status WHEN 2 THEN 'READY' WHEN 3 THEN 'FAILED' ELSE 'PENDING' END, "
    "coalesce(l.lifecycle_stage, 'active'), coalesce(l.model_type, ''), l.source_run_id, "
    "coalesce(l.status_message, ''), l.creation_timestamp_ms, l.last_updated_timestamp_ms, "
    "(SELECT coalesce(jsonb_object_agg(t.tag_key, t.tag_value), '{}') FROM logged_model_tags t "
    "WHERE t.model_id = l.model_id), "
    "(SELECT coalesce(jsonb_object_agg(p.param_key, p.param_value), '{}') FROM logged_model_params p "
    "WHERE p.model_id = l.model_id) FROM logged_models l WHERE " MODEL_ID_IS_FINE("l.model_id"),
    "",
    "model_id text COLLATE \"C\", experiment_id bigint, name text, artifact_location text, status text, "
    "lifecycle_stage text, model_type text, source_run_id text, status_message text, creation_time bigint, "
    "last_updated_time bigint, tags jsonb, params jsonb",
    {{"INSERT INTO tracking.logged_models AS l (model_id, experiment_id, name, artifact_location, status, "
      "lifecycle_stage, model_type, source_run_id, status_message, creation_time, last_updated_time, tags, params, "
      "created_at) SELECT s.model_id, m.target_id, s.name, s.artifact_location, s.status, s.lifecycle_stage, "
      "s.model_type, s.source_run_id, s.status_message, s.creation_time, s.last_updated_time, s.tags, s.params, "
      "to_timestamp(s.creation_time / 1000.0) FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id "
      "ON CONFLICT (model_id) DO UPDATE SET status = excluded.status, lifecycle_stage = excluded.lifecycle_stage, "
      "status_message = excluded.status_message, last_updated_time = excluded.last_updated_time, "
      "tags = l.tags || excluded.tags, params = l.params || excluded.params WHERE (l.status, l.lifecycle_stage, "
      "l.status_message, l.last_updated_time, l.tags, l.params) IS DISTINCT FROM (excluded.status, "
      "excluded.lifecycle_stage, excluded.status_message, excluded.last_updated_time, l.tags || excluded.tags, "
      "l.params || excluded.params)",
      true}}};

const Step kLoggedModelMetrics{
    "logged model metrics",
    "SELECT model_id, metric_name, metric_step, metric_timestamp_ms, metric_value, run_id, dataset_name, "
    "dataset_digest FROM logged_model_metrics WHERE metric_value IS NOT NULL",
    "",
    "model_id text COLLATE \"C\", key text COLLATE \"C\", step bigint, ts bigint, value double precision, run_id text, "
    "dataset_name text, dataset_digest text",
    {kAddKeys,
     {"INSERT INTO tracking.logged_model_metrics (model_id, key_id, step, \"timestamp\", value, run_id, dataset_name, "
      "dataset_digest) SELECT l.model_id, k.key_id, s.step, s.ts, s.value, s.run_id, s.dataset_name, s.dataset_digest "
      "FROM stage s JOIN tracking.logged_models l USING (model_id) JOIN tracking.keys k ON k.name = s.key "
      "ON CONFLICT DO NOTHING",
      true}}};

const Step kModelsOfRuns{
    "run models",
    "SELECT source_id, destination_id, CASE source_type WHEN 'RUN_INPUT' THEN 'input' ELSE 'output' END, step "
    "FROM inputs WHERE (source_type, destination_type) IN (('RUN_INPUT', 'MODEL_INPUT'), "
    "('RUN_OUTPUT', 'MODEL_OUTPUT'))",
    "",
    "run_id text COLLATE \"C\", model_id text COLLATE \"C\", direction text, step bigint",
    {kLockRuns,
     {"INSERT INTO tracking.model_io (run, model_id, direction, step) SELECT r.id, l.model_id, s.direction, s.step "
      "FROM stage s JOIN tracking.training_runs r USING (run_id) JOIN tracking.logged_models l USING (model_id) "
      "ON CONFLICT DO NOTHING",
      true}}};

// Versions that MLflow keeps as deleted are left behind, but not their numbers.
const Step kRegisteredModels{
    "registered models",
    "SELECT m.name, coalesce(m.description, ''), coalesce(m.creation_time, 0), "
    "coalesce(m.last_updated_time, m.creation_time, 0), "
    "(SELECT coalesce(jsonb_object_agg(t.key, coalesce(t.value, '')), '{}') FROM registered_model_tags t "
    "WHERE t.name = m.name AND " IN_DEFAULT_WORKSPACE("t") "), "
    "(SELECT coalesce(max(v.version), 0) FROM model_versions v "
    "WHERE v.name = m.name AND " IN_DEFAULT_WORKSPACE("v") ") "
    "FROM registered_models m WHERE " IN_DEFAULT_WORKSPACE("m"),
    "",
    "name text, description text, creation_time bigint, last_updated_time bigint, tags jsonb, last_version int",
    {{"INSERT INTO registry.models AS m (model_name, description, creation_time, last_updated_time, tags, last_version, "
      "created_at) SELECT name, description, creation_time, last_updated_time, tags, last_version, "
      "to_timestamp(creation_time / 1000.0) FROM stage ORDER BY name ON CONFLICT (model_name) DO UPDATE SET "
      "description = excluded.description, tags = m.tags || excluded.tags, "
      "last_updated_time = greatest(m.last_updated_time, excluded.last_updated_time), "
      "last_version = greatest(m.last_version, excluded.last_version) WHERE m.description <> excluded.description "
      "OR m.tags <> m.tags || excluded.tags OR m.last_version < excluded.last_version "
      "OR m.last_updated_time < excluded.last_updated_time",
      true}}};

const Step kModelVersions{
    "model versions",
    "SELECT v.name, v.version, coalesce(v.description, ''), coalesce(v.user_id, ''), coalesce(v.current_stage, 'None'), "
    "coalesce(v.source, ''), coalesce(nullif(v.storage_location, ''), v.source, ''), nullif(v.run_id, ''), "
    "coalesce(v.run_link, ''), coalesce(v.status, 'READY'), coalesce(v.status_message, ''), "
    "coalesce(v.creation_time, 0), coalesce(v.last_updated_time, v.creation_time, 0), "
    "substring(v.source FROM '^models:/(m-[0-9a-f]{32})$'), "
    "(SELECT coalesce(jsonb_object_agg(t.key, coalesce(t.value, '')), '{}') FROM model_version_tags t "
    "WHERE (t.name, t.version) = (v.name, v.version) AND " IN_DEFAULT_WORKSPACE("t") ") "
    "FROM model_versions v WHERE v.current_stage <> 'Deleted_Internal' AND " IN_DEFAULT_WORKSPACE("v"),
    "ORDER BY v.creation_time, v.version",
    "name text, version int, description text, user_id text, current_stage text, source text, storage_location text, "
    "run_id text COLLATE \"C\", run_link text, status text, status_message text, creation_time bigint, "
    "last_updated_time bigint, logged_model_id text, tags jsonb",
    {{"SELECT count(*) FROM (SELECT FROM registry.models WHERE model_name IN (SELECT name FROM stage) "
      "ORDER BY model_name FOR NO KEY UPDATE) l"},
     kLockRuns,
     {"INSERT INTO registry.model_versions AS v (model_id, version, semver, description, user_id, current_stage, source, "
      "storage_location, run_id, run_link, status, status_message, creation_time, last_updated_time, logged_model_id, "
      "tags, registered_at) SELECT m.model_id, s.version, s.version || '.0.0', s.description, s.user_id, "
      "s.current_stage, s.source, s.storage_location, s.run_id, s.run_link, s.status, s.status_message, "
      "s.creation_time, s.last_updated_time, s.logged_model_id, s.tags, to_timestamp(s.creation_time / 1000.0) "
      "FROM stage s JOIN registry.models m ON m.model_name = s.name ORDER BY s.creation_time, s.version "
      "ON CONFLICT (model_id, version) DO UPDATE SET description = excluded.description, "
      "current_stage = excluded.current_stage, status = excluded.status, status_message = excluded.status_message, "
      "last_updated_time = excluded.last_updated_time, tags = v.tags || excluded.tags "
      "WHERE (v.description, v.current_stage, v.status, v.status_message, v.last_updated_time, v.tags) IS DISTINCT FROM "
      "(excluded.description, excluded.current_stage, excluded.status, excluded.status_message, "
      "excluded.last_updated_time, v.tags || excluded.tags)",
      true},
     // A model stands where its foremost version stands.
     {"UPDATE registry.models m SET status = n.status FROM (SELECT model_id, "
      "coalesce(min(lower(current_stage)) FILTER (WHERE current_stage IN ('Production', 'Staging')), 'draft') AS status "
      "FROM registry.model_versions GROUP BY model_id) n "
      "WHERE n.model_id = m.model_id AND n.status <> m.status AND m.model_name IN (SELECT name FROM stage)"}}};

const Step kAliases{
    "aliases",
    "SELECT a.name, a.alias, a.version FROM registered_model_aliases a WHERE " IN_DEFAULT_WORKSPACE("a"),
    "",
    "name text, alias text COLLATE \"C\", version int",
    {{"SELECT count(*) FROM (SELECT FROM registry.models WHERE model_name IN (SELECT name FROM stage) "
      "ORDER BY model_name FOR NO KEY UPDATE) l"},
     {"INSERT INTO registry.model_aliases AS a (model_id, alias, version) SELECT model_id, s.alias, s.version "
      "FROM stage s JOIN registry.models m ON m.model_name = s.name JOIN registry.model_versions v "
      "USING (model_id, version) ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version "
      "WHERE a.version <> excluded.version",
      true}}};

const Step* const kSteps[] = {&kExperiments,
                              &kRuns,
                              &kParams,
                              &kTags,
                              &kMetrics,
                              &kDatasets,
                              &kInputs,
                              &kLoggedModels,
                              &kLoggedModelMetrics,
                              &kModelsOfRuns,
                              &kRegisteredModels,
                              &kModelVersions,
                              &kAliases};

constexpr const char* kRenumbered =
    "SELECT e.name, m.source_id, m.target_id FROM experiment_map m "
    "JOIN tracking.experiments e ON e.experiment_id = m.target_id WHERE m.source_id <> m.target_id ORDER BY "
    "m.source_id";
// The same before anything is written; a number that is not known yet is "new".
constexpr const char* kWouldRenumber =
    "SELECT s.name, s.experiment_id, coalesce(n.experiment_id::text, 'new') FROM stage s "
    "LEFT JOIN tracking.experiments n USING (name) WHERE coalesce(n.experiment_id <> s.experiment_id, "
    "EXISTS (SELECT FROM tracking.experiments i WHERE i.experiment_id = s.experiment_id)) ORDER BY 2";

// Tables that the steps read, or that hold no data of users.
constexpr const char* kOtherTables =
    "SELECT c.relname, format('SELECT count(*) FROM %I', c.relname) FROM pg_class c "
    "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
    "AND c.relname NOT IN ('alembic_version', 'experiments', 'experiment_tags', 'runs', 'params', 'tags', 'metrics', "
    "'latest_metrics', 'datasets', 'inputs', 'input_tags', 'logged_models', 'logged_model_params', "
    "'logged_model_tags', 'logged_model_metrics', 'registered_models', 'registered_model_tags', 'model_versions', "
    "'model_version_tags', 'registered_model_aliases', 'job_locks', 'scheduler_leases') "
    "AND (c.relname <> 'workspaces' OR (SELECT count(*) FROM experiments e WHERE NOT " IN_DEFAULT_WORKSPACE("e") ") > 0) "
    "ORDER BY 1";
constexpr struct {
  const char* what;
  const char* count;
} kLeftOut[] = {
    {"experiments of other workspaces", "SELECT count(*) FROM experiments e WHERE NOT " IN_DEFAULT_WORKSPACE("e")},
    {"runs of other workspaces",
     "SELECT count(*) FROM runs JOIN experiments e USING (experiment_id) WHERE NOT " IN_DEFAULT_WORKSPACE("e")},
    {"registered models of other workspaces",
     "SELECT count(*) FROM registered_models m WHERE NOT " IN_DEFAULT_WORKSPACE("m")},
    {"deleted model versions (their numbers are not given again)",
     "SELECT count(*) FROM model_versions WHERE current_stage = 'Deleted_Internal'"},
    {"runs with an id that Cairn does not take",
     "SELECT count(*) FROM runs WHERE NOT (" RUN_ID_IS_FINE("run_uuid") ")"},
    {"logged models with an id that Cairn does not take",
     "SELECT count(*) FROM logged_models WHERE NOT (" MODEL_ID_IS_FINE("model_id") ")"},
    {"inputs of another kind",
     "SELECT count(*) FROM inputs WHERE (source_type, destination_type) NOT IN (('DATASET', 'RUN'), "
     "('RUN_INPUT', 'MODEL_INPUT'), ('RUN_OUTPUT', 'MODEL_OUTPUT'))"},
    {"logged models' metrics without a value", "SELECT count(*) FROM logged_model_metrics WHERE metric_value IS NULL"},
};
constexpr const char* kArtifacts =
    "SELECT coalesce(substring(artifact_uri FROM '^([a-z][a-z0-9+.-]+:)'), 'no scheme (a path)'), count(*) "
    "FROM runs WHERE artifact_uri <> '' GROUP BY 1 ORDER BY 1";

void look_at_the_rest(Session& mlflow, Summary& summary) {
  for (const auto& [what, count] : kLeftOut) {
    if (const int64_t rows = mlflow.integer(count); rows > 0) summary.left_behind.emplace_back(what, rows);
  }
  for (const auto& row : mlflow.run(kOtherTables).rows) {
    if (const int64_t rows = mlflow.integer(row[1]); rows > 0) summary.left_behind.emplace_back(row[0], rows);
  }
  for (const auto& row : mlflow.run(kArtifacts).rows)
    summary.artifacts.emplace_back(row[0], std::strtoll(row[1].c_str(), nullptr, 10));
}

// One row in the audit log for the whole import.
void audit(Session& cairn, const Summary& summary) {
  std::string details;
  json::Writer writer(details);
  writer.begin_object();
  int64_t all = 0;
  for (const Summary::Kind& kind : summary.copied) {
    writer.field(kind.name, kind.written);
    all += kind.written;
  }
  writer.end_object();
  if (all == 0) return;
  cairn.run("INSERT INTO audit.events (action, object_type, object_id, details) VALUES ('import', 'database', " +
            cairn.literal(summary.database) + ", " + cairn.literal(details) + ")");
}

}  // namespace

int import_mlflow(const Options& options, std::ostream& out, std::ostream& progress) {
  const auto begun = std::chrono::steady_clock::now();
  Summary summary;
  summary.action = "import";
  summary.dry_run = options.dry_run;
  summary.database = log::redact_url(options.mlflow_url);
  Session mlflow(libpq_url(options.mlflow_url), "MLflow's database");
  check_mlflow(mlflow, summary.database);
  Session cairn(options.connection_string, "Cairn's database");
  Copier copier(mlflow, cairn, options.dry_run, progress);
  cairn.run("CREATE TEMP TABLE experiment_map (source_id bigint PRIMARY KEY, target_id bigint NOT NULL)");
  for (const Step* step : kSteps) summary.copied.push_back(copier.copy(*step));
  const Session::Result renumbered =
      options.dry_run ? copier.compare(kExperiments, kWouldRenumber) : cairn.run(kRenumbered);
  for (const auto& row : renumbered.rows) summary.renumbered.push_back({row[0], row[1], row[2]});
  look_at_the_rest(mlflow, summary);
  if (!options.dry_run) audit(cairn, summary);
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  print_summary(summary, options.json, out);
  return 0;
}

}  // namespace cairn::transfer
