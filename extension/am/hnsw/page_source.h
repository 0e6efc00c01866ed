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

// Tells the free space map of a page: free, or of nodes with a free place among them. Who looks for a page for a vector
// is not shown the latter.
void tell_free(Relation index, BlockNumber block, core::PageKind kind);

inline bool is_node_page(const uint8_t* page) {
  return !PageIsNew(reinterpret_cast<Page>(const_cast<uint8_t*>(page))) &&
         core::page_tail(page)->page_id == core::kPageId && core::page_tail(page)->kind == core::kNodePage;
}

// Calls visit(item, its length, id) for each item of a locked page, if it is one of nodes.
template <class F>
void each_item(uint8_t* page, BlockNumber block, F&& visit) {
  if (!is_node_page(page)) return;
  for (uint16_t i = 1; i <= core::page_item_count(page); ++i) {
    uint32_t length;
    uint8_t* item = core::page_item(page, i, &length);
    if (item != nullptr && length >= sizeof(core::Node)) visit(item, length, core::node_id(block, i));
  }
}

// Calls visit(Node*, id) for each sound node of a locked page.
template <class F>
void each_node(const core::NodeLayout& layout, uint8_t* page, BlockNumber block, F&& visit) {
  each_item(page, block, [&](uint8_t* item, uint32_t length, core::NodeId id) {
    auto* node = reinterpret_cast<core::Node*>(item);
    if (core::node_is_sound(layout, node, length)) visit(node, id);
  });
}

// How far a reader of an element's overflow nodes has come.
struct Chain {
  core::NodeId owner;
  core::NodeId next;
  uint32_t last;    // the number of the node that leads to `next`
  uint32_t unread;  // the numbers below are still to be read

  static Chain of(core::NodeId owner, core::NodeId head) {
    return {owner, head, core::kLastSequence + 1, core::kLastSequence + 1};
  }
};

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

  struct LockedOverflow {
    Buffer buffer;
    uint8_t* page;
    core::OverflowNode* node;  // null: nothing is locked
    uint32_t room;             // for tids
    uint32_t start() const { return static_cast<uint32_t>(reinterpret_cast<uint8_t*>(node) - page); }
  };
  // A sound overflow node, or null. The caller releases the buffer.
  LockedOverflow lock_overflow(core::NodeId id, int mode);

  // Of a node, or 0.
  core::NodeId down(core::NodeId id);

  // Room for the tids of any overflow node.
  static constexpr uint32_t kMaxOverflowTids = BLCKSZ / sizeof(core::HeapTid);
  // The first of an element's overflow nodes, or 0.
  core::NodeId overflow_head(core::NodeId owner);
  // Copies the tids of the next overflow node. False: there is none.
  bool read_overflow(Chain* chain, core::HeapTid* tids, uint32_t* count);
  // Changes the chain's head. False: it is another one by now, or the element is dead.
  bool replace_head(core::NodeId owner, core::NodeId head, core::NodeId next);
  bool replace_next(core::NodeId overflow, core::NodeId next);
  // The place of a node that nothing leads to.
  void free_place(core::NodeId id);

  // The vector of a locked node, contiguous: in place, or copied to `buffer`. Null if its pages are not its own any
  // more.
  const void* payload(const core::Node* node, void* buffer);
  // The same of a node that is not locked, and always into the buffer. False: no such node.
  bool copy_payload(core::NodeId id, void* buffer, uint32_t* bytes, int* level);

 private:
  struct Item {
    Buffer buffer;
    uint8_t* page;
    uint8_t* bytes;  // null: nothing is locked
    uint32_t length;
  };
  // What create() and push_overflow() place: `length` bytes of which those from `used` to `tail` need not be written.
  struct NewItem {
    const uint8_t* bytes;
    uint32_t length;
    uint32_t used;
    uint32_t tail;
    uint32_t tail_bytes;
  };

  Buffer read_block(BlockNumber block);
  Item lock_item(core::NodeId id, int mode);
  bool has_payload(const core::Node* node, const core::Query& query);
  bool join_overflow(core::NodeId owner, core::NodeId head, core::HeapTid tid);
  bool push_overflow(core::NodeId owner, core::HeapTid tid);
  uint32_t copied_bytes() const {
    return static_cast<uint32_t>(sizeof(core::Node)) + index_->space.layout.edges_bytes();
  }
  void write_difference(const Locked& at);
  bool payload_distance(const core::Node* node, const core::Query& query, float* out);
  template <class F>
  bool each_part(const core::Node* node, F&& part);
  core::NodeId place(const NewItem& item);
  uint16_t try_place(Buffer buffer, const NewItem& item);
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
