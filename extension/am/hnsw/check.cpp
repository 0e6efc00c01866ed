#include "am/hnsw/check.h"

#include <cmath>

#include "am/hnsw/am.h"
#include "am/hnsw/page_source.h"
#include "am/hnsw/reach.h"
#include "pg/arena.h"

namespace cairn::hnsw {
namespace {

struct Check {
  Relation relation;
  void (*report)(void* context, BlockNumber block, const char* what);
  void* context;
  Index index;
  PageSource source;
  core::Scratch scratch;
  core::IdSet levels[core::kMaxLevel + 1];  // the sound nodes
  core::Array<core::NodeId> overflow;       // overflow nodes that must be in a chain
  core::IdSet chained;                      // those that are
  BlockNumber blocks;
  char* payload;
  char* neighbor_payload;
  uint8_t* bits;
};

__attribute__((format(printf, 3, 4))) void complain(const Check* check, BlockNumber block, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  check->report(check->context, block, text);
}

void copy_page(const Check* check, BlockNumber block, char* copy) {
  const Buffer buffer = ReadBuffer(check->relation, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  memcpy(copy, BufferGetPage(buffer), BLCKSZ);
  UnlockReleaseBuffer(buffer);
}

// One tid alone may be what a crash left of an insertion, and none what it left of a vacuum.
void check_overflow(Check* check, BlockNumber block, uint16_t offset, const core::OverflowNode* node, uint32_t length) {
  if (!core::overflow_is_sound(node, length))
    complain(check, block, "overflow node %u is damaged: %u rows in %u bytes", offset, node->heap_tid_count, length);
  else if (node->heap_tid_count > 1)
    check->overflow.push(core::node_id(block, offset));
}

// The page's own form; adds its nodes to those that edges may lead to.
void check_page(Check* check, BlockNumber block, char* page) {
  if (PageIsNew(page)) return;  // left by a crash while the index was extended
  auto* bytes = reinterpret_cast<uint8_t*>(page);
  const core::PageTail* tail = core::page_tail(bytes);
  if (tail->page_id != core::kPageId || tail->kind > core::kVectorPage || tail->kind == core::kMetaPage) {
    complain(check, block, "not a page of an hnsw index: page id %04x, kind %u", tail->page_id, tail->kind);
    return;
  }
  if (tail->kind != core::kNodePage) return;
  const auto* header = reinterpret_cast<const PageHeaderData*>(page);
  if (header->pd_lower < core::kPageHeaderBytes || header->pd_lower > header->pd_upper ||
      header->pd_upper > BLCKSZ - sizeof(core::PageTail))
    complain(check, block, "its free space runs from %u to %u", header->pd_lower, header->pd_upper);
  for (uint16_t i = 1; i <= core::page_item_count(bytes); ++i) {
    uint32_t length;
    const auto* node = reinterpret_cast<const core::Node*>(core::page_item(bytes, i, &length));
    if (node == nullptr)
      complain(check, block, "line pointer %u leads out of the page", i);
    else if (node->level == core::kFreeLevel)
      continue;
    else if (node->level == core::kOverflowLevel)
      check_overflow(check, block, i, reinterpret_cast<const core::OverflowNode*>(node), length);
    else if (!core::node_is_sound(check->index.space.layout, node, length))
      complain(check, block, "node %u is damaged: level %u, %u edges, %u rows, a vector of %u bytes in %u", i,
               node->level, node->edge_count, node->heap_tid_count, node->payload_bytes, length);
    else
      check->levels[node->level].insert(core::node_id(block, i));
  }
}

// Sums are not the same on every machine, and a coordinate of about 0 may have either sign.
bool close_to(float a, float b, float unit, uint32_t different_bits) {
  return std::fabs(a - b) <= (different_bits > 0 ? 0.1F : 1e-3F) * unit + 1e-6F;
}

// That an edge's code and factors are those of its two vectors.
void check_code(Check* check, BlockNumber block, uint16_t offset, const core::Edge* edge, float own_norm) {
  uint32_t bytes;
  int level;
  if (!check->source.copy_payload(edge->id(), check->neighbor_payload, &bytes, &level) ||
      bytes != vector_bytes(check->index))
    return;
  const core::Space& space = check->index.space;
  const core::EdgeCodes codes = core::make_edge_codes(space, check->neighbor_payload, &check->scratch, check->bits);
  uint32_t different = 0;
  for (uint32_t i = 0; i < space.layout.code_dimensions / 8; ++i)
    different += static_cast<uint32_t>(__builtin_popcount(check->bits[i] ^ edge->bits()[i]));
  const float unit = own_norm + std::fabs(codes.forward.add) + 1;
  if (!close_to(codes.forward.add, edge->factors.add, unit, different) ||
      !close_to(codes.forward.scale, edge->factors.scale, unit, different) ||
      different > space.layout.code_dimensions / 16)
    complain(check, block, "node %u: the code of its edge to node %u of page %u is not that of its vector", offset,
             core::node_offset(edge->id()), core::node_block(edge->id()));
}

// The overflow nodes of an element.
void check_chain(Check* check, BlockNumber block, uint16_t offset, core::NodeId head) {
  uint32_t last = core::kLastSequence + 1;
  for (core::NodeId next = head; next != 0;) {
    CHECK_FOR_INTERRUPTS();
    const PageSource::LockedOverflow at = check->source.lock_overflow(next, BUFFER_LOCK_SHARE);
    core::OverflowNode node{};
    if (at.node != nullptr) {
      node = *at.node;
      UnlockReleaseBuffer(at.buffer);
    }
    if (at.node == nullptr || node.owner() != core::node_id(block, offset) || node.sequence >= last)
      return complain(check, block, "the overflow nodes of node %u lead to node %u of page %u, which is none of them",
                      offset, core::node_offset(next), core::node_block(next));
    check->chained.insert(next);
    last = node.sequence;
    next = node.next();
  }
}

void check_node(Check* check, BlockNumber block, uint16_t offset, const core::Node* node) {
  const core::NodeLayout& layout = check->index.space.layout;
  if (node->level == 0) check_chain(check, block, offset, node->down());
  if (node->level > 0 && !check->levels[node->level - 1].contains(node->down()))
    complain(check, block, "node %u of level %u has nothing below it: node %u of page %u is none", offset, node->level,
             node->down_offset, node->down_block);
  uint32_t bytes = 0;
  int level;
  if (!check->source.copy_payload(core::node_id(block, offset), check->payload, &bytes, &level)) {
    complain(check, block, "node %u has lost its vector", offset);
    return;
  }
  if (check->index.element != Element::sparse && bytes != vector_bytes(check->index)) {
    complain(check, block, "node %u has a vector of %u bytes, not %u", offset, bytes, vector_bytes(check->index));
    return;
  }
  float norm = 0;
  if (layout.code_dimensions > 0) {
    core::make_query(check->index.space, check->payload, bytes, &check->scratch);
    for (uint32_t i = 0; i < check->index.dimensions; ++i) norm += check->scratch.floats[i] * check->scratch.floats[i];
    if (!std::isfinite(norm)) complain(check, block, "node %u has a vector that is not of numbers", offset);
  }
  // A vacuum that was broken off may have given away the places of other dead nodes before this one's. Nothing that
  // lives leads here any more.
  if (!node->alive()) return;
  for (uint16_t i = 0; i < node->edge_count; ++i) {
    const core::Edge* edge = layout.edge(node, i);
    if (!check->levels[node->level].contains(edge->id()))
      complain(check, block, "node %u has an edge to node %u of page %u, which is not of level %u", offset,
               core::node_offset(edge->id()), core::node_block(edge->id()), node->level);
    else if (layout.code_dimensions > 0)
      check_code(check, block, offset, edge, norm);
  }
}

void check_entry(Check* check, const Meta& meta) {
  if (meta.entry_block == core::kNoBlock) {
    if (check->levels[0].size() > 0) complain(check, 0, "there are nodes, but no entry");
  } else if (meta.entry_level > core::kMaxLevel ||
             !check->levels[meta.entry_level].contains(core::node_id(meta.entry_block, meta.entry_offset))) {
    complain(check, 0, "the entry, node %u of page %u, is not a node of level %u", meta.entry_offset, meta.entry_block,
             meta.entry_level);
  }
}

}  // namespace

void hnsw_index_check(Relation index, void (*report)(void* context, BlockNumber block, const char* what),
                      void* context) {
  pg::ContextArena arena(CurrentMemoryContext);
  auto* check = static_cast<Check*>(palloc0(sizeof(Check)));
  check->relation = index;
  check->report = report;
  check->context = context;
  Meta meta;
  describe(index, &arena, &check->index, &meta);
  check->source.init(&check->index);
  check->scratch.init(check->index.space, &arena);
  for (core::IdSet& level : check->levels) level.attach(&arena);
  check->overflow.attach(&arena);
  check->chained.attach(&arena);
  constexpr size_t kLongestPayload = (1U << 17) + 64;  // node_is_sound allows no more
  check->payload = static_cast<char*>(palloc(kLongestPayload));
  check->neighbor_payload = static_cast<char*>(palloc(kLongestPayload));
  check->bits = static_cast<uint8_t*>(palloc(check->index.space.layout.code_dimensions / 8 + 64));
  check->blocks = RelationGetNumberOfBlocks(index);
  PGAlignedBlock page;
  for (BlockNumber block = 1; block < check->blocks; ++block) {
    CHECK_FOR_INTERRUPTS();
    copy_page(check, block, page.data);
    check_page(check, block, page.data);
  }
  check_entry(check, meta);
  for (BlockNumber block = 1; block < check->blocks; ++block) {
    CHECK_FOR_INTERRUPTS();
    copy_page(check, block, page.data);
    auto* bytes = reinterpret_cast<uint8_t*>(page.data);
    if (PageIsNew(page.data) || core::page_tail(bytes)->page_id != core::kPageId ||
        core::page_tail(bytes)->kind != core::kNodePage)
      continue;
    for (uint16_t i = 1; i <= core::page_item_count(bytes); ++i) {
      uint32_t length;
      const auto* node = reinterpret_cast<const core::Node*>(core::page_item(bytes, i, &length));
      if (node != nullptr && core::node_is_sound(check->index.space.layout, node, length))
        check_node(check, block, i, node);
    }
  }
  for (size_t i = 0; i < check->overflow.size(); ++i)
    if (!check->chained.contains(check->overflow[i]))
      complain(check, core::node_block(check->overflow[i]), "no element leads to the rows of overflow node %u",
               core::node_offset(check->overflow[i]));
  each_lost_node(check->index, &arena, [&](core::NodeId id) {
    complain(check, core::node_block(id), "no way leads from the entry to node %u: VACUUM makes one",
             core::node_offset(id));
  });
}

}  // namespace cairn::hnsw
