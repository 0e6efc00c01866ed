// Who may do what: users of the database, MLflow's routes for them, and the guard that decides about single objects.
// docs/reference/access.md has the rules.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "access/directory.h"
#include "access/guard.h"
#include "access/rules.h"
#include "db/pool.h"
#include "http/router.h"

namespace cairn::access {

// MLflow's users and permissions, and those of all kinds of objects at /api/v1/access. `directory` must outlive the
// router.
void register_routes(http::Router& router, Directory& directory);

// Whether what a route of this pattern changes is in the audit already, with the names of what has changed.
bool writes_own_events(std::string_view pattern);
// What a request has changed, for the audit: a kind of object ("run", "experiment"; "route" where none is known) and
// its id or name.
std::pair<std::string, std::string> changed_object(const http::Route& route, const http::Request& request,
                                                   const http::Response& response);

}  // namespace cairn::access
