// The graph in the index's pages: the node source of scans, inserts and vacuum (core/graph/search.h says what a source
// is).
//
// Locks: one node's page at a time, shared to read and exclusive to change; while it is held shared, the node's vector
// pages may be locked shared too. Who holds the meta page's lock takes no other but a new page's.
// Everything read from a page is checked before it is used as an offset or a length: a damaged node is as one that is
// not there.
#pragma once

#include "am/hnsw/hnsw.h"
#include "pg/page_change.h"

namespace cairn::hnsw {

class PageSource {
 public:
  static constexpr bool kCopiesPayload = true;

  void init(const Index* index);

  // What create() stores from now on: the vector (as it was given to the Inserter) and the row.
  void set_element(const void* payload, uint32_t payload_bytes, ItemPointerData row);

  bool entry(core::NodeId* id, int* level);
  bool expand(core::NodeId id, const core::Query& query, core::Expansion* out, void* buffer);
  bool distance(core::NodeId id, const core::Query& query, float* out);
  void prefetch(core::NodeId id);
  bool add_heap_tid(core::NodeId id, const core::Query& query, core::HeapTid tid);
  core::NodeId create(int level, core::NodeId down, const uint8_t* edges, size_t count);
  void created(core::NodeId top, int level);

  // 0: the graph is empty from now on.
  void replace_entry(core::NodeId id, int level);

  // change(Node*) gets a copy; what it changed of header and edges is written and logged.
  template <class F>
  bool update(core::NodeId id, F&& change) {
    Locked at = lock(id, BUFFER_LOCK_EXCLUSIVE);
    if (at.node == nullptr) return false;
    memcpy(copy_, at.node, copied_bytes());
    if (change(reinterpret_cast<core::Node*>(copy_))) write_difference(at);
    UnlockReleaseBuffer(at.buffer);
    return true;
  }

  struct Locked {
    Buffer buffer;
    uint8_t* page;
    core::Node* node;  // null: nothing is locked
  };
  // A sound node, or null. The caller releases the buffer.
  Locked lock(core::NodeId id, int mode);

  // The vector of a locked node, contiguous: in place, or copied to `buffer`. Null if its pages are not its own any
  // more.
  const void* payload(const core::Node* node, void* buffer);

 private:
  Buffer read_block(BlockNumber block);
  uint32_t copied_bytes() const {
    return static_cast<uint32_t>(sizeof(core::Node)) + index_->space.layout.edges_bytes();
  }
  // The header and the first codes: more made no difference, the processor reads on by itself.
  uint32_t prefetched_bytes() const { return Min(copied_bytes(), 1024U); }
  void write_difference(const Locked& at);
  bool payload_distance(const core::Node* node, const core::Query& query, float* out);
  template <class F>
  bool each_part(const core::Node* node, F&& part);
  core::NodeId place(const uint8_t* node, uint32_t bytes);
  uint16_t try_place(Buffer buffer, const uint8_t* node, uint32_t bytes);
  BlockNumber store_outside(uint32_t stamp);

  const Index* index_ = nullptr;
  BlockNumber blocks_ = 0;   // of the index, when it was last asked
  uint32_t node_bytes_ = 0;  // of every node, or 0
  uint8_t* copy_ = nullptr;
  const void* payload_ = nullptr;
  uint32_t payload_bytes_ = 0;
  ItemPointerData row_;
  BlockNumber outside_ = core::kNoBlock;
  uint32_t stamp_ = 0;
};

}  // namespace cairn::hnsw
