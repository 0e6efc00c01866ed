// What is streamed: /api/v1/features/training-sets (sets of the caller's rows, a query's or a table's, as CSV in
// pieces), and rows for a view.
#pragma once

#include "features/api.h"

namespace cairn::features {

void register_bulk_routes(http::Router& router, FeatureStore& store);

}  // namespace cairn::features
