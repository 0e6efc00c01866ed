// Registered models, their versions and aliases as MLflow's API has them; environments, deployments, approvals and the
// audit log at /api/v1.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::registry {

// `pool` must outlive the router.
void register_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::registry
