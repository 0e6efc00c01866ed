// Counts and checksums of all tables, as one snapshot sees them.
#pragma once

#include <vector>

#include "backup/repository.h"
#include "cluster/session.h"

namespace cairn::backup {

std::vector<TableFigure> table_figures(cluster::Session& session);

}  // namespace cairn::backup
