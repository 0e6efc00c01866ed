// SQLAlchemy's metadata as statements, by the user's own Python.
#pragma once

#include <string>

#include "schema/autogenerate.h"

namespace cairn::app {

// `name`: MODULE:ATTRIBUTE of a MetaData or of what has one (a declarative base), found from the working directory. The
// schemas of tables that are marked info={"cairn": True} are left alone, such a table is there for foreign keys to it;
// so is `public` where no table is in it. Blocks. Throws Error(kInvalidParameterValue); what Python says goes to
// standard error.
schema::Wanted read_metadata(const std::string& name);

}  // namespace cairn::app
