// Writes to runs: metrics, params and tags, many requests in one transaction (db/batcher.h).
//
// A request is written whole or not at all. Rules of MLflow: the run must exist and be active; a param keeps its first
// value; a tag takes its last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "db/batcher.h"
#include "db/pool.h"

namespace cairn::tracking {

struct Metric {
  std::string key;
  double value = 0;
  int64_t timestamp = 0;
  int64_t step = 0;
};

struct KeyValue {
  std::string key;
  std::string value;
};

// A point that is also one of a logged model, measured on a dataset or on none ("").
struct ModelPoint {
  size_t metric = 0;  // its place in RunWrite::metrics
  std::string model_id, dataset_name, dataset_digest;
};

struct RunWrite {
  std::string run_id;
  std::vector<Metric> metrics;
  std::vector<ModelPoint> model_points;
  std::vector<KeyValue> params;
  std::vector<KeyValue> tags;
  // A batch words a changed param in its own way.
  bool is_batch = false;
};

struct RunCreate {
  std::string run_id;
  std::string run_name;
  int64_t experiment_id = 0;
  std::string user_id;
  int64_t start_time = 0;
  std::vector<KeyValue> tags;
};

struct RunCreated {
  std::string artifact_uri;
};

struct Nothing {};

class RunWriter {
 public:
  // The pool must outlive the writer.
  explicit RunWriter(db::Pool& pool);
  // Returns after COMMIT. Throws Error: kResourceDoesNotExist, kInvalidParameterValue, kTemporarilyUnavailable when
  // another transaction keeps the run locked, kRequestLimitExceeded when too much waits, or what the database said.
  task<> write(RunWrite request);
  task<RunCreated> create(RunCreate request);

 private:
  using Writes = db::Batcher<RunWrite, Nothing>;
  using Creates = db::Batcher<RunCreate, RunCreated>;
  task<> commit_writes(Writes::Group& group);
  task<> commit_creates(Creates::Group& group);

  db::Pool& pool_;
  Writes writes_;
  Creates creates_;
};

}  // namespace cairn::tracking
