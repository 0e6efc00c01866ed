// VACUUM: frees the entries of dead rows in place. Reads entry pages only, each once, under an exclusive lock that is
// held while the page's tids are looked up; scans and inserts run beside (see "Locks" in docs/formats/ivfflat.md).
#include "am/ivfflat/vacuum.h"

#include "am/ivfflat/insert.h"
#include "am/ivfflat/page.h"

namespace cairn::ivfflat {
namespace {

struct Vacuum {
  Index index;
  IndexBulkDeleteResult* stats;
  IndexBulkDeleteCallback callback;
  void* callback_state;
};

// Frees what is dead on the page in `buffer`; true if there is room on it then.
bool vacuum_page(Vacuum* vacuum, Buffer buffer) {
  const Layout& layout = vacuum->index.layout;
  GenericXLogState* record = nullptr;
  Page page = BufferGetPage(buffer);
  for (uint32 i = 0; i < entry_head(page)->count; ++i) {
    Entry* entry = entry_at(layout, page, i);
    if (is_dead(entry)) continue;
    if (!vacuum->callback(&entry->tid, vacuum->callback_state)) {
      vacuum->stats->num_index_tuples += 1;
      continue;
    }
    if (record == nullptr) {
      record = GenericXLogStart(vacuum->index.relation);
      page = GenericXLogRegisterBuffer(record, buffer, 0);
      entry = entry_at(layout, page, i);
    }
    ItemPointerSetInvalid(&entry->tid);
    ++entry_head(page)->dead;
    vacuum->stats->tuples_removed += 1;
  }
  const bool room = entry_head(page)->dead > 0 || entry_head(page)->count < layout.entries_per_page;
  if (record != nullptr) GenericXLogFinish(record);
  return room;
}

void vacuum_list(Vacuum* vacuum, uint32 list) {
  Index& index = vacuum->index;
  const ListHead head = read_list_head(index, list);
  BlockNumber room = InvalidBlockNumber;
  BlockNumber block = head.first;
  for (BlockNumber read = 0; block != InvalidBlockNumber; ++read) {
    vacuum_delay_point();
    if (read > index.blocks) report_corrupted(index.relation, block, "its list goes round in a circle");
    Buffer buffer = read_entry_page(index, block, list, BUFFER_LOCK_EXCLUSIVE);
    const BlockNumber next = entry_head(BufferGetPage(buffer))->next;
    if (vacuum_page(vacuum, buffer) && room == InvalidBlockNumber) room = block;
    UnlockReleaseBuffer(buffer);
    block = next;
  }
  if (room != InvalidBlockNumber && room != head.insert) set_insert_page(index, list, room);
}

}  // namespace

IndexBulkDeleteResult* bulk_delete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                   IndexBulkDeleteCallback callback, void* state) {
  if (stats == nullptr) stats = static_cast<IndexBulkDeleteResult*>(palloc0(sizeof(IndexBulkDeleteResult)));
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat vacuum", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(context);
  Vacuum vacuum = {};
  open_index(info->index, &vacuum.index);
  vacuum.stats = stats;
  vacuum.callback = callback;
  vacuum.callback_state = state;
  stats->num_index_tuples = 0;  // a second pass counts anew
  for (uint32 list = 0; list < vacuum.index.lists; ++list) vacuum_list(&vacuum, list);
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
  return stats;
}

IndexBulkDeleteResult* vacuum_cleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats) {
  // Nothing was dead: pg_class keeps what it has.
  if (info->analyze_only || stats == nullptr) return stats;
  stats->num_pages = RelationGetNumberOfBlocks(info->index);
  return stats;
}

}  // namespace cairn::ivfflat
