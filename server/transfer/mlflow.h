// What import and export know in common about MLflow's tables.
//
// Names are unique in a workspace, and Cairn has none: only the default workspace is copied. to_jsonb(row) ->>
// 'workspace' reads a column that older versions of MLflow do not have.
#pragma once

#include <string>

#include "transfer/session.h"

#define IN_DEFAULT_WORKSPACE(row) "coalesce(to_jsonb(" row ") ->> 'workspace', 'default') = 'default'"

namespace cairn::transfer {

// Throws Error(kInvalidParameterValue) unless the tables of MLflow 3 are there. `url` is for the message.
void check_mlflow(Session& mlflow, const std::string& url);

}  // namespace cairn::transfer
