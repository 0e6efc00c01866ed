// The database kept healthy: `cairn maintain`, `cairn runbook`, the server's named jobs, GET
// /api/v1/database/maintenance/….
#pragma once

#include "db/pool.h"
#include "http/router.h"
#include "maintain/cli.h"
#include "maintain/runbook.h"
#include "maintain/schedule.h"

namespace cairn::maintain {

// `pool` must outlive the router.
void register_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::maintain
