// Where the pages of an index were last seen, a number a block, in the relation's cache entry: PostgreSQL's
// ReadRecentBuffer then spares the look-up in the shared table, which costs more than most of what is done with a page.
#pragma once

#include "pg/am.h"

namespace cairn::pg {

struct RecentBuffers {
  BlockNumber count;
  Buffer buffers[FLEXIBLE_ARRAY_MEMBER];
};

// The cache entry may be dropped whenever invalidations are taken in, so it is asked for anew at each read. `blocks` is
// about how many blocks the index has.
inline Buffer* recent_buffer(Relation index, BlockNumber block, BlockNumber blocks) {
  auto* recent = static_cast<RecentBuffers*>(index->rd_amcache);
  if (unlikely(recent == nullptr || block >= recent->count)) {
    if (recent != nullptr) pfree(recent);
    index->rd_amcache = nullptr;
    const BlockNumber count = Max(block, blocks) + blocks / 8 + 64;
    recent = static_cast<RecentBuffers*>(
        MemoryContextAllocExtended(index->rd_indexcxt, offsetof(RecentBuffers, buffers) + count * sizeof(Buffer),
                                   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
    recent->count = count;
    index->rd_amcache = recent;
  }
  return &recent->buffers[block];
}

// As ReadBuffer(index, block). The caller knows that block < blocks.
inline Buffer read_recent_buffer(Relation index, BlockNumber block, BlockNumber blocks) {
#if PG_VERSION_NUM >= 160000
  const auto& file = index->rd_locator;
#else
  const auto& file = index->rd_node;
#endif
  const Buffer recent = *recent_buffer(index, block, blocks);
  if (recent != InvalidBuffer && ReadRecentBuffer(file, MAIN_FORKNUM, block, recent)) return recent;
  const Buffer buffer = ReadBuffer(index, block);
  *recent_buffer(index, block, blocks) = buffer;
  return buffer;
}

}  // namespace cairn::pg
