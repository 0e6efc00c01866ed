#include "am/hnsw/page_source.h"

#include <cmath>
#include <limits>

#include "pg/recent_buffers.h"

namespace cairn::hnsw {
namespace {

constexpr uint32_t kMaxNodeBytes = BLCKSZ;
// A new node is tried in so many pages with free places, which may be too short, before the index grows.
constexpr int kTriedPages = 16;

// In the free space map.
constexpr Size kFreePageSpace = BLCKSZ - 1;
constexpr Size kFreePlaceSpace = BLCKSZ / 2;

// A page that vacuum has given back, or a new one; exclusively locked. What the free space map says is only believed
// where the page agrees: the map is not in the WAL.
Buffer free_or_new_page(Relation index, core::PageKind wanted) {
  for (;;) {
    const BlockNumber block =
        GetPageWithFreeSpace(index, wanted == core::kNodePage ? kFreePlaceSpace : kFreePageSpace - BLCKSZ / 4);
    if (block == InvalidBlockNumber) return pg::extend_index(index);
    RecordUsedIndexPage(index, block);
    if (block == 0 || block >= RelationGetNumberOfBlocks(index)) continue;
    const Buffer buffer = ReadBuffer(index, block);
    LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
    Page page = BufferGetPage(buffer);
    if (PageIsNew(page)) return buffer;
    const core::PageTail* tail = core::page_tail(reinterpret_cast<uint8_t*>(page));
    const bool usable = tail->kind == core::kFreePage || (tail->kind == core::kNodePage && wanted == core::kNodePage);
    if (tail->page_id == core::kPageId && usable) return buffer;
    UnlockReleaseBuffer(buffer);
  }
}

}  // namespace

void tell_free(Relation index, BlockNumber block, core::PageKind kind) {
  RecordPageWithFreeSpace(index, block, kind == core::kFreePage ? kFreePageSpace : kFreePlaceSpace);
}

void PageSource::init(const Index* index) {
  index_ = index;
  blocks_ = RelationGetNumberOfBlocks(index->relation);
  copy_ = static_cast<uint8_t*>(palloc(kMaxNodeBytes));
  const bool fixed = index->element != Element::sparse;
  node_bytes_ = fixed ? index->space.layout.node_bytes(vector_bytes(*index)) : 0;
}

void PageSource::set_element(const void* payload, uint32_t payload_bytes, ItemPointerData row) {
  payload_ = payload;
  payload_bytes_ = payload_bytes;
  row_ = row;
  outside_ = core::kNoBlock;
}

// InvalidBuffer where the index has no such block.
Buffer PageSource::read_block(BlockNumber block) {
  Relation relation = index_->relation;
  if (block >= blocks_) {
    blocks_ = RelationGetNumberOfBlocks(relation);
    if (block >= blocks_) return InvalidBuffer;
  }
  return pg::read_recent_buffer(relation, block, blocks_);
}

void PageSource::prefetch(core::NodeId id) {
  const auto* recent = static_cast<const pg::RecentBuffers*>(index_->relation->rd_amcache);
  const BlockNumber block = core::node_block(id);
  if (recent == nullptr || block >= recent->count || recent->buffers[block] <= 0) return;
  // Not pinned: the bytes are not looked at.
  if (node_bytes_ != 0)
    core::prefetch_node(reinterpret_cast<const uint8_t*>(BufferGetBlock(recent->buffers[block])), core::node_offset(id),
                        node_bytes_);
}

// Whatever lies there in a page of nodes.
PageSource::Item PageSource::lock_item(core::NodeId id, int mode) {
  Item at{read_block(core::node_block(id)), nullptr, nullptr, 0};
  if (at.buffer == InvalidBuffer) return at;
  LockBuffer(at.buffer, mode);
  at.page = reinterpret_cast<uint8_t*>(BufferGetPage(at.buffer));
  const core::PageTail* tail = core::page_tail(at.page);
  if (tail->page_id == core::kPageId && tail->kind == core::kNodePage)
    at.bytes = core::page_item(at.page, core::node_offset(id), &at.length);
  if (at.bytes == nullptr) UnlockReleaseBuffer(at.buffer);
  return at;
}

PageSource::Locked PageSource::lock(core::NodeId id, int mode) {
  const Item at = lock_item(id, mode);
  auto* node = reinterpret_cast<core::Node*>(at.bytes);
  if (node == nullptr) return {InvalidBuffer, nullptr, nullptr};
  if (core::node_is_sound(index_->space.layout, node, at.length)) return {at.buffer, at.page, node};
  UnlockReleaseBuffer(at.buffer);
  return {InvalidBuffer, nullptr, nullptr};
}

// Calls part(bytes, offset, length) for each piece of a vector in pages of its own.
template <class F>
bool PageSource::each_part(const core::Node* node, F&& part) {
  BlockNumber block = node->payload_block;
  for (uint32_t done = 0; done < node->payload_bytes;) {
    const Buffer buffer = read_block(block);
    if (buffer == InvalidBuffer) return false;
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    auto* page = reinterpret_cast<uint8_t*>(BufferGetPage(buffer));
    const core::PageTail* tail = core::page_tail(page);
    const uint32_t length = Min(node->payload_bytes - done, core::kVectorPagePayload);
    const bool own =
        tail->page_id == core::kPageId && tail->kind == core::kVectorPage && tail->payload_stamp == node->payload_stamp;
    if (own) part(page + core::kPageHeaderBytes, done, length);
    block = tail->next_block;
    UnlockReleaseBuffer(buffer);
    if (!own) return false;
    done += length;
  }
  return true;
}

const void* PageSource::payload(const core::Node* node, void* buffer) {
  const core::NodeLayout& layout = index_->space.layout;
  if (node->payload_bytes > index_->space.payload_bytes_max) return nullptr;
  if (layout.payload_inside(node->payload_bytes)) return memcpy(buffer, layout.payload(node), node->payload_bytes);
  const bool whole = each_part(node, [&](const uint8_t* bytes, uint32_t offset, uint32_t length) {
    memcpy(static_cast<char*>(buffer) + offset, bytes, length);
  });
  return whole ? buffer : nullptr;
}

bool PageSource::copy_payload(core::NodeId id, void* buffer, uint32_t* bytes, int* level) {
  const Locked at = lock(id, BUFFER_LOCK_SHARE);
  if (at.node == nullptr) return false;
  *bytes = at.node->payload_bytes;
  *level = at.node->level;
  const bool found = payload(at.node, buffer) != nullptr;
  UnlockReleaseBuffer(at.buffer);
  return found;
}

core::NodeId PageSource::down(core::NodeId id) {
  const Locked at = lock(id, BUFFER_LOCK_SHARE);
  if (at.node == nullptr) return 0;
  const core::NodeId below = at.node->down();
  UnlockReleaseBuffer(at.buffer);
  return below;
}

// Only the dense metrics have vectors longer than a page, and their distances are sums.
bool PageSource::payload_distance(const core::Node* node, const core::Query& query, float* out) {
  if (index_->element != Element::sparse && node->payload_bytes != query.payload_bytes) return false;
  const core::NodeLayout& layout = index_->space.layout;
  if (layout.payload_inside(node->payload_bytes)) {
    *out = query.distance(query.payload, layout.payload(node), node->payload_bytes);
  } else {
    float sum = 0;
    const auto* own = static_cast<const uint8_t*>(query.payload);
    if (!each_part(node, [&](const uint8_t* bytes, uint32_t offset, uint32_t length) {
          sum += query.distance(own + offset, bytes, length);
        }))
      return false;
    *out = sum;
  }
  if (std::isnan(*out)) *out = std::numeric_limits<float>::max();
  return true;
}

// Whether the vector of a locked node is the query's, byte by byte.
bool PageSource::has_payload(const core::Node* node, const core::Query& query) {
  if (node->payload_bytes != query.payload_bytes) return false;
  const core::NodeLayout& layout = index_->space.layout;
  if (layout.payload_inside(node->payload_bytes))
    return memcmp(layout.payload(node), query.payload, node->payload_bytes) == 0;
  bool equal = true;
  const auto* wanted = static_cast<const uint8_t*>(query.payload);
  const bool whole = each_part(node, [&](const uint8_t* bytes, uint32_t offset, uint32_t length) {
    equal = equal && memcmp(wanted + offset, bytes, length) == 0;
  });
  return whole && equal;
}

bool PageSource::entry(core::NodeId* id, int* level) {
  Meta meta;
  read_meta(index_->relation, &meta);
  if (meta.entry_block == core::kNoBlock || meta.entry_level > core::kMaxLevel) return false;
  *id = core::node_id(meta.entry_block, meta.entry_offset);
  *level = meta.entry_level;
  return true;
}

bool PageSource::expand(core::NodeId id, const core::Query& query, core::Expansion* out, void* buffer) {
  const Locked at = lock(id, BUFFER_LOCK_SHARE);
  if (at.node == nullptr) return false;
  float distance;
  bool found = payload_distance(at.node, query, &distance);
  if (found) {
    core::fill_expansion(index_->space.layout, at.node, query, distance, out);
    out->payload = buffer == nullptr ? nullptr : payload(at.node, buffer);
    found = buffer == nullptr || out->payload != nullptr;
  }
  UnlockReleaseBuffer(at.buffer);
  return found;
}

bool PageSource::distance(core::NodeId id, const core::Query& query, float* out) {
  const Locked at = lock(id, BUFFER_LOCK_SHARE);
  if (at.node == nullptr) return false;
  const bool found = payload_distance(at.node, query, out);
  UnlockReleaseBuffer(at.buffer);
  return found;
}

// Header and edges of copy_ that differ from the page.
void PageSource::write_difference(const Locked& at) {
  const core::NodeLayout& layout = index_->space.layout;
  const auto* changed = reinterpret_cast<core::Node*>(copy_);
  const auto start = static_cast<uint32_t>(reinterpret_cast<uint8_t*>(at.node) - at.page);
  pg::PageChange change;
  change.start(index_->relation, at.buffer);
  if (memcmp(changed, at.node, offsetof(core::Node, payload_bytes)) != 0)
    change.put(start, changed, offsetof(core::Node, payload_bytes));
  if (memcmp(changed->heap_tids, at.node->heap_tids, sizeof(changed->heap_tids)) != 0)
    change.put(start + offsetof(core::Node, heap_tids), changed->heap_tids, sizeof(changed->heap_tids));
  for (size_t i = 0; i < changed->edge_count; ++i) {
    const core::Edge* now = layout.edge(changed, i);
    const core::Edge* before = layout.edge(at.node, i);
    const auto offset = static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(before) - at.page);
    if (i >= at.node->edge_count || now->block != before->block || now->id() != before->id())
      change.put(offset, now, layout.edge_bytes);
    else if (now->offset_and_flags != before->offset_and_flags)
      change.put(offset + offsetof(core::Edge, offset_and_flags), &now->offset_and_flags,
                 sizeof(now->offset_and_flags));
  }
  change.finish();
}

