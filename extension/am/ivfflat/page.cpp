// PostgreSQL zone: every function may leave by ereport.
#include "am/ivfflat/page.h"

#include "am/ivfflat/metric.h"
#include "pg/arena.h"
#include "pg/recent_buffers.h"

namespace cairn::ivfflat {
namespace {

constexpr uint32 rounded_up(uint32 n, uint32 multiple) { return (n + multiple - 1) / multiple * multiple; }

uint32 payload_bytes_of(VectorType type, uint32 dimensions) {
  switch (type) {
    case VectorType::vector:
      return dimensions * sizeof(float);
    case VectorType::halfvec:
      return dimensions * sizeof(uint16);
    case VectorType::bit:
      return (dimensions + 7) / 8;
  }
  pg_unreachable();
}

// As many entries as fit with the numbers of the pages that hold their vectors.
void fit_entries(Layout* layout) {
  const uint32 room = kPageEnd - kPageBegin - sizeof(EntryHead);
  if (!layout->codes) {
    layout->entries_begin = kPageBegin + sizeof(EntryHead);
    layout->entries_per_page = room / layout->entry_bytes;
    return;
  }
  layout->slot_bytes = rounded_up(layout->payload_bytes, 8);
  layout->vectors_per_page = (kPageEnd - kVectorsBegin) / layout->slot_bytes;
  for (uint32 entries = room / layout->entry_bytes;; --entries) {
    const uint32 pages = (entries + layout->vectors_per_page - 1) / layout->vectors_per_page;
    const uint32 head = rounded_up(pages * sizeof(BlockNumber), 8);
    if (head + entries * layout->entry_bytes > room) continue;
    layout->vector_pages = pages;
    layout->entries_begin = kPageBegin + sizeof(EntryHead) + head;
    layout->entries_per_page = entries;
    return;
  }
}

const char* meta_problem(BlockNumber blocks, const MetaPage* meta, const TypeSupport* support) {
  if (meta->magic != kMagic) return "it is not a metapage of ivfflat";
  if (meta->version != kVersion) return "its version is not known";
  if (meta->type != static_cast<uint32>(support->type)) return "it is of another type";
  if (meta->dimensions < 1 || meta->dimensions > static_cast<uint32>(support->dimensions_max))
    return "its dimensions are out of range";
  if (meta->lists < kListsMin || meta->lists > kListsMax) return "its number of lists is out of range";
  const Layout layout = layout_of(support->type, meta->dimensions);
  if (meta->flags != (layout.codes ? kHasCodes : 0)) return "its flags do not fit its dimensions";
  if (meta->centroids_begin != kDirectoryBlock + directory_pages(meta->lists) ||
      meta->centroids_end != meta->centroids_begin + centroid_pages(layout, meta->lists))
    return "its centroids are out of place";
  if (meta->centroids_end > blocks) return "pages are missing";
  return nullptr;
}

constexpr const char* kPagesOfPgvector = "it was built by pgvector";

}  // namespace

Layout layout_of(VectorType type, uint32 dimensions) {
  Layout layout = {};
  layout.type = type;
  layout.dimensions = dimensions;
  layout.codes = type != VectorType::bit && dimensions >= kCodeDimensionsMin;
  layout.payload_bytes = payload_bytes_of(type, dimensions);
  if (type == VectorType::bit) {
    layout.centroid_bytes = rounded_up(layout.payload_bytes, 8);
  } else {
    layout.space = layout.codes ? static_cast<uint32>(core::padded_dimensions(dimensions)) : rounded_up(dimensions, 16);
    layout.centroid_bytes = layout.space * sizeof(float);
  }
  layout.code_bytes = layout.codes ? layout.space / 8 : 0;
  layout.entry_bytes =
      sizeof(Entry) + (layout.codes ? sizeof(Factors) + layout.code_bytes : rounded_up(layout.payload_bytes, 8));
  fit_entries(&layout);
  return layout;
}

const char* try_open_index(Relation relation, Index* index) {
  const TypeSupport* support = type_support(relation);
  index->relation = relation;
  index->blocks = RelationGetNumberOfBlocks(relation);
  index->metric = metric_of(relation);
  Buffer buffer = ReadBuffer(relation, kMetaBlock);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  MetaPage meta;
  memcpy(&meta, page_data(BufferGetPage(buffer)), sizeof(meta));
  const char* problem = page_problem(BufferGetPage(buffer), PageKind::meta);
  UnlockReleaseBuffer(buffer);
  if (meta.magic == kMagicOfPgvector) return kPagesOfPgvector;
  if (problem == nullptr) problem = meta_problem(index->blocks, &meta, support);
  if (problem != nullptr) return problem;
  index->layout = layout_of(support->type, meta.dimensions);
  index->lists = meta.lists;
  index->centroids_begin = meta.centroids_begin;
  index->centroids_end = meta.centroids_end;
  if (index->layout.codes) {
    pg::ContextArena arena(CurrentMemoryContext);
    index->rotation.init(meta.dimensions, meta.seed, &arena);
  }
  return nullptr;
}

void open_index(Relation relation, Index* index) {
  const char* problem = try_open_index(relation, index);
  if (problem == nullptr) return;
  if (problem != kPagesOfPgvector) report_corrupted(relation, kMetaBlock, problem);
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("index \"%s\" was built by pgvector", RelationGetRelationName(relation)),
                  errhint("Rebuild it: REINDEX INDEX %s;", quote_identifier(RelationGetRelationName(relation)))));
}

