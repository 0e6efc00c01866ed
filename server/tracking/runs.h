// Runs over HTTP: create, get, update, delete, restore, and logging of metrics, params and tags.
#pragma once

#include "base/json.h"
#include "db/transaction.h"
#include "http/router.h"
#include "tracking/run_json.h"
#include "tracking/run_writer.h"

namespace cairn::tracking {

void register_run_routes(http::Router& router, db::Pool& pool, RunWriter& writer);

task<http::Response> get_run(db::Pool& pool, http::Request& request);

// The run that a request names by run_id or, as older clients do, run_uuid. Throws when it names none.
std::string run_id_of(const json::Fields& fields);

struct ActiveRun {
  int64_t id = 0;  // training_runs.id
  int64_t experiment_id = 0;
};
// Locks the run against other writers until the transaction ends. Throws MLflow's errors for a run that is not there
// and for one that is deleted.
task<ActiveRun> lock_active_run(db::Transaction& transaction, const std::string& run_id);

}  // namespace cairn::tracking
