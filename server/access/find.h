// Which objects a request is about.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "access/rules.h"
#include "db/pool.h"

namespace cairn::access {

// What the request says where the rule looks: names, ids of runs, paths. An experiment's id is written as PostgreSQL
// would. Throws Error(kInvalidParameterValue) as the handler would.
std::vector<std::string> values_of(const Rule& rule, const http::Request& request);
// The objects that these stand for, as they are named in access.permissions. What is not there is left out.
task<std::vector<std::string>> find_objects(db::Pool& pool, const Rule& rule, std::vector<std::string> values);
// The views of these names that there are.
task<std::vector<std::string>> existing_views(db::Pool& pool, std::vector<std::string> names);

}  // namespace cairn::access
