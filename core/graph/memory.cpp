#include "graph/memory.h"

#include <cmath>
#include <limits>

namespace cairn::core {

void MemoryGraph::init(const Space* space, uint32_t first_block, Arena* arena) {
  space_ = space;
  arena_ = arena;
  first_block_ = first_block;
  blocks_.attach(arena);
  elements_.attach(arena);
  payloads_.attach(arena);
}

// At most: a page for each node, the vector and its part of the lists.
uint32_t MemoryGraph::added_bytes(uint32_t payload_bytes, int level) const {
  const uint32_t outside = space_->layout.payload_inside(payload_bytes) ? 0 : payload_bytes + 8;
  return static_cast<uint32_t>(level + 1) * kPageBytes + outside + 64;
}

bool MemoryGraph::add(const void* payload, uint32_t payload_bytes, int level, HeapTid tid, size_t memory_limit) {
  if (memory_bytes_ + added_bytes(payload_bytes, level) > memory_limit) return false;
  const NodeLayout& layout = space_->layout;
  const uint32_t node_bytes = layout.node_bytes(payload_bytes);
  const auto outside = static_cast<uint32_t>(payloads_.size());
  const bool inside = layout.payload_inside(payload_bytes);
  if (!inside) {
    void* copy = arena_->allocate(payload_bytes);
    std::memcpy(copy, payload, payload_bytes);
    payloads_.push(copy);
    memory_bytes_ += payload_bytes + sizeof(void*);
  }
  NodeId below = 0;
  for (int l = 0; l <= level; ++l) {
    uint16_t offset = blocks_.empty() ? 0 : page_add(blocks_.back(), node_bytes);
    if (offset == 0) {
      blocks_.push(static_cast<uint8_t*>(arena_->allocate(kPageBytes)));
      page_init(blocks_.back(), kNodePage);
      memory_bytes_ += kPageBytes + sizeof(void*);
      offset = page_add(blocks_.back(), node_bytes);
    }
    const NodeId id = node_id(first_block_ + static_cast<uint32_t>(blocks_.size()) - 1, offset);
    Node* made = node(id);
    made->level = static_cast<uint8_t>(l);
    made->payload_bytes = payload_bytes;
    made->payload_block = inside ? kNoBlock : outside;
    made->set_down(below);
    if (inside) std::memcpy(layout.payload(made), payload, payload_bytes);
    made->heap_tid_count = 1;
    made->heap_tids[0] = tid;
    below = id;
  }
  elements_.push(below);
  memory_bytes_ += sizeof(NodeId);
  return true;
}

void MemoryGraph::put_highest_first() {
  size_t highest = 0;
  for (size_t i = 1; i < elements_.size(); ++i)
    if (node(elements_[i])->level > node(elements_[highest])->level) highest = i;
  if (!elements_.empty()) std::swap(elements_[0], elements_[highest]);
}

bool MemoryGraph::entry(NodeId* id, int* level) {
  const std::lock_guard guard(entry_mutex_);
  *id = entry_;
  *level = entry_level_;
  return entry_ != 0;
}

void MemoryGraph::propose_entry(NodeId id, int level) {
  const std::lock_guard guard(entry_mutex_);
  if (entry_ != 0 && level <= entry_level_) return;
  entry_ = id;
  entry_level_ = level;
}

void MemorySource::init(const Space* space, MemoryGraph* graph, size_t ef_construction, Arena* arena) {
  graph_ = graph;
  inserter_.init(space, this, ef_construction, arena);
}

void MemorySource::insert(size_t i) {
  NodeId id = graph_->top(i);
  const int level = graph_->node(id)->level;
  for (int l = level; l >= 0; --l) {
    levels_[l] = id;
    id = graph_->node(id)->down();
  }
  overflowed_ = false;
  const Node* base = graph_->node(levels_[0]);
  if (inserter_.insert(graph_->payload(base), base->payload_bytes, level, base->heap_tids[0])) return;
  for (int l = overflowed_ ? 1 : 0; l <= level; ++l) graph_->node(levels_[l])->level = kFreeLevel;
}

bool MemorySource::expand(NodeId id, const Query& query, Expansion* out, void*) {
  Node* node = graph_->node(id);
  node_bytes_ = graph_->layout().node_bytes(node->payload_bytes);
  const void* payload = graph_->payload(node);
  float distance;
  this->distance(id, query, &distance);
  lock(node);
  fill_expansion(graph_->layout(), node, query, distance, out);
  unlock(node);
  out->payload = payload;
  return true;
}

bool MemorySource::distance(NodeId id, const Query& query, float* out) {
  *out = query.distance(query.payload, graph_->payload(graph_->node(id)), query.payload_bytes);
  if (std::isnan(*out)) *out = std::numeric_limits<float>::max();  // it has to have a place in an order
  return true;
}

void MemorySource::prefetch(NodeId id) { prefetch_node(graph_->page(id), node_offset(id), node_bytes_); }

bool MemorySource::add_heap_tid(NodeId id, const Query&, HeapTid tid) {
  Node* node = graph_->node(id);
  lock(node);
  const bool joined = join(id, node, tid);
  unlock(node);
  return joined;
}

// The node is locked. Where it is full the new element's own place, which nobody leads to, becomes an overflow node.
bool MemorySource::join(NodeId id, Node* node, HeapTid tid) {
  if (node->heap_tid_count < kMaxHeapTids) {
    node->heap_tids[node->heap_tid_count++] = tid;
    return true;
  }
  const NodeId head = node->down();
  uint32_t sequence = 0;
  if (head != 0) {
    OverflowNode* overflow = graph_->overflow(head);
    sequence = overflow->sequence;
    if (overflow->heap_tid_count < graph_->overflow_room(head)) {
      overflow->heap_tids()[overflow->heap_tid_count++] = tid;
      return true;
    }
  }
  graph_->overflow(levels_[0])->init(id, head, sequence, tid);
  node->set_down(levels_[0]);
  overflowed_ = true;
  return true;
}

NodeId MemorySource::create(int level, NodeId, const uint8_t* edges, size_t count) {
  Node* node = graph_->node(levels_[level]);
  const NodeLayout& layout = graph_->layout();
  lock(node);
  if (count > 0) std::memcpy(layout.edge(node, 0), edges, count * layout.edge_bytes);
  node->edge_count = static_cast<uint16_t>(count);
  unlock(node);
  return levels_[level];
}

}  // namespace cairn::core
