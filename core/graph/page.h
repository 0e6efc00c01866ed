// As much of PostgreSQL's page layout as the graph needs to find a node in a page and to fill pages in private memory:
// a header of 24 bytes, line pointers of 4 bytes upwards, items downwards, a special space at the end.
#pragma once

#include <cstdint>
#include <cstring>

#include "graph/node.h"

namespace cairn::core {

constexpr uint32_t kPageBytes = 8192;
constexpr uint32_t kPageHeaderBytes = 24;

// At the end of every page of the index.
struct PageTail {
  uint32_t payload_stamp;  // of a vector's page: its node's
  uint32_t next_block;     // of a vector's page: where the vector goes on, else kNoBlock
  uint16_t kind;
  uint16_t unused[2];
  uint16_t page_id;  // tells the index's pages from others'
};
static_assert(sizeof(PageTail) == 16);

constexpr uint16_t kPageId = 0xca17;
constexpr uint32_t kNoBlock = 0xffffffff;
enum PageKind : uint16_t { kFreePage = 0, kMetaPage = 1, kNodePage = 2, kVectorPage = 3 };

constexpr uint32_t kPageSpace = kPageBytes - kPageHeaderBytes - sizeof(PageTail);  // for items and their line pointers
constexpr uint32_t kLinePointerBytes = 4;
constexpr uint32_t kVectorPagePayload = (kPageSpace - kLinePointerBytes) / 8 * 8;

inline PageTail* page_tail(uint8_t* page) { return reinterpret_cast<PageTail*>(page + kPageBytes - sizeof(PageTail)); }
inline const PageTail* page_tail(const uint8_t* page) { return page_tail(const_cast<uint8_t*>(page)); }

inline uint16_t page_lower(const uint8_t* page) {
  uint16_t lower;
  std::memcpy(&lower, page + 12, 2);
  return lower;
}

inline uint16_t page_item_count(const uint8_t* page) {
  const uint16_t lower = page_lower(page);
  return lower <= kPageHeaderBytes ? 0 : static_cast<uint16_t>((lower - kPageHeaderBytes) / kLinePointerBytes);
}

// The item and its length; null if the page has no such item, or its line pointer does not lie in the page.
inline uint8_t* page_item(uint8_t* page, uint16_t offset, uint32_t* length) {
  if (offset == 0 || offset > page_item_count(page)) return nullptr;
  uint32_t pointer;
  std::memcpy(&pointer, page + kPageHeaderBytes + (offset - 1) * kLinePointerBytes, 4);
  const uint32_t start = pointer & 0x7fff;
  *length = pointer >> 17;
  if (start < kPageHeaderBytes || start % 8 != 0 || start + *length > kPageBytes - sizeof(PageTail)) return nullptr;
  return page + start;
}

// An empty page as PostgreSQL's PageInit makes it.
inline void page_init(uint8_t* page, uint16_t kind) {
  std::memset(page, 0, kPageBytes);
  const uint16_t header[4] = {kPageHeaderBytes, kPageBytes - sizeof(PageTail), kPageBytes - sizeof(PageTail),
                              kPageBytes | 4};
  std::memcpy(page + 12, header, sizeof(header));
  page_tail(page)->kind = kind;
  page_tail(page)->next_block = kNoBlock;
  page_tail(page)->page_id = kPageId;
}

// Appends an item of zeros; its offset, or 0 if it does not fit. `length` is a multiple of 8.
inline uint16_t page_add(uint8_t* page, uint32_t length) {
  uint16_t bounds[2];
  std::memcpy(bounds, page + 12, sizeof(bounds));
  if (bounds[0] + kLinePointerBytes + length > bounds[1]) return 0;
  bounds[1] = static_cast<uint16_t>(bounds[1] - length);
  const uint32_t pointer = bounds[1] | 1u << 15 | length << 17;  // LP_NORMAL
  std::memcpy(page + bounds[0], &pointer, 4);
  bounds[0] += kLinePointerBytes;
  std::memcpy(page + 12, bounds, sizeof(bounds));
  return page_item_count(page);
}

// Asks memory for the beginning of a node and what must be read before it, and reads nothing itself. In a page of nodes
// of one length, which fill it from its end.
inline void prefetch_node(const uint8_t* page, uint16_t offset, uint32_t node_bytes) {
  // More made no difference, the processor reads on by itself.
  constexpr uint32_t kPrefetchedBytes = 1024;
  const uint32_t start = kPageBytes - static_cast<uint32_t>(sizeof(PageTail)) - offset * node_bytes;
  if (start >= kPageBytes) return;
  __builtin_prefetch(page);
  __builtin_prefetch(page + kPageBytes - sizeof(PageTail));
  const uint32_t end = start + (node_bytes < kPrefetchedBytes ? node_bytes : kPrefetchedBytes);
  for (uint32_t i = start; i < end && i < kPageBytes; i += 64) __builtin_prefetch(page + i);
}

// False for a free place, an overflow node, and for what cannot be a node.
inline bool node_is_sound(const NodeLayout& layout, const Node* node, uint32_t length) {
  return length >= sizeof(Node) && node->edge_count <= layout.degree && node->heap_tid_count <= kMaxHeapTids &&
         node->level <= kMaxLevel && node->payload_bytes <= 1u << 17 &&
         length >= layout.node_bytes(node->payload_bytes);
}

inline bool overflow_is_sound(const OverflowNode* node, uint32_t length) {
  return length >= sizeof(Node) && node->level == kOverflowLevel && node->heap_tid_count <= OverflowNode::room(length);
}

}  // namespace cairn::core
