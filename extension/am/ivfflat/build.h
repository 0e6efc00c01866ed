// The access method's callbacks that build an index.
#pragma once

#include "pg/am.h"

namespace cairn::ivfflat {

// The phases that pg_stat_progress_create_index shows, beside PostgreSQL's first.
constexpr int64 kPhaseKmeans = 2;
constexpr int64 kPhaseAssign = 3;
constexpr int64 kPhaseLoad = 4;

IndexBuildResult* build(Relation heap, Relation index, IndexInfo* info);
void build_empty(Relation index);
char* build_phase_name(int64 phase);

}  // namespace cairn::ivfflat