// The element's vector in pages of its own; the first of them. They are written from the last to the first.
BlockNumber PageSource::store_outside(uint32_t stamp) {
  Relation relation = index_->relation;
  BlockNumber next = core::kNoBlock;
  const uint32_t parts = (payload_bytes_ + core::kVectorPagePayload - 1) / core::kVectorPagePayload;
  PGAlignedBlock image;
  auto* page = reinterpret_cast<uint8_t*>(image.data);
  for (uint32_t i = parts; i-- > 0;) {
    const uint32_t offset = i * core::kVectorPagePayload;
    const uint32_t length = Min(payload_bytes_ - offset, core::kVectorPagePayload);
    core::page_init(page, core::kVectorPage);
    memcpy(page + core::kPageHeaderBytes, static_cast<const char*>(payload_) + offset, length);
    reinterpret_cast<PageHeader>(page)->pd_lower = static_cast<LocationIndex>(core::kPageHeaderBytes + length);
    core::page_tail(page)->payload_stamp = stamp;
    core::page_tail(page)->next_block = next;
    const Buffer buffer = free_or_new_page(relation, core::kVectorPage);
    next = BufferGetBlockNumber(buffer);
    pg::write_new_page(relation, buffer, page);
    UnlockReleaseBuffer(buffer);
  }
  return next;
}

