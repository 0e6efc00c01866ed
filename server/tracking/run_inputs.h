// What runs read and write besides their values: datasets and models, over HTTP. Also the summaries of an experiment's
// datasets and the model history of MLflow 2, which is a tag.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

void register_run_input_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
