// Experiments over HTTP: create, get, rename, delete, restore, tags.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "db/pool.h"
#include "http/router.h"

// What write_experiment() reads, from tracking.experiments e.
#define CAIRN_EXPERIMENT_COLUMNS                                                                                  \
  "e.experiment_id, e.name, coalesce(nullif(e.artifact_location, ''), 'mlflow-artifacts:/' || e.experiment_id), " \
  "e.lifecycle_stage, e.creation_time, e.last_update_time, e.tags"

namespace cairn::tracking {

void register_experiment_routes(http::Router& router, db::Pool& pool);

// The id in a request; throws MLflow's error when it is no integer. Ids too large to exist give -1.
int64_t parse_experiment_id(const std::string& text);

// An experiment as MLflow shows it, from a row of CAIRN_EXPERIMENT_COLUMNS.
void write_experiment(json::Writer& writer, const db::Rows& rows, int row);

}  // namespace cairn::tracking
