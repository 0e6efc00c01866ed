// Runs side by side: GET /api/v1/runs/compare.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_compare_route(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
