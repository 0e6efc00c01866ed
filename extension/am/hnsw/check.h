// Reads every page of an hnsw index and says what is wrong with it.
#pragma once

#include "pg/am.h"

namespace cairn::hnsw {

// Calls report(context, block, what) for everything that breaks docs/formats/hnsw.md; the text lives during the call
// only. Locks as a scan does; what a vacuum beside it has half done may be reported.
void hnsw_index_check(Relation index, void (*report)(void* context, BlockNumber block, const char* what),
                      void* context);

}  // namespace cairn::hnsw
