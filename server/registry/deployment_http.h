// /api/v1: environments, deployments with their history, approvals, and the audit log.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::registry {

void register_deployment_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::registry
