// MLflow's /graphql: the few queries that its page sends, answered by the handlers of the REST API.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

// Artifacts and model versions are found through the router, where other modules serve them.
void register_graphql_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