core::NodeId PageSource::create(int level, core::NodeId down, const uint8_t* edges, size_t count) {
  const core::NodeLayout& layout = index_->space.layout;
  const uint32_t bytes = layout.node_bytes(payload_bytes_);
  const bool inside = layout.payload_inside(payload_bytes_);
  if (!inside && outside_ == core::kNoBlock) {
    stamp_ = pg_prng_uint32(&pg_global_prng_state);
    outside_ = store_outside(stamp_);
  }
  uint8_t* image = copy_;
  memset(image, 0, bytes);
  auto* node = reinterpret_cast<core::Node*>(image);
  node->level = static_cast<uint8_t>(level);
  node->heap_tid_count = 1;
  node->edge_count = static_cast<uint16_t>(count);
  node->payload_bytes = payload_bytes_;
  node->payload_block = inside ? core::kNoBlock : outside_;
  node->payload_stamp = inside ? 0 : stamp_;
  node->down_block = core::node_block(down);
  node->down_offset = core::node_offset(down);
  memcpy(&node->heap_tids[0], &row_, sizeof(row_));
  if (count > 0) memcpy(layout.edge(node, 0), edges, count * layout.edge_bytes);
  if (inside) memcpy(layout.payload(node), payload_, payload_bytes_);
  // What lies behind the last edge is not read before it is written.
  const uint32_t used = static_cast<uint32_t>(sizeof(core::Node)) + static_cast<uint32_t>(count) * layout.edge_bytes;
  return place({image, bytes, used, static_cast<uint32_t>(layout.payload(node) - image), inside ? payload_bytes_ : 0});
}

