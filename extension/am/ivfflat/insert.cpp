// Inserts: the nearest list, then the first entry page with room from where the directory says to look. One generic WAL
// record makes a row be there: its entry, its vector, and with them new pages where none had room.
//
// Locks: the entry page, then the next of its list, or the vector page; the directory only before the first entry page
// of its list.
#include "am/ivfflat/insert.h"

#include <algorithm>

#include "am/ivfflat/centroids.h"
#include "am/ivfflat/code.h"
#include "am/ivfflat/metric.h"

namespace cairn::ivfflat {
namespace {

// What the rows of one statement share.
struct InsertState {
  Index index;
  Prepared value;
  float* scratch;
  char* entry;  // entry_bytes, ready to be copied to a page
};

InsertState* make_state(Relation relation, IndexInfo* info) {
  MemoryContext old = MemoryContextSwitchTo(info->ii_Context);
  auto* state = static_cast<InsertState*>(palloc0(sizeof(InsertState)));
  open_index(relation, &state->index);
  const Layout& layout = state->index.layout;
  state->value.data = static_cast<char*>(palloc0(layout.payload_bytes));
  state->value.space = static_cast<float*>(palloc0(layout.centroid_bytes));
  state->scratch = static_cast<float*>(palloc0(std::max<size_t>(1, layout.space) * sizeof(float)));
  state->entry = static_cast<char*>(palloc0(layout.entry_bytes));
  MemoryContextSwitchTo(old);
  info->ii_AmCache = state;
  return state;
}

void make_entry(InsertState* state, uint32 list, ItemPointer tid) {
  Index& index = state->index;
  auto* entry = reinterpret_cast<Entry*>(state->entry);
  entry->tid = *tid;
  if (!index.layout.codes) {
    memcpy(entry->data(), state->value.data, index.layout.payload_bytes);
    return;
  }
  auto* centroid = static_cast<float*>(palloc(index.layout.centroid_bytes));
  read_centroid(index, list, reinterpret_cast<char*>(centroid));
  const float norm = index.metric == Metric::inner_product ? state->value.norm : 1;
  const Factors factors =
      make_code(index.layout, state->value.space, centroid, norm, state->scratch, const_cast<uint8*>(entry->code()));
  memcpy(entry->data(), &factors, sizeof(factors));
  pfree(centroid);
}

bool has_room(const Layout& layout, Page page) {
  return entry_head(page)->count < layout.entries_per_page || entry_head(page)->dead > 0;
}

// The entry to use: a dead one before a new one. `page` has room.
uint32 choose_entry(const Layout& layout, Page page) {
  EntryHead* head = entry_head(page);
  for (uint32 i = 0; head->dead > 0 && i < head->count; ++i) {
    if (!is_dead(entry_at(layout, page, i))) continue;
    --head->dead;
    return i;
  }
  if (head->count == layout.entries_per_page) return head->count;
  return head->count++;
}

// Puts the entry and its vector on `entries`, an image of the record; a vector page that is read or made stays locked
// in *vectors.
void put(InsertState& state, GenericXLogState* record, Page entries, BlockNumber block, Buffer* vectors) {
  const Layout& layout = state.index.layout;
  EntryHead* head = entry_head(entries);
  const uint32 i = choose_entry(layout, entries);
  if (i >= layout.entries_per_page)
    report_corrupted(state.index.relation, block, "it counts dead entries that it does not have");
  memcpy(entry_at(layout, entries, i), state.entry, layout.entry_bytes);
  set_page_used(entries, layout.entries_begin + head->count * layout.entry_bytes);
  if (!layout.codes) return;
  BlockNumber* vector_block = &head->vectors[i / layout.vectors_per_page];
  const uint32 slot = i % layout.vectors_per_page;
  Page page;
  if (*vector_block == InvalidBlockNumber) {
    *vectors = new_buffer(state.index.relation, MAIN_FORKNUM);
    *vector_block = BufferGetBlockNumber(*vectors);
    page = GenericXLogRegisterBuffer(record, *vectors, GENERIC_XLOG_FULL_IMAGE);
    init_page(page, PageKind::vectors);
  } else {
    *vectors = read_page(state.index, *vector_block, PageKind::vectors, BUFFER_LOCK_EXCLUSIVE);
    page = GenericXLogRegisterBuffer(record, *vectors, 0);
  }
  memcpy(slot_at(layout, page, slot), state.value.data, layout.payload_bytes);
  const uint32 used = kVectorsBegin + (slot + 1) * layout.slot_bytes;
  if (reinterpret_cast<PageHeader>(page)->pd_lower < used) set_page_used(page, used);
}

void finish(GenericXLogState* record, Buffer vectors) {
  GenericXLogFinish(record);
  if (BufferIsValid(vectors)) UnlockReleaseBuffer(vectors);
}

void put_on_page(InsertState& state, Buffer buffer) {
  GenericXLogState* record = GenericXLogStart(state.index.relation);
  Buffer vectors = InvalidBuffer;
  put(state, record, GenericXLogRegisterBuffer(record, buffer, 0), BufferGetBlockNumber(buffer), &vectors);
  finish(record, vectors);
}

// Adds an entry page with the row. `from` is the page that shall point to it, locked: the list's last entry page, or
// the directory's.
BlockNumber put_on_new_page(InsertState& state, uint32 list, Buffer from, bool from_directory) {
  GenericXLogState* record = GenericXLogStart(state.index.relation);
  Page from_page = GenericXLogRegisterBuffer(record, from, 0);
  Buffer buffer = new_buffer(state.index.relation, MAIN_FORKNUM);
  const BlockNumber block = BufferGetBlockNumber(buffer);
  Page page = GenericXLogRegisterBuffer(record, buffer, GENERIC_XLOG_FULL_IMAGE);
  init_entry_page(state.index.layout, page, list);
  if (from_directory)
    *list_head(from_page, list) = {block, block, 0};
  else
    entry_head(from_page)->next = block;
  Buffer vectors = InvalidBuffer;
  put(state, record, page, block, &vectors);
  finish(record, vectors);
  UnlockReleaseBuffer(buffer);
  return block;
}

// False if another backend was first.
bool put_on_first_page(InsertState& state, uint32 list) {
  Buffer directory = read_page(state.index, directory_block(list), PageKind::directory, BUFFER_LOCK_EXCLUSIVE);
  const bool first = list_head(BufferGetPage(directory), list)->first == InvalidBlockNumber;
  if (first) put_on_new_page(state, list, directory, true);
  UnlockReleaseBuffer(directory);
  return first;
}

// From `block` on along the list; returns the page that took the row.
BlockNumber put_on_list(InsertState& state, uint32 list, BlockNumber block) {
  Index& index = state.index;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    Buffer buffer = read_entry_page(index, block, list, BUFFER_LOCK_EXCLUSIVE);
    Page page = BufferGetPage(buffer);
    const BlockNumber next = entry_head(page)->next;
    if (has_room(index.layout, page)) {
      put_on_page(state, buffer);
      UnlockReleaseBuffer(buffer);
      return block;
    }
    if (next == InvalidBlockNumber) {
      const BlockNumber added = put_on_new_page(state, list, buffer, false);
      UnlockReleaseBuffer(buffer);
      return added;
    }
    UnlockReleaseBuffer(buffer);
    block = next;
  }
}

}  // namespace

