// Reads every page of an ivfflat index and says what is wrong with it.
#pragma once

#include "pg/am.h"

namespace cairn::ivfflat {

// Calls report(context, block, what) for everything that breaks docs/formats/ivfflat.md; the text lives during the call
// only. Locks as a scan does: inserts and vacuum may run beside, though they should not while all is to be found. The
// index is open with AccessShareLock.
void ivfflat_index_check(Relation index, void (*report)(void* context, BlockNumber block, const char* what),
                         void* context);

}  // namespace cairn::ivfflat
