// Writes the pages of a new index. A page is made in memory and copied to its buffer when it is full, so that no lock
// is held while rows are sorted. Nothing is logged here: build.cpp logs the whole file.
#include <algorithm>

#include "am/ivfflat/builder.h"

namespace cairn::ivfflat {
namespace {

void write_page(const Builder& b, BlockNumber block, const PGAlignedBlock& page) {
  Buffer buffer = ReadBufferExtended(b.index, b.fork, block, RBM_NORMAL, nullptr);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  memcpy(BufferGetPage(buffer), page.data, BLCKSZ);
  MarkBufferDirty(buffer);
  UnlockReleaseBuffer(buffer);
}

BlockNumber add_page(const Builder& b) {
  Buffer buffer = new_buffer(b.index, b.fork);
  const BlockNumber block = BufferGetBlockNumber(buffer);
  MarkBufferDirty(buffer);
  UnlockReleaseBuffer(buffer);
  return block;
}

void append_page(const Builder& b, const PGAlignedBlock& page) { write_page(b, add_page(b), page); }

void write_meta(const Builder& b) {
  PGAlignedBlock page;
  init_page(page.data, PageKind::meta);
  auto* meta = reinterpret_cast<MetaPage*>(page_data(page.data));
  meta->magic = kMagic;
  meta->version = kVersion;
  meta->type = static_cast<uint32>(b.layout.type);
  meta->dimensions = b.layout.dimensions;
  meta->lists = b.lists;
  meta->centroids_begin = kDirectoryBlock + directory_pages(b.lists);
  meta->centroids_end = meta->centroids_begin + centroid_pages(b.layout, b.lists);
  meta->flags = b.layout.codes ? kHasCodes : 0;
  meta->seed = b.seed;
  set_page_used(page.data, kPageBegin + sizeof(MetaPage));
  append_page(b, page);
}

// heads: null for an empty directory at the end of the file, else what to write over it.
void write_directory(const Builder& b, const ListHead* heads) {
  const ListHead none = {InvalidBlockNumber, InvalidBlockNumber, 0};
  for (uint32 first = 0; first < b.lists; first += kListsPerPage) {
    const uint32 count = std::min(b.lists - first, kListsPerPage);
    PGAlignedBlock page;
    init_page(page.data, PageKind::directory);
    for (uint32 i = 0; i < count; ++i) *list_head(page.data, i) = heads != nullptr ? heads[first + i] : none;
    set_page_used(page.data, kPageBegin + count * static_cast<uint32>(sizeof(ListHead)));
    if (heads == nullptr)
      append_page(b, page);
    else
      write_page(b, directory_block(first), page);
  }
}

void write_centroids(const Builder& b) {
  const size_t end = static_cast<size_t>(b.lists) * b.layout.centroid_bytes;
  for (size_t at = 0; at < end; at += kCentroidBytesPerPage) {
    CHECK_FOR_INTERRUPTS();
    const auto bytes = static_cast<uint32>(std::min<size_t>(end - at, kCentroidBytesPerPage));
    PGAlignedBlock page;
    init_page(page.data, PageKind::centroids);
    memcpy(page_data(page.data), b.centroids + at, bytes);
    set_page_used(page.data, kPageBegin + bytes);
    append_page(b, page);
  }
}

}  // namespace

void write_head(const Builder& b) {
  write_meta(b);
  write_directory(b, nullptr);
  write_centroids(b);
}

class ListWriter {
 public:
  void begin(Builder* b) {
    builder_ = b;
    entry_block_ = vector_block_ = InvalidBlockNumber;
    heads_ = static_cast<ListHead*>(MemoryContextAlloc(b->context, b->lists * sizeof(ListHead)));
    for (uint32 i = 0; i < b->lists; ++i) heads_[i] = {InvalidBlockNumber, InvalidBlockNumber, 0};
  }

  void add(uint32 list, ItemPointer tid, const char* data) {
    const Layout& layout = builder_->layout;
    if (entry_block_ == InvalidBlockNumber || list != head()->list)
      next_list(list);
    else if (head()->count == layout.entries_per_page)
      next_entry_page(list);
    const uint32 i = head()->count++;
    Entry* entry = entry_at(layout, entries_.data, i);
    entry->tid = *tid;
    entry->unused = 0;
    const uint32 in_entry =
        layout.codes ? static_cast<uint32>(sizeof(Factors)) + layout.code_bytes : layout.payload_bytes;
    memcpy(entry->data(), data, in_entry);
    if (layout.codes) add_vector(i, data + in_entry);
  }

  void finish() {
    flush();
    write_directory(*builder_, heads_);
  }

 private:
  EntryHead* head() { return entry_head(entries_.data); }

  void next_list(uint32 list) {
    flush();
    entry_block_ = add_page(*builder_);
    heads_[list] = {entry_block_, entry_block_, 0};
    init_entry_page(builder_->layout, entries_.data, list);
  }

  void next_entry_page(uint32 list) {
    const BlockNumber next = add_page(*builder_);
    head()->next = next;
    flush();
    entry_block_ = next;
    heads_[list].insert = next;
    init_entry_page(builder_->layout, entries_.data, list);
  }

  void add_vector(uint32 i, const char* vector) {
    const Layout& layout = builder_->layout;
    const uint32 slot = i % layout.vectors_per_page;
    if (slot == 0) {
      flush_vectors();
      vector_block_ = add_page(*builder_);
      head()->vectors[i / layout.vectors_per_page] = vector_block_;
      init_page(vectors_.data, PageKind::vectors);
    }
    memcpy(slot_at(layout, vectors_.data, slot), vector, layout.payload_bytes);
    set_page_used(vectors_.data, kVectorsBegin + (slot + 1) * layout.slot_bytes);
  }

  void flush_vectors() {
    if (vector_block_ != InvalidBlockNumber) write_page(*builder_, vector_block_, vectors_);
    vector_block_ = InvalidBlockNumber;
  }

  void flush() {
    flush_vectors();
    if (entry_block_ == InvalidBlockNumber) return;
    set_page_used(entries_.data, builder_->layout.entries_begin + head()->count * builder_->layout.entry_bytes);
    write_page(*builder_, entry_block_, entries_);
    entry_block_ = InvalidBlockNumber;
  }

  Builder* builder_;
  ListHead* heads_;
  BlockNumber entry_block_;
  BlockNumber vector_block_;
  PGAlignedBlock entries_;
  PGAlignedBlock vectors_;
};

ListWriter* begin_lists(Builder* builder) {
  auto* writer = static_cast<ListWriter*>(MemoryContextAlloc(builder->context, sizeof(ListWriter)));
  writer->begin(builder);
  return writer;
}

void add_row(ListWriter* writer, uint32 list, ItemPointer tid, const char* data) { writer->add(list, tid, data); }

void finish_lists(ListWriter* writer) { writer->finish(); }

}  // namespace cairn::ivfflat
