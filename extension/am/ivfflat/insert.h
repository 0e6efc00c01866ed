// The access method's callback that inserts a row.
#pragma once

#include "am/ivfflat/page.h"

namespace cairn::ivfflat {

bool insert(Relation index, Datum* values, bool* nulls, ItemPointer tid, Relation heap, IndexUniqueCheck check,
            bool unchanged, IndexInfo* info);

// Changes where inserts into a list begin to look for room. The caller holds no lock on a page of the index.
void set_insert_page(Index& index, uint32 list, BlockNumber block);

}  // namespace cairn::ivfflat