void init_page(Page page, PageKind kind) {
  PageInit(page, BLCKSZ, sizeof(PageEnd));
  auto* end = reinterpret_cast<PageEnd*>(PageGetSpecialPointer(page));
  end->unused = 0;
  end->kind = static_cast<uint16>(kind);
  end->page_id = kPageId;
}

void init_entry_page(const Layout& layout, Page page, uint32 list) {
  init_page(page, PageKind::entries);
  EntryHead* head = entry_head(page);
  head->next = InvalidBlockNumber;
  head->list = list;
  for (uint32 i = 0; i < layout.vector_pages; ++i) head->vectors[i] = InvalidBlockNumber;
  set_page_used(page, layout.entries_begin);
}

const char* page_problem(Page page, PageKind kind) {
  if (PageIsNew(page)) return "it is empty";
  if (PageGetPageSize(page) != BLCKSZ || reinterpret_cast<PageHeader>(page)->pd_special != kPageEnd)
    return "its header is broken";
  const auto* end = reinterpret_cast<const PageEnd*>(static_cast<const char*>(page) + kPageEnd);
  if (end->page_id != kPageId || end->kind != static_cast<uint16>(kind)) return "it is of another kind";
  return nullptr;
}

const char* entry_page_problem(const Index& index, Page page, uint32 list) {
  if (const char* problem = page_problem(page, PageKind::entries)) return problem;
  const EntryHead* head = entry_head(page);
  if (head->list != list) return "it belongs to another list";
  if (head->count > index.layout.entries_per_page) return "it counts more entries than fit";
  if (head->dead > head->count) return "it counts more dead entries than entries";
  return nullptr;
}

void report_corrupted(Relation relation, BlockNumber block, const char* problem) {
  ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
                  errmsg("page %u of ivfflat index \"%s\" is corrupted: %s", block, RelationGetRelationName(relation),
                         problem),
                  errhint("Rebuild it: REINDEX INDEX %s;", quote_identifier(RelationGetRelationName(relation)))));
}

static Buffer read_buffer(Index& index, BlockNumber block, int mode) {
  if (unlikely(block >= index.blocks)) {
    index.blocks = RelationGetNumberOfBlocks(index.relation);
    if (block >= index.blocks)
      report_corrupted(index.relation, block, "something points to it, but the index ends before it");
  }
  const Buffer buffer = pg::read_recent_buffer(index.relation, block, index.blocks);
  LockBuffer(buffer, mode);
  return buffer;
}

Buffer read_page(Index& index, BlockNumber block, PageKind kind, int mode) {
  Buffer buffer = read_buffer(index, block, mode);
  if (const char* problem = page_problem(BufferGetPage(buffer), kind)) report_corrupted(index.relation, block, problem);
  return buffer;
}

Buffer read_entry_page(Index& index, BlockNumber block, uint32 list, int mode) {
  Buffer buffer = read_buffer(index, block, mode);
  if (const char* problem = entry_page_problem(index, BufferGetPage(buffer), list))
    report_corrupted(index.relation, block, problem);
  return buffer;
}

ListHead read_list_head(Index& index, uint32 list) {
  Buffer buffer = read_page(index, directory_block(list), PageKind::directory, BUFFER_LOCK_SHARE);
  const ListHead head = *list_head(BufferGetPage(buffer), list);
  UnlockReleaseBuffer(buffer);
  return head;
}

Buffer new_buffer(Relation relation, ForkNumber fork) {
#if PG_VERSION_NUM >= 160000
  return ExtendBufferedRel(BMR_REL(relation), fork, nullptr, EB_LOCK_FIRST);
#else
  LockRelationForExtension(relation, ExclusiveLock);
  Buffer buffer = ReadBufferExtended(relation, fork, P_NEW, RBM_NORMAL, nullptr);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  UnlockRelationForExtension(relation, ExclusiveLock);
  return buffer;
#endif
}

}  // namespace cairn::ivfflat
