#include "tracking/logged_model_json.h"

#include "tracking/run_json.h"

namespace cairn::tracking {
namespace {

constexpr db::Statement kModels{
    "load_logged_models",
    "SELECT m.model_id, m.experiment_id, m.name, m.creation_time, m.last_updated_time, "
    "coalesce(nullif(m.artifact_location, ''), "
    "'mlflow-artifacts:/' || m.experiment_id || '/models/' || m.model_id || '/artifacts'), "
    "CASE m.status WHEN 'FAILED' THEN 'LOGGED_MODEL_UPLOAD_FAILED' ELSE 'LOGGED_MODEL_' || m.status END, "
    "nullif(m.status_message, ''), m.model_type, coalesce(m.source_run_id, ''), m.tags, m.params "
    "FROM unnest((SELECT $1::text[])) WITH ORDINALITY u (model_id, n) JOIN tracking.logged_models m USING (model_id) "
    "ORDER BY u.n"};
constexpr db::Statement kMetrics{
    "load_logged_model_metrics",
    "SELECT k.name, p.value, p.timestamp, p.step, nullif(p.dataset_name, ''), nullif(p.dataset_digest, ''), "
    "p.model_id, p.run_id "
    "FROM unnest((SELECT $1::text[])) WITH ORDINALITY u (model_id, n) JOIN tracking.logged_model_metrics p"
    " USING (model_id) JOIN tracking.keys k USING (key_id) ORDER BY u.n, k.name, p.timestamp, p.step, p.value"};

void write_metric(json::Writer& writer, const db::Rows& metrics, int row) {
  writer.begin_object();
  writer.field("key", metrics.view(row, 0));
  writer.field("value", metrics.number(row, 1));
  writer.field("timestamp", metrics.integer(row, 2));
  writer.field("step", metrics.integer(row, 3));
  writer.field("dataset_name", metrics.optional_text(row, 4));
  writer.field("dataset_digest", metrics.optional_text(row, 5));
  writer.field("model_id", metrics.view(row, 6));
  writer.field("run_id", metrics.view(row, 7));
  writer.end_object();
}

// Writes the model and gives the place behind its points, which begin at `point`: both are in the same order.
int write_model(json::Writer& writer, const LoggedModels& page, int index, int point) {
  const db::Rows& models = page.models;
  writer.begin_object();
  writer.key("info");
  writer.begin_object();
  writer.field("model_id", models.view(index, 0));
  writer.field("experiment_id", std::to_string(models.integer(index, 1)));
  writer.field("name", models.view(index, 2));
  writer.field("creation_timestamp_ms", models.integer(index, 3));
  writer.field("last_updated_timestamp_ms", models.integer(index, 4));
  writer.field("artifact_uri", models.view(index, 5));
  writer.field("status", models.view(index, 6));
  writer.field("status_message", models.optional_text(index, 7));
  writer.field("model_type", models.view(index, 8));
  writer.field("source_run_id", models.view(index, 9));
  write_pairs(writer, "tags", json_members(models.view(index, 10)));
  writer.end_object();
  writer.key("data");
  writer.begin_object();
  write_pairs(writer, "params", json_members(models.view(index, 11)));
  const auto is_own = [&] {
    return point < page.metrics.size() && page.metrics.view(point, 6) == models.view(index, 0);
  };
  if (is_own()) {
    writer.key("metrics");
    writer.begin_array();
    for (; is_own(); ++point) write_metric(writer, page.metrics, point);
    writer.end_array();
  }
  writer.end_object();
  writer.end_object();
  return point;
}

}  // namespace

task<LoggedModels> load_logged_models(db::Transaction& transaction, const std::vector<std::string>& model_ids) {
  std::vector<db::Query> queries;
  queries.push_back({kModels, db::Params::of(model_ids)});
  queries.push_back({kMetrics, db::Params::of(model_ids)});
  std::vector<db::Rows> results = co_await transaction.run(std::move(queries));
  co_return LoggedModels{std::move(results[0]), std::move(results[1])};
}

void write_logged_model(json::Writer& writer, const LoggedModels& models) { write_model(writer, models, 0, 0); }

void write_logged_models(json::Writer& writer, const LoggedModels& models) {
  writer.begin_array();
  int point = 0;
  for (int i = 0; i < models.models.size(); ++i) point = write_model(writer, models, i, point);
  writer.end_array();
}

}  // namespace cairn::tracking
