// Runs over HTTP: create, get, update, delete, restore, and logging of metrics, params and tags.
#pragma once

#include "db/pool.h"
#include "http/router.h"
#include "tracking/run_writer.h"

namespace cairn::tracking {

void register_run_routes(http::Router& router, db::Pool& pool, RunWriter& writer);

}  // namespace cairn::tracking
