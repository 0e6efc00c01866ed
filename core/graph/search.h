// Best-first search over a graph whose nodes hold short codes of their neighbours: one node read a hop. A node that is
// read gives its exact distance and an estimate for each neighbour; the estimates alone choose what is read next
// (SymphonyQG, SIGMOD 2025, section 4). Written once over a node source: memory while an index is built, pages
// afterwards.
//
// A Source has
//   bool expand(NodeId, const Query&, Expansion*, void* payload_buffer)   false: no such node (any more)
//   bool distance(NodeId, const Query&, float*)                           for metrics without codes
//   void prefetch(NodeId)                                                 a hint
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/array.h"
#include "graph/node.h"
#include "kernels/code.h"

namespace cairn::core {

// Distance between two payloads of so many bytes. Additive over parts where a payload may be longer than a page.
using DistanceFunction = float (*)(const void* a, const void* b, size_t bytes);

struct Query {
  const void* payload;
  uint32_t payload_bytes;
  DistanceFunction distance;
  QueryCode code;        // valid where the layout has codes
  const float* rotated;  // Pq, likewise
};

struct Expansion {
  float distance;
  float key;  // the estimate by which the node was chosen to be read
  uint8_t level;
  uint8_t heap_tid_count;
  uint16_t count;
  NodeId down;          // on level 0 its first overflow node, or 0
  const void* payload;  // the node's vector: in place, or in the caller's buffer; null if no buffer was given
  HeapTid heap_tids[kMaxHeapTids];
  NodeId ids[kMaxDegree];
  float estimates[kMaxDegree];  // valid where the layout has codes

  bool has_overflow() const { return level == 0 && down != 0; }
  bool alive() const { return heap_tid_count > 0 || has_overflow(); }
};

// Header, neighbours and estimates of a node whose exact distance from the query is known. The caller holds the node's
// lock and has checked edge_count and heap_tid_count.
inline void fill_expansion(const NodeLayout& layout, const Node* node, const Query& query, float distance,
                           Expansion* out) {
  out->distance = distance;
  out->level = node->level;
  out->down = node->down();
  out->heap_tid_count = node->heap_tid_count;
  for (size_t i = 0; i < node->heap_tid_count; ++i) out->heap_tids[i] = node->heap_tids[i];
  out->count = node->edge_count;
  for (size_t i = 0; i < node->edge_count; ++i) out->ids[i] = layout.edge(node, i)->id();
  if (layout.code_dimensions == 0 || node->edge_count == 0) return;
  int32_t sums[kMaxDegree];
  masked_sums(layout.edge(node, 0)->bits(), layout.edge_bytes, node->edge_count, query.code.bytes,
              layout.code_dimensions, sums);
  for (size_t i = 0; i < node->edge_count; ++i) {
    const CodeFactors factors = layout.edge(node, i)->factors;
    out->estimates[i] = distance + factors.add + factors.scale * query.code.dot(sums[i]);
  }
}

// Open addressing; ids are never 0.
class IdSet {
 public:
  void attach(Arena* arena) { arena_ = arena; }

  void clear() {
    if (slots_ != nullptr) std::memset(slots_, 0, capacity_ * sizeof(NodeId));
    size_ = 0;
  }

  // False if it was there.
  bool insert(NodeId id) {
    if (size_ * 2 >= capacity_) grow();
    for (size_t i = slot_of(id);; i = (i + 1) & (capacity_ - 1)) {
      if (slots_[i] == id) return false;
      if (slots_[i] == 0) {
        slots_[i] = id;
        ++size_;
        return true;
      }
    }
  }

  bool contains(NodeId id) const {
    if (size_ == 0) return false;
    for (size_t i = slot_of(id);; i = (i + 1) & (capacity_ - 1)) {
      if (slots_[i] == id) return true;
      if (slots_[i] == 0) return false;
    }
  }

  size_t size() const { return size_; }
  size_t bytes() const { return capacity_ * sizeof(NodeId); }

 private:
  size_t slot_of(NodeId id) const { return (id * 0x9e3779b97f4a7c15) >> shift_; }

  void grow() {
    const NodeId* old = slots_;
    const size_t old_capacity = capacity_;
    capacity_ = capacity_ == 0 ? 1024 : capacity_ * 4;
    shift_ = 64 - std::countr_zero(capacity_);
    slots_ = static_cast<NodeId*>(arena_->allocate(capacity_ * sizeof(NodeId)));
    std::memset(slots_, 0, capacity_ * sizeof(NodeId));
    size_ = 0;
    for (size_t i = 0; i < old_capacity; ++i)
      if (old[i] != 0) insert(old[i]);
  }

  Arena* arena_ = nullptr;
  NodeId* slots_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
  int shift_ = 64;
};

struct Candidate {
  float key;
  NodeId id;
};

// One search on one level, which can be gone on with after it has ended. Not thread-safe.
template <class Source>
class Search {
 public:
  // `keep_rest`: what did not fit is remembered, so that more() has something to go on with.
  void init(Source* source, bool has_codes, bool keep_rest, Arena* arena) {
    source_ = source;
    has_codes_ = has_codes;
    keep_rest_ = keep_rest;
    open_.attach(arena);
    nearest_.attach(arena);
    rest_.attach(arena);
    seen_.attach(arena);
    expansion_ = static_cast<Expansion*>(arena->allocate(sizeof(Expansion)));
  }

  void start(NodeId entry, float key) {
    open_.clear();
    nearest_.clear();
    rest_.clear();
    seen_.clear();
    dead_ = 0;
    seen_.insert(entry);
    push({key, entry});
    nearest_.push({key, entry});
  }