// The item in a page that is exclusively locked: in a free place that is long enough or behind the last; 0 if there is
// no room.
uint16_t PageSource::try_place(Buffer buffer, const NewItem& item) {
  auto* page = reinterpret_cast<uint8_t*>(BufferGetPage(buffer));
  if (core::page_tail(page)->page_id != core::kPageId || core::page_tail(page)->kind != core::kNodePage) return 0;
  pg::PageChange change;
  change.start(index_->relation, buffer);
  uint16_t offset = 0;
  uint32_t start = 0;
  for (uint16_t i = 1; i <= core::page_item_count(page) && offset == 0; ++i) {
    uint32_t length;
    const uint8_t* at = core::page_item(page, i, &length);
    if (at == nullptr || length < item.length || reinterpret_cast<const core::Node*>(at)->level != core::kFreeLevel)
      continue;
    offset = i;
    start = static_cast<uint32_t>(at - page);
  }
  if (offset == 0) {
    const auto* at = reinterpret_cast<const PageHeaderData*>(page);
    if (at->pd_lower < core::kPageHeaderBytes || at->pd_upper > BLCKSZ - sizeof(core::PageTail) ||
        at->pd_lower + core::kLinePointerBytes + item.length > at->pd_upper)
      return 0;
    start = at->pd_upper - item.length;
    const uint32_t pointer = start | 1U << 15 | item.length << 17;
    const uint16_t bounds[2] = {static_cast<uint16_t>(at->pd_lower + core::kLinePointerBytes),
                                static_cast<uint16_t>(start)};
    change.put(offsetof(PageHeaderData, pd_lower), bounds, sizeof(bounds));
    change.put(at->pd_lower, &pointer, sizeof(pointer));
    offset = static_cast<uint16_t>(core::page_item_count(page) + 1);
  }
  change.put(start, item.bytes, item.used);
  if (item.tail_bytes > 0) change.put(start + item.tail, item.bytes + item.tail, item.tail_bytes);
  change.finish();
  return offset;
}

core::NodeId PageSource::place(const NewItem& item) {
  Relation relation = index_->relation;
  BlockNumber tried = core::kNoBlock;
  for (int pages = 0;; ++pages) {
    Meta meta;
    read_meta(relation, &meta);
    if (meta.insert_block != core::kNoBlock && meta.insert_block != tried) {
      tried = meta.insert_block;
      const Buffer buffer = read_block(tried);
      if (buffer != InvalidBuffer) {
        LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
        const uint16_t offset = try_place(buffer, item);
        UnlockReleaseBuffer(buffer);
        if (offset != 0) return core::node_id(tried, offset);
      }
    }
    // Nobody else takes a new page meanwhile.
    const Buffer meta_buffer = ReadBuffer(relation, 0);
    LockBuffer(meta_buffer, BUFFER_LOCK_EXCLUSIVE);
    Meta* current = page_meta(BufferGetPage(meta_buffer));
    if (current->insert_block != meta.insert_block) {
      UnlockReleaseBuffer(meta_buffer);
      continue;
    }
    const Buffer buffer =
        pages < kTriedPages ? free_or_new_page(relation, core::kNodePage) : pg::extend_index(relation);
    const BlockNumber block = BufferGetBlockNumber(buffer);
    auto* page = reinterpret_cast<uint8_t*>(BufferGetPage(buffer));
    if (PageIsNew(reinterpret_cast<Page>(page)) || core::page_tail(page)->kind != core::kNodePage) {
      PGAlignedBlock image;
      core::page_init(reinterpret_cast<uint8_t*>(image.data), core::kNodePage);
      pg::write_new_page(relation, buffer, image.data);
    }
    const uint16_t offset = try_place(buffer, item);
    UnlockReleaseBuffer(buffer);
    pg::PageChange change;
    change.start(relation, meta_buffer);
    change.put(static_cast<uint32_t>(reinterpret_cast<char*>(&current->insert_block) -
                                     reinterpret_cast<char*>(BufferGetPage(meta_buffer))),
               &block, sizeof(block));
    change.finish();
    UnlockReleaseBuffer(meta_buffer);
    if (offset != 0) return core::node_id(block, offset);
    tried = block;
  }
}

void PageSource::created(core::NodeId top, int level) {
  Meta meta;
  read_meta(index_->relation, &meta);
  if (meta.entry_block == core::kNoBlock || level > meta.entry_level) replace_entry(top, level);
}

void PageSource::replace_entry(core::NodeId id, int level) {
  const Buffer buffer = ReadBuffer(index_->relation, 0);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  auto* page = reinterpret_cast<char*>(BufferGetPage(buffer));
  Meta changed = *page_meta(page);
  changed.entry_block = id == 0 ? core::kNoBlock : core::node_block(id);
  changed.entry_offset = core::node_offset(id);
  changed.entry_level = static_cast<uint16_t>(level);
  pg::PageChange change;
  change.start(index_->relation, buffer);
  change.put(static_cast<uint32_t>(reinterpret_cast<char*>(page_meta(page)) - page), &changed, sizeof(changed));
  change.finish();
  UnlockReleaseBuffer(buffer);
}

}  // namespace cairn::hnsw
