// The search for logged models over HTTP.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_logged_model_search(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
