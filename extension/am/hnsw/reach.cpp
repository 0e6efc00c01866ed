#include "am/hnsw/reach.h"

#include "pg/arena.h"

namespace cairn::hnsw {

uint32_t places_of_page(const Index& index) {
  return core::places_of_page(index.space.layout, index.element == Element::sparse ? 0 : vector_bytes(index));
}

void attach_lost_nodes(const Index& index, BufferAccessStrategy strategy, const core::Array<core::NodeId>* hidden) {
  const uint32_t places = places_of_page(index);
  const size_t bytes = core::Reach<ReachSource>::bytes(RelationGetNumberOfBlocks(index.relation), places);
  if (bytes / 1024 > static_cast<size_t>(maintenance_work_mem)) {
    ereport(LOG, (errmsg("did not look for rows that index \"%s\" no longer leads to",
                         RelationGetRelationName(index.relation)),
                  errhint("Set maintenance_work_mem to %zu kB at least.", bytes / 1024 + 1)));
    return;
  }
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw reach", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  pg::ContextArena arena(context);
  ReachSource source;
  source.init(&index, strategy);
  auto* reach = new (palloc(sizeof(core::Reach<ReachSource>))) core::Reach<ReachSource>;
  reach->init(&index.space, &source, places, index.ef_construction, &arena);
  reach->survey();
  size_t attached = reach->attach_lost();
  for (size_t i = 0; hidden != nullptr && i < hidden->size(); ++i) attached += reach->attach_hidden((*hidden)[i]);
  if (attached > 0)
    ereport(DEBUG1, (errmsg("%zu nodes of index \"%s\" were out of reach or hard to find, and are attached again",
                            attached, RelationGetRelationName(index.relation))));
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
}

}  // namespace cairn::hnsw
