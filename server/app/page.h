// What people look at in a browser, and what only that asks for.
#pragma once

#include "app/desk.h"

namespace cairn::app {

// The page itself: / and /ui/.
void register_page(http::Router& router);

// /api/v1/database: what is in the database and what it does.
void register_database_routes(http::Router& router, App& app);
// The tuner's advice, and what is done about it.
void register_advice_routes(http::Router& router, const std::shared_ptr<Desk>& desk);
// Its partitions, replicas, backups and pooler.
void register_operations_routes(http::Router& router, const std::shared_ptr<Desk>& desk);

// /api/v1/events: what of it is told without being asked for again.
void register_events(http::Router& router, App& app);

}  // namespace cairn::app
