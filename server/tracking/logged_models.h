// MLflow 3's logged models over HTTP: create, get, finalize, delete, params, tags. Their files are the artifacts
// module's, their points come with those of runs (run_writer.h).
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_logged_model_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