  // Reads nodes until the `ef` nearest that are known have all been read; dead ones do not count, up to kDeadMost times
  // `ef`. visit(NodeId, const Expansion&) is called for each node that is read and returns the buffer for the next
  // one's vector, or null.
  template <class Visit>
  void run(const Query& query, size_t ef, Visit&& visit, void* buffer = nullptr) {
    for (size_t most = ef; !open_.empty() && (nearest_.size() < most || !(open_[0].key > nearest_[0].key));
         most = ef + std::min(dead_, kDeadMost * ef)) {
      // It had been among the nearest until nearer ones came, and is again, since one of these is dead.
      if (open_[0].key > nearest_[0].key) note_near(open_[0], most);
      buffer = read_nearest(query, visit, buffer, [&](const Candidate& candidate) { offer(candidate, most); });
    }
  }

  // Whether anything is known that was not read. Afterwards go_on() takes over from run().
  bool more() {
    for (size_t i = 0; i < rest_.size(); ++i) add(rest_[i]);
    rest_.clear();
    return !open_.empty();
  }

  // One more node to start from.
  void add(const Candidate& candidate) {
    if (seen_.insert(candidate.id)) push(candidate);
  }

  // Reads `count` nodes, always the nearest that is known.
  template <class Visit>
  void go_on(const Query& query, size_t count, Visit&& visit) {
    for (; count > 0 && !open_.empty(); --count)
      read_nearest(query, visit, nullptr, [&](const Candidate& candidate) {
        if (!has_codes_ || seen_.insert(candidate.id)) push(candidate);
      });
  }

  // The key of the nearest that is known and not read; valid after more() returned true.
  float nearest_open() const { return open_[0].key; }

  size_t bytes() const { return seen_.bytes() + (open_.size() + rest_.size()) * sizeof(Candidate); }

 private:
  static constexpr size_t kDeadMost = 8;  // where a whole region has been deleted, a search does not read all of it

  struct Farther {
    bool operator()(const Candidate& a, const Candidate& b) const { return a.key > b.key; }
  };
  struct Nearer {
    bool operator()(const Candidate& a, const Candidate& b) const { return a.key < b.key; }
  };

  void push(const Candidate& candidate) {
    open_.push(candidate);
    std::push_heap(open_.begin(), open_.end(), Farther{});
  }

  void note_near(const Candidate& candidate, size_t ef) {
    if (nearest_.size() >= ef) {
      if (!(candidate.key < nearest_[0].key)) return;
      std::pop_heap(nearest_.begin(), nearest_.end(), Nearer{});
      nearest_.pop();
    }
    nearest_.push(candidate);
    std::push_heap(nearest_.begin(), nearest_.end(), Nearer{});
  }

  // With codes a neighbour is marked as seen when it is taken: one that is too far now may be offered again by another
  // node with a better estimate. Without them it was when it was measured.
  void offer(const Candidate& candidate, size_t ef) {
    const bool too_far = nearest_.size() >= ef && !(candidate.key < nearest_[0].key);
    if (too_far && !keep_rest_) return;
    if (too_far && has_codes_) return rest_.push(candidate);
    if (has_codes_ && !seen_.insert(candidate.id)) return;
    push(candidate);
    if (!too_far) note_near(candidate, ef);
  }

  // Calls offer(Candidate) for each neighbour of the nearest node, and returns what visit() returned.
  template <class Visit, class Offer>
  void* read_nearest(const Query& query, Visit&& visit, void* buffer, Offer&& offer) {
    const Candidate next = open_[0];
    std::pop_heap(open_.begin(), open_.end(), Farther{});
    open_.pop();
    // Most often the next one to be read, and there is time until then.
    if (!open_.empty()) source_->prefetch(open_[0].id);
    if (!source_->expand(next.id, query, expansion_, buffer)) return buffer;
    for (size_t i = 0; i < expansion_->count; ++i) {
      Candidate neighbor{expansion_->estimates[i], expansion_->ids[i]};
      if (!has_codes_ && (!seen_.insert(neighbor.id) || !source_->distance(neighbor.id, query, &neighbor.key)))
        continue;
      // Between coordinates of more than 1e19 nothing can be told from codes. It is looked at when there is nothing
      // better: the way to the others may lead there.
      if (std::isnan(neighbor.key)) neighbor.key = std::numeric_limits<float>::infinity();
      offer(neighbor);
    }
    expansion_->key = next.key;
    if (!expansion_->alive()) ++dead_;
    return visit(next.id, *expansion_);
  }

  Source* source_ = nullptr;
  bool has_codes_ = false;
  bool keep_rest_ = false;
  Array<Candidate> open_;     // min-heap: known, not read
  Array<Candidate> nearest_;  // max-heap: the ef nearest that are known
  Array<Candidate> rest_;     // were too far
  IdSet seen_;
  size_t dead_ = 0;  // read
  Expansion* expansion_ = nullptr;
};

// Nodes that a descent keeps on each level. With one, as in TPAMI 2020, it ends in a wrong cluster now and then.
constexpr size_t kDescentBeam = 2;

// Goes down from the entry to `level`: the id and the exact distance of the nearest node found there. 0 if the graph is
// empty.
template <class Source>
Candidate descend(Search<Source>* search, const Query& query, NodeId entry, int from_level, int level) {
  Candidate at{std::numeric_limits<float>::infinity(), entry};
  for (int current = from_level; current > level; --current) {
    Candidate best{std::numeric_limits<float>::infinity(), 0};
    NodeId down = 0;
    search->start(at.id, at.key);
    search->run(query, kDescentBeam, [&](NodeId id, const Expansion& e) -> void* {
      if (best.id == 0 || e.distance < best.key) {
        best = {e.distance, id};
        down = e.down;
      }
      return nullptr;
    });
    if (best.id == 0) return {0, 0};
    at = {best.key, down};
  }
  return at;
}

}  // namespace cairn::core
