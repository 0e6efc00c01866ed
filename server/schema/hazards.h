// What a statement does to those who use the database meanwhile, and to its data; and what to do instead.
#pragma once

#include <string>

#include "schema/catalog.h"

namespace cairn::schema {

// `again`: it is made again in the same step.
std::string hazard_of_drop(const Object& object, bool again);
// Of something new on a table that is there already.
std::string hazard_of_creation(const Object& object);
// Of a column's new type.
std::string hazard_of_type(const Object& before, const Object& after);
std::string hazard_of_not_null(const Object& column);

}  // namespace cairn::schema
