// aminsert: one row into the pages.
#include "am/hnsw/am.h"
#include "am/hnsw/page_source.h"
#include "am/hnsw/writer.h"
#include "pg/arena.h"

namespace cairn::hnsw {

void insert_payload(const Index& index, core::Arena* arena, const void* payload, uint32_t bytes, ItemPointerData row) {
  PageSource source;
  source.init(&index);
  source.set_element(payload, bytes, row);
  core::Inserter<PageSource> inserter;
  inserter.init(&index.space, &source, index.ef_construction, arena);
  const int level = core::random_level(pg_prng_uint64(&pg_global_prng_state), index.space.layout.degree);

  // Vacuum waits for inserts that may have seen an element alive which it is about to take out. An element that becomes
  // the entry is alone, so that none can miss it.
  core::NodeId entry;
  int top;
  LOCKMODE mode = ShareLock;
  LockPage(index.relation, 0, mode);
  if (!source.entry(&entry, &top) || level > top) {
    UnlockPage(index.relation, 0, mode);
    mode = ExclusiveLock;
    LockPage(index.relation, 0, mode);
  }
  core::HeapTid tid;
  memcpy(&tid, &row, sizeof(tid));
  inserter.insert(payload, bytes, level, tid);
  UnlockPage(index.relation, 0, mode);
}

bool insert(Relation relation, Datum* values, bool* isnull, ItemPointer tid, Relation, IndexUniqueCheck, bool,
            IndexInfo*) {
  if (isnull[0]) return false;
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw insert", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  pg::ContextArena arena(context);
  Index index;
  Meta meta;
  describe(relation, &arena, &index, &meta);
  uint32_t bytes;
  const void* payload = form_payload(index, values[0], &bytes);
  if (payload != nullptr) {
    check_storable(index, payload);
    insert_payload(index, &arena, payload, bytes, *tid);
  }
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
  return false;
}

}  // namespace cairn::hnsw
