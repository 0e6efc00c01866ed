// runs/search and experiments/search.
#pragma once

#include "base/task.h"
#include "db/pool.h"
#include "http/router.h"
#include "tracking/run_json.h"
#include "tracking/search_sql.h"

namespace cairn::tracking {

task<http::Response> search_runs(db::Pool& pool, http::Request& request);
task<http::Response> search_experiments(db::Pool& pool, http::Request& request);

// Without those that the caller may not read.
void leave_out_hidden(std::vector<int64_t>& experiment_ids, const http::Request& request);

// The ids of the keys that a search mentions, for SearchQuery.
task<KeyIds> find_keys(db::Transaction& transaction, const Filter& filter, const std::vector<OrderBy>& order);

void register_search_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::tracking