void set_insert_page(Index& index, uint32 list, BlockNumber block) {
  Buffer buffer = read_page(index, directory_block(list), PageKind::directory, BUFFER_LOCK_EXCLUSIVE);
  GenericXLogState* record = GenericXLogStart(index.relation);
  Page page = GenericXLogRegisterBuffer(record, buffer, 0);
  list_head(page, list)->insert = block;
  GenericXLogFinish(record);
  UnlockReleaseBuffer(buffer);
}

bool insert(Relation relation, Datum* values, bool* nulls, ItemPointer tid, Relation, IndexUniqueCheck, bool,
            IndexInfo* info) {
  if (nulls[0]) return false;
  auto* state = static_cast<InsertState*>(info->ii_AmCache);
  if (state == nullptr) state = make_state(relation, info);
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat insert", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(context);
  Index& index = state->index;
  const Value value = value_of(index.layout.type, values[0]);
  check_dimensions(index.layout, value.dimensions);
  if (prepare(index.layout, index.metric, &index.rotation, value.data, state->scratch, &state->value)) {
    const uint32 list = nearest_list(index, state->value.space);
    make_entry(state, list, tid);
    ListHead head = read_list_head(index, list);
    if (head.first == InvalidBlockNumber && !put_on_first_page(*state, list)) head = read_list_head(index, list);
    if (head.first != InvalidBlockNumber) {
      const BlockNumber used = put_on_list(*state, list, head.insert);
      if (used != head.insert) set_insert_page(index, list, used);
    }
  }
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
  return false;
}

}  // namespace cairn::ivfflat
