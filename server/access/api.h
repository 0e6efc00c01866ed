// Who may do what: users of the database, MLflow's routes for them, and the guard that decides about single objects.
// docs/reference/access.md has the rules.
#pragma once

#include "access/directory.h"
#include "access/guard.h"
#include "access/rules.h"
#include "db/pool.h"
#include "http/router.h"

namespace cairn::access {

// MLflow's users and permissions, and those of all kinds of objects at /api/v1/access. `directory` must outlive the
// router.
void register_routes(http::Router& router, Directory& directory);

}  // namespace cairn::access
