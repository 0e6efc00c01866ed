// The tracking module, as the rest of the server sees it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

class RunWriter;

// Everything of MLflow's tracking API. Holds what the handlers share; pool and router must outlive it.
class Tracking {
 public:
  Tracking(http::Router& router, db::Pool& pool);
  ~Tracking();

 private:
  std::unique_ptr<RunWriter> writer_;
};

// What a run was trained on, in MLflow's words.
struct DatasetInput {
  std::string name, digest, source_type, source, schema, profile;
};
// As MLflow's log_input. Throws Error(kResourceDoesNotExist), or Error(kInvalidParameterValue) for a deleted run.
task<> log_training_dataset(db::Pool& pool, std::string run_id, DatasetInput dataset);
// The ids of the runs whose input it is.
task<std::vector<std::string>> runs_trained_on(db::Pool& pool, std::string name, std::string digest);

}  // namespace cairn::tracking
