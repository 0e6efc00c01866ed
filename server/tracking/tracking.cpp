#include "tracking/api.h"
#include "tracking/compare.h"
#include "tracking/experiments.h"
#include "tracking/history.h"
#include "tracking/logged_model_search.h"
#include "tracking/logged_models.h"
#include "tracking/run_inputs.h"
#include "tracking/run_writer.h"
#include "tracking/runs.h"
#include "tracking/search.h"

namespace cairn::tracking {

Tracking::Tracking(http::Router& router, db::Pool& pool) : writer_(std::make_unique<RunWriter>(pool)) {
  register_experiment_routes(router, pool);
  register_run_routes(router, pool, *writer_);
  register_history_routes(router, pool);
  register_search_routes(router, pool);
  register_compare_route(router, pool);
  register_run_input_routes(router, pool);
  register_logged_model_routes(router, pool);
  register_logged_model_search(router, pool);
}

Tracking::~Tracking() = default;

}  // namespace cairn::tracking
