// PostgreSQL zone. Beside what every reader checks (page.h), it looks at the values: that factors are numbers,
// that no vector page belongs to two entry pages, that what is counted is there, and that a code is that of
// its vector.
#include "am/ivfflat/check.h"

#include <algorithm>
#include <cmath>

#include "am/ivfflat/centroids.h"
#include "am/ivfflat/code.h"
#include "am/ivfflat/metric.h"
#include "am/ivfflat/page.h"
#include "kernels/distance.h"

namespace cairn::ivfflat {
namespace {

struct Check {
  Index index;
  void (*report)(void* context, BlockNumber block, const char* what);
  void* context;
  BlockNumber pages;
  uint8* reached;  // a byte for each block: something points to it
  char* entries;   // a copy of the entry page that is looked at, so that no lock is held while its vectors are read
  float* centroid;
  Prepared value;
  float* scratch;
  uint8* code;
};

__attribute__((format(printf, 3, 4))) void complain(const Check* check, BlockNumber block, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  check->report(check->context, block, text);
}

// Copies the page, whatever it is; false (and reported) if there is none.
bool copy_page(Check* check, BlockNumber from, BlockNumber block, char* copy) {
  if (block >= check->pages) {
    complain(check, from, "it points to page %u, of %u", block, check->pages);
    return false;
  }
  Buffer buffer = ReadBuffer(check->index.relation, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  memcpy(copy, BufferGetPage(buffer), BLCKSZ);
  UnlockReleaseBuffer(buffer);
  return true;
}

bool reach(Check* check, BlockNumber from, BlockNumber block) {
  if (check->reached[block] != 0) {
    complain(check, from, "it points to page %u, to which something else points", block);
    return false;
  }
  check->reached[block] = 1;
  return true;
}

// False where the lists cannot be read.
bool check_fixed_pages(Check* check) {
  Index& index = check->index;
  check->reached[kMetaBlock] = 1;
  bool readable = true;
  for (BlockNumber block = kDirectoryBlock; block < index.centroids_end; ++block) {
    PGAlignedBlock page;
    const bool directory = block < index.centroids_begin;
    check->reached[block] = 1;
    copy_page(check, kMetaBlock, block, page.data);
    if (const char* problem = page_problem(page.data, directory ? PageKind::directory : PageKind::centroids)) {
      complain(check, block, "%s", problem);
      readable = false;
    }
  }
  return readable;
}

void check_vector(Check* check, uint32 list, BlockNumber block, const Entry* entry, const char* stored) {
  Index& index = check->index;
  prepare(index.layout, index.metric, &index.rotation, stored, check->scratch, &check->value);
  const Factors* factors = entry->factors();
  const Factors made =
      make_code(index.layout, check->value.space, check->centroid, factors->norm, check->scratch, check->code);
  // Of values near the limits of a float no code can be made: a scan reads such vectors always.
  if (!std::isfinite(made.length_squared) || !std::isfinite(made.ratio) || !std::isfinite(made.error)) return;
  // What is nothing but rounding, where a vector lies in its centroid.
  const float noise = 1e-6f * core::inner_product(check->value.space, check->value.space, index.layout.space);
  if (made.length_squared <= noise && factors->length_squared <= noise) return;
  // Signs near zero may fall to either side on another machine; a wrong vector has half of them wrong.
  uint32 wrong = 0;
  for (uint32 i = 0; i < index.layout.code_bytes; ++i)
    wrong += static_cast<uint32>(__builtin_popcount(static_cast<unsigned>(check->code[i] ^ entry->code()[i])));
  const float slack = 1e-3f * made.length_squared + noise;
  if (wrong * 20 > index.layout.space || !(std::fabs(made.length_squared - factors->length_squared) <= slack) ||
      !std::isfinite(factors->ratio) || !std::isfinite(factors->error) || !std::isfinite(factors->norm))
    complain(check, block, "list %u: the code of row (%u,%u) is not that of its vector", list,
             ItemPointerGetBlockNumberNoCheck(&entry->tid), ItemPointerGetOffsetNumberNoCheck(&entry->tid));
}

void check_vectors(Check* check, uint32 list, BlockNumber block) {
  const Layout& layout = check->index.layout;
  const EntryHead* head = entry_head(check->entries);
  for (uint32 i = 0; i < layout.vector_pages; ++i) {
    const BlockNumber vectors = head->vectors[i];
    const uint32 begin = i * layout.vectors_per_page;
    if (vectors == InvalidBlockNumber) {
      if (begin < head->count) complain(check, block, "the page of the vectors from entry %u on is missing", begin);
      continue;
    }
    PGAlignedBlock page;
    if (!copy_page(check, block, vectors, page.data) || !reach(check, block, vectors)) continue;
    if (const char* problem = page_problem(page.data, PageKind::vectors)) {
      complain(check, vectors, "%s", problem);
      continue;
    }
    for (uint32 j = begin; j < std::min<uint32>(head->count, begin + layout.vectors_per_page); ++j) {
      const Entry* entry = entry_at(layout, check->entries, j);
      if (!is_dead(entry)) check_vector(check, list, block, entry, slot_at(layout, page.data, j - begin));
    }
  }
}

void check_list(Check* check, uint32 list) {
  Index& index = check->index;
  const Layout& layout = index.layout;
  const ListHead head = read_list_head(index, list);
  bool insert_found = head.insert == InvalidBlockNumber && head.first == InvalidBlockNumber;
  if (layout.codes) read_centroid(index, list, reinterpret_cast<char*>(check->centroid));
  BlockNumber from = directory_block(list);
  for (BlockNumber block = head.first; block != InvalidBlockNumber;) {
    CHECK_FOR_INTERRUPTS();
    if (!copy_page(check, from, block, check->entries) || !reach(check, from, block)) return;
    if (const char* problem = entry_page_problem(index, check->entries, list)) {
      complain(check, block, "%s", problem);
      return;
    }
    const EntryHead* entries = entry_head(check->entries);
    uint32 dead = 0;
    for (uint32 i = 0; i < entries->count; ++i) {
      const Entry* entry = entry_at(layout, check->entries, i);
      dead += is_dead(entry);
      if (!is_dead(entry) && ItemPointerGetBlockNumberNoCheck(&entry->tid) == InvalidBlockNumber)
        complain(check, block, "entry %u points to no page of the table", i);
    }
    if (dead != entries->dead) complain(check, block, "it has %u dead entries, and counts %u", dead, entries->dead);
    if (layout.codes) check_vectors(check, list, block);
    insert_found |= block == head.insert;
    from = block;
    block = entries->next;
  }
  if (!insert_found)
    complain(check, directory_block(list), "inserts into list %u begin at page %u, which is not in it", list,
             head.insert);
}

void check_unreached(Check* check) {
  for (BlockNumber block = 0; block < check->pages; ++block) {
    CHECK_FOR_INTERRUPTS();
    PGAlignedBlock page;
    // An empty page is what a crash between adding it and logging its use leaves.
    if (check->reached[block] == 0 && copy_page(check, block, block, page.data) && !PageIsNew(page.data))
      complain(check, block, "nothing points to it");
  }
}

void check_index(Relation relation, void (*report)(void* context, BlockNumber block, const char* what), void* context) {
  Check check = {};
  if (const char* problem = try_open_index(relation, &check.index)) {
    report(context, kMetaBlock, problem);
    return;
  }
  const Layout& layout = check.index.layout;
  check.report = report;
  check.context = context;
  check.pages = RelationGetNumberOfBlocks(relation);
  check.reached = static_cast<uint8*>(palloc_extended(check.pages, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  check.entries = static_cast<char*>(palloc(BLCKSZ));
  check.centroid = static_cast<float*>(palloc(layout.centroid_bytes));
  check.value = {static_cast<char*>(palloc(layout.payload_bytes)), static_cast<float*>(palloc(layout.centroid_bytes)),
                 1};
  check.scratch = static_cast<float*>(palloc(layout.centroid_bytes));
  check.code = static_cast<uint8*>(palloc(layout.code_bytes + 1));
  if (check_fixed_pages(&check)) {
    for (uint32 list = 0; list < check.index.lists; ++list) check_list(&check, list);
    check_unreached(&check);
  }
}

}  // namespace

void ivfflat_index_check(Relation relation, void (*report)(void* context, BlockNumber block, const char* what),
                         void* context) {
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "ivfflat check", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(memory);
  check_index(relation, report, context);
  MemoryContextSwitchTo(old);
  MemoryContextDelete(memory);
}

}  // namespace cairn::ivfflat
