// Experiments over HTTP: create, get, rename, delete, restore, tags.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_experiment_routes(http::Router& router, db::Pool& pool);

// The id in a request; throws MLflow's error when it is no integer. Ids too large to exist give -1.
int64_t parse_experiment_id(const std::string& text);

}  // namespace cairn::tracking
