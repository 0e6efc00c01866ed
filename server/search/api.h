// Documents and search: /api/v1/collections, and OpenAI's search of vector stores.
#pragma once

#include "db/pool.h"
#include "http/router.h"

namespace cairn::search {

// `pool` must outlive the router.
void register_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::search
