// A run as MLflow's API shows it: read from the tables for a whole page at once, written as JSON by one function.
//
// Key names are read for each page, not remembered: after a failover or a restore the same key_id may mean another
// name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/task.h"
#include "db/transaction.h"

namespace cairn::tracking {

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct MetricView {
  std::string key;
  double value = 0;
  int64_t step = 0;
  int64_t timestamp = 0;
};

struct DatasetInputView {
  std::string name, digest, source_type, source;
  std::optional<std::string> schema, profile;
  Pairs tags;
};

struct ModelIoView {
  std::string model_id;
  int64_t step = 0;
};

struct RunView {
  int64_t id = 0;  // training_runs.id, which no client sees
  std::string run_id;
  int64_t experiment_id = 0;
  std::string run_name, user_id;
  std::string status;  // as stored: pending, running, …
  std::optional<int64_t> start_time, end_time;
  std::string artifact_uri, lifecycle_stage;
  std::vector<MetricView> metrics;
  Pairs params, tags;
  std::vector<DatasetInputView> dataset_inputs;
  std::vector<ModelIoView> model_inputs, model_outputs;
  // JSON that only GraphQL shows; nothing unless load_run_extras() was asked for it.
  std::string experiment;
  std::optional<std::string> model_versions;
};

struct RunExtras {
  bool experiment = false;
  bool model_versions = false;
};

// The runs with these training_runs.id, in the order of the ids; unknown ids are left out. Two round trips. Deleted
// runs are given like any other. Read in a repeatable-read transaction, a run is consistent in itself.
task<std::vector<RunView>> load_runs(db::Transaction& transaction, std::span<const int64_t> ids);

// Reads what is asked for beside the runs themselves, in one round trip.
task<> load_run_extras(db::Transaction& transaction, std::vector<RunView>& runs, RunExtras extras);

// {"info":…, "data":…, "inputs":…, "outputs":…}
void write_run(json::Writer& writer, const RunView& run);
// The value of "info", and of "run_info" where an answer has only that.
void write_run_info(json::Writer& writer, const RunView& run);

// The members of a jsonb object as texts, as jsonb_each_text() gives them: a number keeps all its digits.
Pairs json_members(std::string_view jsonb);
// `name`: [{"key":…, "value":…}, …]; nothing when there are none.
void write_pairs(json::Writer& writer, std::string_view name, const Pairs& pairs);

// SCHEDULED, RUNNING, FINISHED, FAILED, KILLED for what the status column holds, and back (nothing when it is none).
std::string_view mlflow_status(std::string_view stored);
std::optional<std::string_view> stored_status(std::string_view mlflow);

}  // namespace cairn::tracking
