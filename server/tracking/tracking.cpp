#include "tracking/api.h"

#include "http/mlflow.h"
#include "tracking/compare.h"
#include "tracking/experiments.h"
#include "tracking/graphql.h"
#include "tracking/history.h"
#include "tracking/logged_model_search.h"
#include "tracking/logged_models.h"
#include "tracking/run_inputs.h"
#include "tracking/run_writer.h"
#include "tracking/runs.h"
#include "tracking/search.h"

namespace cairn::tracking {
namespace {

// What newer clients ask before they use what not every server has.
task<http::Response> server_info(http::Request&) {
  co_return http::json_response(
      R"({"store_type":"SqlStore","workspaces_enabled":false,"trace_archival_enabled":false,)"
      R"("multipart_uploads_enabled":false,"multipart_downloads_enabled":false,)"
      R"("presigned_upload_run_id_supported":false,"presigned_upload_model_id_supported":false,)"
      R"("features_enabled":{"gateway":false}})");
}

}  // namespace

Tracking::Tracking(http::Router& router, db::Pool& pool) : writer_(std::make_unique<RunWriter>(pool)) {
  register_experiment_routes(router, pool);
  register_run_routes(router, pool, *writer_);
  register_history_routes(router, pool);
  register_search_routes(router, pool);
  register_compare_route(router, pool);
  register_run_input_routes(router, pool);
  register_logged_model_routes(router, pool);
  register_logged_model_search(router, pool);
  register_graphql_routes(router);
  http::add_mlflow_route(router, "GET", "/mlflow/server-info", server_info, {}, "3.0");
}

Tracking::~Tracking() = default;

}  // namespace cairn::tracking
