// MLflow's /graphql: the few queries that its page sends, answered by the handlers of the REST API.
#pragma once

#include "http/router.h"
#include "tracking/run_json.h"

namespace cairn::tracking {

// What GraphQL asks for beside a run as REST shows it. It goes along with the request of the REST route, among the
// captures of its path, where no client can put anything.
RunExtras graphql_extras(const http::Request& request);

// What answers is found through the router, so that whatever stands before a route stands before its field, too.
void register_graphql_routes(http::Router& router);

}  // namespace cairn::tracking
