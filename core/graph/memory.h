// The graph while an index is built: page images in private memory, exactly as they will lie in the file, so that
// writing them out is a copy. The node source of the builder's threads.
//
// Elements are added by one thread; then any number of threads insert() them. A node's edges and its overflow nodes are
// read and changed under its lock byte, its vector never changes.
#pragma once

#include <atomic>
#include <mutex>

#include "graph/insert.h"
#include "graph/page.h"

namespace cairn::core {

class MemoryGraph {
 public:
  // `first_block` is the block number of the first page. Memory comes from `arena`, in the adding thread only.
  void init(const Space* space, uint32_t first_block, Arena* arena);

  // The element's nodes, without edges; false if `memory_limit` bytes would be passed (then nothing was added).
  bool add(const void* payload, uint32_t payload_bytes, int level, HeapTid tid, size_t memory_limit);

  size_t size() const { return elements_.size(); }
  size_t memory_bytes() const { return memory_bytes_; }
  uint32_t block_count() const { return static_cast<uint32_t>(blocks_.size()); }
  uint8_t* block(uint32_t i) { return blocks_[i]; }

  // Of a layout whose vectors are not inside their nodes: the vector that a node's payload_block names while in memory.
  const void* outside_payload(uint32_t i) const { return payloads_[i]; }

  // Puts an element of the highest level first: insert that one before any thread starts, and none will rise above it.
  void put_highest_first();

  NodeId top(size_t i) const { return elements_[i]; }
  const uint8_t* page(NodeId id) { return blocks_[node_block(id) - first_block_]; }
  Node* node(NodeId id) {
    uint32_t length;
    return reinterpret_cast<Node*>(page_item(blocks_[node_block(id) - first_block_], node_offset(id), &length));
  }
  OverflowNode* overflow(NodeId id) { return reinterpret_cast<OverflowNode*>(node(id)); }
  // Room for tids of an overflow node in the place of a node.
  uint32_t overflow_room(NodeId id) {
    uint32_t length;
    page_item(blocks_[node_block(id) - first_block_], node_offset(id), &length);
    return OverflowNode::room(length);
  }
  const void* payload(const Node* node) const {
    return node->payload_block == kNoBlock ? space_->layout.payload(node) : payloads_[node->payload_block];
  }
  const NodeLayout& layout() const { return space_->layout; }

  bool entry(NodeId* id, int* level);
  void propose_entry(NodeId id, int level);

 private:
  uint32_t added_bytes(uint32_t payload_bytes, int level) const;

  const Space* space_ = nullptr;
  Arena* arena_ = nullptr;
  uint32_t first_block_ = 0;
  size_t memory_bytes_ = 0;
  Array<uint8_t*> blocks_;
  Array<NodeId> elements_;  // the node of the highest level
  Array<const void*> payloads_;
  std::mutex entry_mutex_;
  NodeId entry_ = 0;
  int entry_level_ = 0;
};

// One thread's node source over the graph.
class MemorySource {
 public:
  static constexpr bool kCopiesPayload = false;

  void init(const Space* space, MemoryGraph* graph, size_t ef_construction, Arena* arena);

  // Connects the i-th element.
  void insert(size_t i);

  bool entry(NodeId* id, int* level) { return graph_->entry(id, level); }
  bool expand(NodeId id, const Query& query, Expansion* out, void*);
  bool distance(NodeId id, const Query& query, float* out);
  void prefetch(NodeId id);
  bool add_heap_tid(NodeId id, const Query& query, HeapTid tid);
  NodeId create(int level, NodeId down, const uint8_t* edges, size_t count);
  void created(NodeId top, int level) { graph_->propose_entry(top, level); }
  template <class F>
  bool update(NodeId id, F&& change) {
    Node* node = graph_->node(id);
    lock(node);
    change(node);
    unlock(node);
    return true;
  }

 private:
  bool join(NodeId id, Node* node, HeapTid tid);
  static void lock(Node* node) {
    std::atomic_ref<uint8_t> word(node->lock);
    while (word.exchange(1, std::memory_order_acquire) != 0) {
    }
  }
  static void unlock(Node* node) { std::atomic_ref<uint8_t>(node->lock).store(0, std::memory_order_release); }

  MemoryGraph* graph_ = nullptr;
  Inserter<MemorySource> inserter_;
  uint32_t node_bytes_ = 0;       // of the node that was read last: mostly all are alike
  NodeId levels_[kMaxLevel + 1];  // of the element that is being inserted
  bool overflowed_ = false;       // its node of level 0 has become an overflow node
};

}  // namespace cairn::core
