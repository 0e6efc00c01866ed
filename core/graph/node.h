// A node of the graph as it lies in a page (docs/formats/hnsw.md draws it): header, edges with their codes, and the
// element's vector behind them where the page has room for it. One such node exists for each level that an element is
// in.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "quantize/code.h"

namespace cairn::core {

// Block number and line pointer, block << 16 | offset. Offsets begin at 1, so 0 is no node.
using NodeId = uint64_t;

constexpr NodeId node_id(uint32_t block, uint16_t offset) { return static_cast<NodeId>(block) << 16 | offset; }
constexpr uint32_t node_block(NodeId id) { return static_cast<uint32_t>(id >> 16); }
constexpr uint16_t node_offset(NodeId id) { return static_cast<uint16_t>(id); }

// PostgreSQL's ItemPointerData.
struct HeapTid {
  uint16_t block_high;
  uint16_t block_low;
  uint16_t offset;
};
static_assert(sizeof(HeapTid) == 6);

constexpr uint32_t kMaxHeapTids = 10;
constexpr uint32_t kMaxDegree = 200;
constexpr uint8_t kMaxLevel = 12;
constexpr uint8_t kOverflowLevel = 0xfe;  // not a node of the graph but an OverflowNode
constexpr uint8_t kFreeLevel = 0xff;      // nothing is here: the place may be used again

struct Node {
  uint8_t level;
  uint8_t heap_tid_count;  // above level 0 it is 1 while the element lives, and the tid is not read
  uint16_t edge_count;
  uint32_t payload_bytes;
  uint32_t down_block;     // the same element one level below; on level 0 its first overflow node, if any
  uint32_t payload_block;  // the first page of the vector where that is not behind the edges
  uint32_t payload_stamp;  // repeated in those pages: they are still this vector's
  uint16_t down_offset;
  uint8_t lock;  // used while a build is in memory; 0 on disk
  uint8_t unused;
  HeapTid heap_tids[kMaxHeapTids];
  uint8_t padding[4];  // the edges begin at a multiple of 8

  NodeId down() const { return node_id(down_block, down_offset); }
  void set_down(NodeId id) {
    down_block = node_block(id);
    down_offset = node_offset(id);
  }
  bool alive() const { return heap_tid_count > 0 || (level == 0 && down() != 0); }
};
static_assert(sizeof(Node) == 88);

// Further tids of an element that many rows share: a chain from its node of level 0. No edge leads here.
struct OverflowNode {
  uint8_t level;  // kOverflowLevel
  uint8_t unused;
  uint16_t heap_tid_count;  // 0: dead for good
  uint32_t sequence;        // falls along the chain
  uint32_t next_block;
  uint32_t owner_block;  // the element's node of level 0
  uint16_t next_offset;
  uint16_t owner_offset;

  NodeId next() const { return node_id(next_block, next_offset); }
  void set_next(NodeId id) {
    next_block = node_block(id);
    next_offset = node_offset(id);
  }
  NodeId owner() const { return node_id(owner_block, owner_offset); }
  // They go on to the item's end.
  HeapTid* heap_tids() { return reinterpret_cast<HeapTid*>(this + 1); }
  const HeapTid* heap_tids() const { return reinterpret_cast<const HeapTid*>(this + 1); }
  static uint32_t room(uint32_t item_bytes) {
    return (item_bytes - static_cast<uint32_t>(sizeof(OverflowNode))) / static_cast<uint32_t>(sizeof(HeapTid));
  }

  // The only tid of a new head of the chain.
  void init(NodeId owner, NodeId next, uint32_t next_sequence, HeapTid tid) {
    *this = {kOverflowLevel,    0, 1, next_sequence + 1, node_block(next), node_block(owner), node_offset(next),
             node_offset(owner)};
    heap_tids()[0] = tid;
  }
};
static_assert(sizeof(OverflowNode) == 20);
constexpr uint32_t kLastSequence = 0xfffffffe;  // no new node goes in front of one that has it

struct Edge {
  static constexpr uint16_t kFill = 0x8000;       // only kept because there was room
  static constexpr uint16_t kDominated = 0x4000;  // another neighbour is nearer to this one than the node is
  static constexpr uint16_t kFlags = kFill | kDominated;

  uint32_t block;
  uint16_t offset_and_flags;
  uint16_t distance_bits;  // the upper half of the float
  CodeFactors factors;
  // The code's bits follow.

  NodeId id() const { return node_id(block, static_cast<uint16_t>(offset_and_flags & ~kFlags)); }
  uint16_t flags() const { return offset_and_flags & kFlags; }
  float distance() const { return std::bit_cast<float>(static_cast<uint32_t>(distance_bits) << 16); }
  uint8_t* bits() { return reinterpret_cast<uint8_t*>(this + 1); }
  const uint8_t* bits() const { return reinterpret_cast<const uint8_t*>(this + 1); }

  void set(NodeId id, float distance, uint16_t flags) {
    block = node_block(id);
    offset_and_flags = static_cast<uint16_t>(node_offset(id) | flags);
    distance_bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(distance) >> 16);
  }
  void set_dominated() { offset_and_flags |= kDominated; }
};
static_assert(sizeof(Edge) == 16);

// What is the same for all nodes of an index.
struct NodeLayout {
  uint32_t degree;           // room for so many edges
  uint32_t chosen_max;       // of them a new node chooses at most so many; the others come as edges back
  uint32_t code_dimensions;  // bits of a code, a multiple of 64; 0: no codes, neighbours are read to be measured
  uint32_t edge_bytes;
  uint32_t room;  // the most bytes that a node may have

  uint32_t edges_bytes() const { return degree * edge_bytes; }
  // Whether the vector lies behind the edges; else it has pages of its own.
  bool payload_inside(uint32_t payload_bytes) const {
    return sizeof(Node) + edges_bytes() + aligned(payload_bytes) <= room;
  }
  uint32_t node_bytes(uint32_t payload_bytes) const {
    return static_cast<uint32_t>(sizeof(Node)) + edges_bytes() +
           (payload_inside(payload_bytes) ? aligned(payload_bytes) : 0);
  }
  Edge* edge(Node* node, size_t i) const {
    return reinterpret_cast<Edge*>(reinterpret_cast<uint8_t*>(node + 1) + i * edge_bytes);
  }
  const Edge* edge(const Node* node, size_t i) const { return edge(const_cast<Node*>(node), i); }
  uint8_t* payload(Node* node) const { return reinterpret_cast<uint8_t*>(node + 1) + edges_bytes(); }
  const uint8_t* payload(const Node* node) const { return payload(const_cast<Node*>(node)); }

 private:
  static uint32_t aligned(uint32_t bytes) { return (bytes + 7) / 8 * 8; }
};

}  // namespace cairn::core
