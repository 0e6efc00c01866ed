// The points of a metric over HTTP: get-history and its bulk form.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_history_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
