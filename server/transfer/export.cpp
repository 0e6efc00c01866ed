// From Cairn's tables into an MLflow database, whose tables MLflow itself has made.
//
// Cairn's word counts, as MLflow's does in an import. Ids that MLflow makes up (of datasets and inputs) are made here
// from what they stand for, so that a second export finds them. NaN is is_nan with the value 0, infinities are the
// greatest doubles, as MLflow stores them.
#include <cstdlib>
#include <ostream>

#include "base/log.h"
#include "transfer/api.h"
#include "transfer/copier.h"
#include "transfer/mlflow.h"

namespace cairn::transfer {
namespace {

#define RUN_ID_FITS(column) "length(" column ") <= 32"
#define FINITE(column)                                                                                            \
  "CASE " column                                                                                                  \
  " WHEN 'NaN' THEN 0 WHEN 'Infinity' THEN 1.7976931348623157e308 WHEN '-Infinity' THEN -1.7976931348623157e308 " \
  "ELSE " column " END"

const Step kExperiments{
    "experiments",
    "SELECT experiment_id, name, coalesce(nullif(artifact_location, ''), 'mlflow-artifacts:/' || experiment_id), "
    "lifecycle_stage, creation_time, last_update_time, max(experiment_id) OVER () FROM tracking.experiments",
    "ORDER BY experiment_id",
    "experiment_id bigint, name text, artifact_location text, lifecycle_stage text, creation_time bigint, "
    "last_update_time bigint, greatest_id bigint",
    {
        {"LOCK TABLE experiments IN SHARE ROW EXCLUSIVE MODE"},
        {"INSERT INTO experiment_map (source_id, target_id) SELECT s.experiment_id, e.experiment_id "
         "FROM stage s JOIN experiments e ON e.name = s.name AND " IN_DEFAULT_WORKSPACE("e")},
        // Above all ids that are to be kept and fit MLflow's column, so that a new one takes none of them.
        {"SELECT setval(s.name, greatest(q.last_value, (SELECT max(greatest_id) FROM stage WHERE greatest_id < "
         "2147480000), "
         "(SELECT max(experiment_id) FROM experiments), 1)) "
         "FROM (SELECT pg_get_serial_sequence('experiments', 'experiment_id') AS name) s, "
         "LATERAL (SELECT coalesce(pg_sequence_last_value(s.name::regclass), 1) AS last_value) q"},
        {"INSERT INTO experiment_map (source_id, target_id) SELECT s.experiment_id, "
         "CASE WHEN s.experiment_id > 2147480000 "
         "OR EXISTS (SELECT FROM experiments e WHERE e.experiment_id = s.experiment_id) "
         "THEN nextval(pg_get_serial_sequence('experiments', 'experiment_id')) ELSE s.experiment_id END "
         "FROM stage s WHERE s.experiment_id NOT IN (SELECT source_id FROM experiment_map)"},
        {"INSERT INTO experiments AS e (experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
         "last_update_time) SELECT m.target_id, s.name, s.artifact_location, s.lifecycle_stage, s.creation_time, "
         "s.last_update_time FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id "
         "ON CONFLICT (experiment_id) DO UPDATE SET lifecycle_stage = excluded.lifecycle_stage, "
         "last_update_time = greatest(e.last_update_time, excluded.last_update_time) "
         "WHERE e.lifecycle_stage IS DISTINCT FROM excluded.lifecycle_stage",
         true},
    }};

const Step kExperimentTags{
    "experiment tags",
    "SELECT e.experiment_id, t.key, t.value FROM tracking.experiments e, jsonb_each_text(e.tags) t",
    "",
    "experiment_id bigint, key text, value text",
    {{"INSERT INTO experiment_tags AS t (experiment_id, key, value) SELECT m.target_id, s.key, s.value "
      "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id "
      "ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value "
      "WHERE t.value IS DISTINCT FROM excluded.value",
      true}}};

// Words that only describe are cut where MLflow's columns are shorter.
const Step kRuns{
    "runs",
    "SELECT run_id, left(run_name, 250), experiment_id, CASE status WHEN 'pending' THEN 'SCHEDULED' "
    "WHEN 'succeeded' THEN 'FINISHED' ELSE upper(status) END, lifecycle_stage, left(user_id, 256), "
    "CASE WHEN source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'PROJECT') THEN source_type ELSE 'UNKNOWN' END, "
    "left(source_name, 500), left(source_version, 50), left(entry_point_name, 50), "
    "coalesce(nullif(artifact_uri, ''), 'mlflow-artifacts:/' || experiment_id || '/' || run_id || '/artifacts'), "
    "start_time, end_time, (extract(epoch FROM deleted_at) * 1000)::bigint "
    "FROM tracking.training_runs WHERE " RUN_ID_FITS("run_id"),
    "",
    "run_uuid text, name text, experiment_id bigint, status text, lifecycle_stage text, user_id text, source_type "
    "text, "
    "source_name text, source_version text, entry_point_name text, artifact_uri text, start_time bigint, "
    "end_time bigint, deleted_time bigint",
    {{"INSERT INTO runs AS r (run_uuid, name, experiment_id, status, lifecycle_stage, user_id, source_type, "
      "source_name, "
      "source_version, entry_point_name, artifact_uri, start_time, end_time, deleted_time) "
      "SELECT s.run_uuid, s.name, m.target_id, s.status, s.lifecycle_stage, s.user_id, s.source_type, s.source_name, "
      "s.source_version, s.entry_point_name, s.artifact_uri, s.start_time, s.end_time, s.deleted_time "
      "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id ORDER BY s.run_uuid "
      "ON CONFLICT (run_uuid) DO UPDATE SET name = excluded.name, status = excluded.status, "
      "lifecycle_stage = excluded.lifecycle_stage, end_time = excluded.end_time, deleted_time = excluded.deleted_time "
      "WHERE (r.name, r.status, r.lifecycle_stage, r.end_time) IS DISTINCT FROM "
      "(excluded.name, excluded.status, excluded.lifecycle_stage, excluded.end_time)",
      true}}};

const Step kParams{
    "params",
    "SELECT r.run_id, k.name, p.value FROM tracking.params p JOIN tracking.keys k USING (key_id) "
    "JOIN tracking.training_runs r ON r.id = p.run WHERE " RUN_ID_FITS("r.run_id"),
    "",
    "run_uuid text, key text, value text",
    {{"INSERT INTO params (run_uuid, key, value) SELECT run_uuid, key, value FROM stage ORDER BY run_uuid, key "
      "ON CONFLICT DO NOTHING",
      true}}};

const Step kTags{
    "tags",
    "SELECT r.run_id, k.name, t.value FROM tracking.tags t JOIN tracking.keys k USING (key_id) "
    "JOIN tracking.training_runs r ON r.id = t.run WHERE " RUN_ID_FITS("r.run_id"),
    "",
    "run_uuid text, key text, value text",
    {{"INSERT INTO tags AS t (run_uuid, key, value) SELECT run_uuid, key, value FROM stage ORDER BY run_uuid, key "
      "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value WHERE t.value IS DISTINCT FROM excluded.value",
      true}}};

const Step kMetrics{
    "metric points",
    "SELECT run_id, key, step, \"timestamp\", " FINITE("value") ", value = 'NaN' FROM tracking.metrics "
    "WHERE " RUN_ID_FITS("run_id"),
    "",
    "run_uuid text, key text, step bigint, ts bigint, value double precision, is_nan boolean",
    {{"INSERT INTO metrics (run_uuid, key, step, \"timestamp\", value, is_nan) "
      "SELECT run_uuid, key, step, ts, value, is_nan FROM stage ON CONFLICT DO NOTHING",
      true}}};

const Step kLatestMetrics{
    "latest metrics",
    "SELECT r.run_id, k.name, s.last_step, s.last_timestamp, " FINITE("s.last_value") ", s.last_value = 'NaN' "
    "FROM tracking.metric_series s JOIN tracking.keys k USING (key_id) JOIN tracking.training_runs r ON r.id = s.run "
    "WHERE " RUN_ID_FITS("r.run_id"),
    "",
    "run_uuid text, key text, step bigint, ts bigint, value double precision, is_nan boolean",
    {{"INSERT INTO latest_metrics AS l (run_uuid, key, step, \"timestamp\", value, is_nan) "
      "SELECT run_uuid, key, step, ts, value, is_nan FROM stage ORDER BY run_uuid, key "
      "ON CONFLICT (key, run_uuid) DO UPDATE SET step = excluded.step, \"timestamp\" = excluded.\"timestamp\", "
      "value = excluded.value, is_nan = excluded.is_nan "
      "WHERE (excluded.step, excluded.\"timestamp\", excluded.value, excluded.is_nan) > "
      "(l.step, coalesce(l.\"timestamp\", 0), l.value, l.is_nan)",
      true}}};

const Step kDatasets{
    "datasets",
    "SELECT experiment_id, name, digest, source_type, source, schema, profile FROM tracking.datasets",
    "",
    "experiment_id bigint, name text, digest text, source_type text, source text, schema text, profile text",
    {{"INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source, "
      "dataset_schema, dataset_profile) SELECT md5(concat_ws('/', m.target_id, s.name, s.digest)), m.target_id, "
      "s.name, "
      "s.digest, s.source_type, s.source, s.schema, s.profile "
      "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id ON CONFLICT DO NOTHING",
      true}}};

const Step kInputs{
    "inputs",
    "SELECT r.run_id, d.experiment_id, d.name, d.digest, i.tags FROM tracking.inputs i "
    "JOIN tracking.datasets d USING (dataset_id) JOIN tracking.training_runs r ON r.id = i.run "
    "WHERE " RUN_ID_FITS("r.run_id"),
    "",
    "run_uuid text, experiment_id bigint, name text, digest text, tags jsonb",
    {{"CREATE TEMP TABLE found ON COMMIT DROP AS SELECT s.run_uuid, d.dataset_uuid, s.tags "
      "FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id "
      "JOIN datasets d ON (d.experiment_id, d.name, d.digest) = (m.target_id, s.name, s.digest)"},
     {"INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id) "
      "SELECT md5('DATASET/' || dataset_uuid || '/' || run_uuid), 'DATASET', dataset_uuid, 'RUN', run_uuid FROM found "
      "ON CONFLICT DO NOTHING",
      true},
     {"INSERT INTO input_tags AS o (input_uuid, name, value) SELECT i.input_uuid, t.key, t.value FROM found f "
      "JOIN inputs i ON (i.source_type, i.source_id, i.destination_type, i.destination_id) = "
      "('DATASET', f.dataset_uuid, 'RUN', f.run_uuid), jsonb_each_text(f.tags) t "
      "ON CONFLICT (input_uuid, name) DO UPDATE SET value = excluded.value WHERE o.value <> excluded.value"}}};

const Step kLoggedModels{
    "logged models",
    "SELECT l.model_id, l.experiment_id, l.name, coalesce(nullif(l.artifact_location, ''), "
    "'mlflow-artifacts:/' || l.experiment_id || '/models/' || l.model_id || '/artifacts'), "
    "CASE l.status WHEN 'READY' THEN 2 WHEN 'FAILED' THEN 3 ELSE 1 END, l.lifecycle_stage, l.model_type, "
    "left(l.source_run_id, 32), left(l.status_message, 1000), l.creation_time, l.last_updated_time, l.tags, l.params "
    "FROM tracking.logged_models l",
    "",
    "model_id text, experiment_id bigint, name text, artifact_location text, status int, lifecycle_stage text, "
    "model_type text, source_run_id text, status_message text, creation_time bigint, last_updated_time bigint, "
    "tags jsonb, params jsonb",
    {{"INSERT INTO logged_models AS l (model_id, experiment_id, name, artifact_location, status, lifecycle_stage, "
      "model_type, source_run_id, status_message, creation_timestamp_ms, last_updated_timestamp_ms) "
      "SELECT s.model_id, m.target_id, s.name, s.artifact_location, s.status, s.lifecycle_stage, "
      "nullif(s.model_type, ''), nullif(s.source_run_id, ''), nullif(s.status_message, ''), s.creation_time, "
      "s.last_updated_time FROM stage s JOIN experiment_map m ON m.source_id = s.experiment_id "
      "ON CONFLICT (model_id) DO UPDATE SET status = excluded.status, lifecycle_stage = excluded.lifecycle_stage, "
      "status_message = excluded.status_message, last_updated_timestamp_ms = excluded.last_updated_timestamp_ms "
      "WHERE (l.status, l.lifecycle_stage, l.status_message, l.last_updated_timestamp_ms) IS DISTINCT FROM "
      "(excluded.status, excluded.lifecycle_stage, excluded.status_message, excluded.last_updated_timestamp_ms)",
      true},
     {"INSERT INTO logged_model_tags AS o (model_id, experiment_id, tag_key, tag_value) "
      "SELECT l.model_id, l.experiment_id, t.key, t.value FROM stage s JOIN logged_models l USING (model_id), "
      "jsonb_each_text(s.tags) t ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value "
      "WHERE o.tag_value <> excluded.tag_value"},
     {"INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) "
      "SELECT l.model_id, l.experiment_id, p.key, p.value FROM stage s JOIN logged_models l USING (model_id), "
      "jsonb_each_text(s.params) p ON CONFLICT DO NOTHING"}}};

const Step kLoggedModelMetrics{
    "logged model metrics",
    "SELECT m.model_id, k.name, m.step, m.\"timestamp\", " FINITE("m.value") ", m.run_id, m.dataset_name, "
    "m.dataset_digest FROM tracking.logged_model_metrics m JOIN tracking.keys k USING (key_id)",
    "",
    "model_id text, key text, step bigint, ts bigint, value double precision, run_uuid text, dataset_name text, "
    "dataset_digest text",
    {{"INSERT INTO logged_model_metrics (model_id, metric_name, metric_step, metric_timestamp_ms, metric_value, "
      "experiment_id, run_id, dataset_uuid, dataset_name, dataset_digest) "
      "SELECT l.model_id, s.key, s.step, s.ts, s.value, l.experiment_id, r.run_uuid, d.dataset_uuid, s.dataset_name, "
      "s.dataset_digest FROM stage s JOIN logged_models l USING (model_id) JOIN runs r USING (run_uuid) "
      "LEFT JOIN datasets d ON (d.experiment_id, d.name, d.digest) = (l.experiment_id, s.dataset_name, "
      "s.dataset_digest) ON CONFLICT DO NOTHING",
      true}}};

const Step kModelsOfRuns{
    "run models",
    "SELECT r.run_id, i.model_id, upper(i.direction), i.step FROM tracking.model_io i "
    "JOIN tracking.training_runs r ON r.id = i.run WHERE " RUN_ID_FITS("r.run_id"),
    "",
    "run_uuid text, model_id text, direction text, step bigint",
    {{"INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step) "
      "SELECT md5(direction || '/' || run_uuid || '/' || model_id), 'RUN_' || direction, run_uuid, "
      "'MODEL_' || direction, model_id, step FROM stage ON CONFLICT DO NOTHING",
      true}}};

const Step kRegisteredModels{
    "registered models",
    "SELECT model_name, description, creation_time, last_updated_time, tags FROM registry.models",
    "",
    "name text, description text, creation_time bigint, last_updated_time bigint, tags jsonb",
    {{"INSERT INTO registered_models AS m (name, description, creation_time, last_updated_time) "
      "SELECT name, nullif(description, ''), creation_time, last_updated_time FROM stage ORDER BY name "
      "ON CONFLICT ON CONSTRAINT registered_model_pk DO UPDATE SET description = excluded.description, "
      "last_updated_time = greatest(m.last_updated_time, excluded.last_updated_time) "
      "WHERE m.description IS DISTINCT FROM excluded.description OR m.last_updated_time < excluded.last_updated_time",
      true},
     {"INSERT INTO registered_model_tags AS o (name, key, value) SELECT s.name, t.key, t.value "
      "FROM stage s, jsonb_each_text(s.tags) t ON CONFLICT ON CONSTRAINT registered_model_tag_pk "
      "DO UPDATE SET value = excluded.value WHERE o.value IS DISTINCT FROM excluded.value"}}};

const Step kModelVersions{
    "model versions",
    "SELECT m.model_name, v.version, v.description, v.user_id, v.current_stage, v.source, v.storage_location, "
    "v.run_id, "
    "v.run_link, v.status, v.status_message, v.creation_time, v.last_updated_time, v.tags "
    "FROM registry.model_versions v JOIN registry.models m USING (model_id)",
    "",
    "name text, version int, description text, user_id text, current_stage text, source text, storage_location text, "
    "run_id text, run_link text, status text, status_message text, creation_time bigint, last_updated_time bigint, "
    "tags jsonb",
    {{"INSERT INTO model_versions AS v (name, version, description, user_id, current_stage, source, storage_location, "
      "run_id, run_link, status, status_message, creation_time, last_updated_time) "
      "SELECT name, version, nullif(description, ''), nullif(user_id, ''), current_stage, source, "
      "nullif(storage_location, ''), CASE WHEN " RUN_ID_FITS(
          "run_id") " THEN run_id END, nullif(run_link, ''), status, "
                    "nullif(status_message, ''), creation_time, last_updated_time FROM stage ORDER BY name, version "
                    "ON CONFLICT ON CONSTRAINT model_version_pk DO UPDATE SET description = excluded.description, "
                    "current_stage = excluded.current_stage, status = excluded.status, status_message = "
                    "excluded.status_message, "
                    "last_updated_time = excluded.last_updated_time "
                    "WHERE (v.description, v.current_stage, v.status, v.status_message, v.last_updated_time) IS "
                    "DISTINCT FROM "
                    "(excluded.description, excluded.current_stage, excluded.status, excluded.status_message, "
                    "excluded.last_updated_time)",
      true},
     {"INSERT INTO model_version_tags AS o (name, version, key, value) SELECT s.name, s.version, t.key, t.value "
      "FROM stage s, jsonb_each_text(s.tags) t ON CONFLICT ON CONSTRAINT model_version_tag_pk "
      "DO UPDATE SET value = excluded.value WHERE o.value IS DISTINCT FROM excluded.value"}}};

// A number that a deleted version had is not given again: MLflow keeps a row for it.
const Step kLastVersions{
    "numbers of deleted versions",
    "SELECT m.model_name, m.last_version, m.last_updated_time FROM registry.models m WHERE m.last_version > "
    "(SELECT coalesce(max(v.version), 0) FROM registry.model_versions v WHERE v.model_id = m.model_id)",
    "",
    "name text, version int, time bigint",
    {{"INSERT INTO model_versions (name, version, current_stage, status, source, run_id, run_link, creation_time, "
      "last_updated_time) SELECT name, version, 'Deleted_Internal', 'READY', 'REDACTED-SOURCE-PATH', "
      "'REDACTED-RUN-ID', 'REDACTED-RUN-LINK', time, time FROM stage ON CONFLICT DO NOTHING",
      true}}};

const Step kAliases{
    "aliases",
    "SELECT m.model_name, a.alias, a.version FROM registry.model_aliases a JOIN registry.models m USING (model_id)",
    "",
    "name text, alias text, version int",
    {{"INSERT INTO registered_model_aliases AS a (name, alias, version) SELECT name, alias, version FROM stage "
      "ON CONFLICT ON CONSTRAINT registered_model_alias_pk DO UPDATE SET version = excluded.version "
      "WHERE a.version <> excluded.version",
      true}}};

const Step* const kSteps[] = {&kExperiments,
                              &kExperimentTags,
                              &kRuns,
                              &kParams,
                              &kTags,
                              &kMetrics,
                              &kLatestMetrics,
                              &kDatasets,
                              &kInputs,
                              &kLoggedModels,
                              &kLoggedModelMetrics,
                              &kModelsOfRuns,
                              &kRegisteredModels,
                              &kModelVersions,
                              &kLastVersions,
                              &kAliases};

constexpr const char* kRenumbered =
    "SELECT e.name, m.source_id, m.target_id FROM experiment_map m "
    "JOIN experiments e ON e.experiment_id = m.target_id WHERE m.source_id <> m.target_id ORDER BY m.source_id";
// The same before anything is written; a number that is not known yet is "new".
constexpr const char* kWouldRenumber =
    "SELECT s.name, s.experiment_id, coalesce(n.experiment_id::text, 'new') FROM stage s "
    "LEFT JOIN experiments n ON n.name = s.name AND " IN_DEFAULT_WORKSPACE("n") " "
    "WHERE coalesce(n.experiment_id <> s.experiment_id, s.experiment_id > 2147480000 "
    "OR EXISTS (SELECT FROM experiments i WHERE i.experiment_id = s.experiment_id)) ORDER BY 2";

constexpr struct {
  const char* what;
  const char* count;
} kLeftOut[] = {
    {"runs whose id is longer than MLflow's 32 characters",
     "SELECT count(*) FROM tracking.training_runs WHERE NOT " RUN_ID_FITS("run_id")},
    {"logged models' metrics of runs that are not there",
     "SELECT count(*) FROM tracking.logged_model_metrics l WHERE NOT EXISTS (SELECT FROM tracking.training_runs r "
     "WHERE r.run_id = l.run_id AND " RUN_ID_FITS("r.run_id") ")"},
    {"deployments", "SELECT count(*) FROM registry.deployments"},
    {"approvals", "SELECT count(*) FROM registry.approvals"},
    {"jobs", "SELECT count(*) FROM jobs.jobs"},
    {"events of the audit log", "SELECT count(*) FROM audit.events"},
};
constexpr const char* kArtifacts =
    "SELECT coalesce(substring(artifact_uri FROM '^([a-z][a-z0-9+.-]+:)'), 'no scheme (a path)'), count(*) "
    "FROM tracking.training_runs WHERE artifact_uri <> '' GROUP BY 1 ORDER BY 1";

}  // namespace

int export_mlflow(const Options& options, std::ostream& out, std::ostream& progress) {
  const auto begun = std::chrono::steady_clock::now();
  Summary summary;
  summary.action = "export";
  summary.dry_run = options.dry_run;
  summary.database = log::redact_url(options.mlflow_url);
  Session mlflow(libpq_url(options.mlflow_url), "MLflow's database");
  check_mlflow(mlflow, summary.database);
  Session cairn(options.connection_string, "Cairn's database");
  Copier copier(cairn, mlflow, options.dry_run, progress);
  mlflow.run("CREATE TEMP TABLE experiment_map (source_id bigint PRIMARY KEY, target_id bigint NOT NULL)");
  for (const Step* step : kSteps) summary.copied.push_back(copier.copy(*step));
  const Session::Result renumbered =
      options.dry_run ? copier.compare(kExperiments, kWouldRenumber) : mlflow.run(kRenumbered);
  for (const auto& row : renumbered.rows) summary.renumbered.push_back({row[0], row[1], row[2]});
  for (const auto& [what, count] : kLeftOut) {
    if (const int64_t rows = cairn.integer(count); rows > 0) summary.left_behind.emplace_back(what, rows);
  }
  for (const auto& row : cairn.run(kArtifacts).rows)
    summary.artifacts.emplace_back(row[0], std::strtoll(row[1].c_str(), nullptr, 10));
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  print_summary(summary, options.json, out);
  return 0;
}

}  // namespace cairn::transfer
