// What people look at in a browser, and what only that asks for.
#pragma once

#include "app/app.h"

namespace cairn::app {

// The page itself: / and /ui/.
void register_page(http::Router& router);

// /api/v1/database: what is in the database and what it does. Only reads.
void register_database_routes(http::Router& router, App& app);

}  // namespace cairn::app
