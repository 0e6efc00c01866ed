// The queue of background work (training jobs) at /api/v1/jobs.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::jobs {

// `pool` must outlive the router.
void register_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::jobs
