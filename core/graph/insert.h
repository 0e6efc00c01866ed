// Insertion into the graph (HNSW, TPAMI 2020, algorithms 1 and 4), over the same node source as the search. What
// differs from the paper: the edge back from a chosen neighbour is decided from that neighbour's page alone, by the
// estimates of its codes, so that an insertion reads and writes one page a neighbour.
//
// A Source has, beside what a search needs,
//   template <class F> bool update(NodeId, F&& change)   change(Node*) under the node's lock returns whether it wrote;
//   false: no node
#pragma once

#include "graph/search.h"
#include "kernels/distance.h"
#include "quantize/rotation.h"

namespace cairn::core {

// How vectors are compared and coded; the same for all insertions into an index. Thread-safe.
struct Space {
  NodeLayout layout;
  DistanceFunction distance;
  CodeMetric code_metric;
  Rotation rotation;           // where the layout has codes
  uint32_t payload_bytes_max;  // of any vector of the index; read where a source copies payloads
  // Payload to floats, and the inner product of two payloads (read for CodeMetric::inner_product): where the layout has
  // codes.
  void (*to_floats)(const void* payload, float* out, size_t dimensions);
};

// Memory for one query or insertion at a time.
struct Scratch {
  float* floats;        // rotation.padded(), twice
  float* rotated;       // rotation.padded()
  float* difference;    // rotation.padded()
  float* other;         // rotation.padded()
  int8_t* query_bytes;  // code_dimensions
  uint8_t* bits;        // code_dimensions / 8

  void init(const Space& space, Arena* arena) {
    const size_t padded = space.layout.code_dimensions == 0 ? 0 : space.rotation.padded();
    floats = static_cast<float*>(arena->allocate(padded * sizeof(float) + 64));
    other = static_cast<float*>(arena->allocate(padded * sizeof(float) + 64));
    rotated = static_cast<float*>(arena->allocate(padded * sizeof(float) + 64));
    difference = static_cast<float*>(arena->allocate(padded * sizeof(float) + 64));
    query_bytes = static_cast<int8_t*>(arena->allocate(space.layout.code_dimensions + 64));
    bits = static_cast<uint8_t*>(arena->allocate(space.layout.code_dimensions / 8 + 64));
  }
};

// The query of a payload. The result points into the payload and the scratch.
inline Query make_query(const Space& space, const void* payload, uint32_t payload_bytes, Scratch* scratch) {
  Query query{payload, payload_bytes, space.distance, {}, nullptr};
  if (space.layout.code_dimensions == 0) return query;
  space.to_floats(payload, scratch->floats, space.rotation.dimensions());
  space.rotation.apply(scratch->floats, scratch->rotated);
  query.rotated = scratch->rotated;
  query.code = query_code(scratch->rotated, space.layout.code_dimensions, scratch->query_bytes);
  return query;
}

// Codes of the edge from the scratch's query x to y.
inline EdgeCodes make_edge_codes(const Space& space, const void* y, Scratch* scratch, uint8_t* bits) {
  const size_t n = space.rotation.dimensions();
  space.to_floats(y, scratch->other, n);
  for (size_t i = 0; i < n; ++i) scratch->other[i] -= scratch->floats[i];
  const float length_squared = inner_product(scratch->other, scratch->other, n);
  const float x_dot_r =
      space.code_metric == CodeMetric::inner_product ? inner_product(scratch->floats, scratch->other, n) : 0;
  space.rotation.apply(scratch->other, scratch->difference);
  return edge_codes(space.code_metric, scratch->difference, scratch->rotated, space.layout.code_dimensions,
                    length_squared, x_dot_r, bits);
}

struct Neighbor {
  NodeId id;
  float distance;
  bool dominated;  // a chosen one is nearer to it than the new node is: kept only because there was room
  const void* payload;
};

// Chooses neighbours from `pool`, which is sorted here: those that no nearer chosen one dominates (TPAMI 2020,
// algorithm 4), at most chosen_max; and, where these are fewer than half as many, the nearest of the others. The chosen
// ones come first in `pool`; their number is returned.
inline size_t select_neighbors(const Space& space, uint32_t payload_bytes, Array<Neighbor>* pool) {
  const size_t most = space.layout.chosen_max;
  const size_t fewest = most / 2;
  std::sort(pool->begin(), pool->end(), [](const Neighbor& a, const Neighbor& b) { return a.distance < b.distance; });
  size_t chosen = 0;
  for (size_t i = 0; i < pool->size() && chosen < most; ++i) {
    Neighbor candidate = (*pool)[i];
    candidate.dominated = false;
    for (size_t j = 0; j < chosen && !candidate.dominated; ++j)
      candidate.dominated = space.distance((*pool)[j].payload, candidate.payload, payload_bytes) <= candidate.distance;
    (*pool)[i].dominated = candidate.dominated;
    if (!candidate.dominated) std::rotate(pool->begin() + chosen, pool->begin() + i, pool->begin() + i + 1), ++chosen;
  }
  return std::min(std::max(chosen, fewest), pool->size());
}

// So many neighbours link back to an element in any case, so that it can be found.
constexpr size_t kFewestBack = 4;

// Adds to `node` the edge to x, where that is worth its place. `estimates` are the distances of x from the node's
// neighbours. Returns whether the node was changed.
//
// In a full node the farthest fill edge makes room, else the farthest dominated one if x is not dominated itself or is
// nearer, else the farthest of all if x is nearer and not dominated.
inline bool connect(const NodeLayout& layout, Node* node, NodeId x, float distance, const CodeFactors& factors,
                    const uint8_t* bits, const float* estimates) {
  const size_t count = node->edge_count;
  bool dominated = false;
  size_t place = count;
  uint16_t place_flags = 0;
  float place_distance = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < count; ++i) {
    const Edge* edge = layout.edge(node, i);
    if (edge->id() == x) return false;
    const float edge_distance = edge->distance();
    const uint16_t flags = edge->flags();
    if (flags == 0 && edge_distance <= distance && estimates[i] <= distance) dominated = true;
    if (place == count || flags > place_flags || (flags == place_flags && edge_distance > place_distance)) {
      place = i;
      place_flags = flags;
      place_distance = edge_distance;
    }
  }
  if (count < layout.degree) {
    place = count;
    ++node->edge_count;
  } else {
    const bool nearer = distance < place_distance;
    const bool makes_room =
        (place_flags & Edge::kFill) != 0 || (place_flags != 0 ? nearer || !dominated : nearer && !dominated);
    if (!makes_room) return false;
  }
  if (!dominated)
    for (size_t i = 0; i < count; ++i) {
      Edge* edge = layout.edge(node, i);
      if (i != place && distance < edge->distance() && estimates[i] < edge->distance()) edge->set_dominated();
    }
  Edge* edge = layout.edge(node, place);
  edge->set(x, distance, dominated ? Edge::kDominated : 0);
  edge->factors = factors;
  for (size_t i = 0; i < layout.code_dimensions / 8; ++i) edge->bits()[i] = static_cast<uint8_t>(~bits[i]);
  return true;
}

// Finds the neighbours of a new element, has the source store it, and connects it. One at a time; several Inserters may
// work on one source at once if its methods are thread-safe.
//
// The Source also has
//   bool entry(NodeId*, int* level)                     false: the graph is empty
//   bool add_heap_tid(NodeId, const Query&, HeapTid)    false: no room, or the node is not the query's equal any more
//   NodeId create(int level, NodeId down, const uint8_t* edges, size_t count)   stores the element's node of that level
//   void created(NodeId top, int level)                 all its nodes are stored; it may become the entry
template <class Source>
class Inserter {
 public:
  void init(const Space* space, Source* source, size_t ef_construction, Arena* arena) {
    space_ = space;
    source_ = source;
    ef_ = ef_construction;
    arena_ = arena;
    scratch_.init(*space, arena);
    search_.init(source, space->layout.code_dimensions != 0, false, arena);
    near_ = static_cast<Expansion*>(arena->allocate(sizeof(Expansion)));
    for (Plan& plan : plans_) plan.neighbors.attach(arena);
  }

  // The payload must stay as it is until insert returns. False: the heap tid has joined an equal element.
  bool insert(const void* payload, uint32_t payload_bytes, int level, HeapTid tid) {
    const Query query = make_query(*space_, payload, payload_bytes, &scratch_);
    NodeId entry;
    int top;
    buffers_used_ = 0;
    for (int l = 0; l <= level; ++l) plans_[l].count = 0;
    if (source_->entry(&entry, &top)) {
      Candidate at = descend(&search_, query, entry, top, std::min(level, top));
      for (int l = std::min(level, top); l >= 0 && at.id != 0; --l)
        if (!plan(query, l, tid, &at)) return false;
    }
    NodeId ids[kMaxLevel + 1];
    for (int l = 0; l <= level; ++l)
      ids[l] = source_->create(l, l == 0 ? 0 : ids[l - 1], plans_[l].edges, plans_[l].count);
    source_->created(ids[level], level);
    for (int l = 0; l <= level; ++l) connect_back(query, ids[l], plans_[l], l);
    return true;
  }

 private:
  struct Plan {
    Array<Neighbor> neighbors;
    size_t count;
    uint8_t* edges;
    size_t edges_capacity;
    CodeFactors* backward;
  };

  // Chooses the neighbours on one level. False: the element has joined an equal one. `at` goes down a level.
  bool plan(const Query& query, int level, HeapTid tid, Candidate* at) {
    Plan& plan = plans_[level];
    plan.neighbors.clear();
    buffers_used_ = 0;
    Candidate nearest{std::numeric_limits<float>::infinity(), 0};
    NodeId down = 0;
    search_.start(at->id, at->key);
    search_.run(
        query, ef_,
        [&](NodeId id, const Expansion& e) -> void* {
          if (e.distance < nearest.key || nearest.id == 0) {
            nearest = {e.distance, id};
            down = e.down;
          }
          // Not to a dead one: vacuum, which may be past this element's page, is about to give its place away.
          if (e.level == level && e.alive()) plan.neighbors.push({id, e.distance, false, e.payload});
          return next_buffer();
        },
        next_buffer());
    if (level == 0)
      for (size_t i = 0; i < plan.neighbors.size(); ++i)
        if (std::memcmp(plan.neighbors[i].payload, query.payload, query.payload_bytes) == 0 &&
            source_->add_heap_tid(plan.neighbors[i].id, query, tid))
          return false;
    plan.count = select_neighbors(*space_, query.payload_bytes, &plan.neighbors);
    encode(&plan);
    *at = {nearest.key, level > 0 ? down : nearest.id};
    return true;
  }

  void encode(Plan* plan) {
    const NodeLayout& layout = space_->layout;
    if (plan->edges_capacity == 0) {
      plan->edges_capacity = layout.degree;
      plan->edges = static_cast<uint8_t*>(arena_->allocate(layout.edges_bytes()));
      plan->backward = static_cast<CodeFactors*>(arena_->allocate(layout.degree * sizeof(CodeFactors)));
    }
    for (size_t i = 0; i < plan->count; ++i) {
      const Neighbor& neighbor = plan->neighbors[i];
      Edge* edge = reinterpret_cast<Edge*>(plan->edges + i * layout.edge_bytes);
      edge->set(neighbor.id, neighbor.distance, neighbor.dominated ? Edge::kFill : 0);
      edge->factors = {};
      if (layout.code_dimensions == 0) continue;
      const EdgeCodes codes = make_edge_codes(*space_, neighbor.payload, &scratch_, edge->bits());
      edge->factors = codes.forward;
      plan->backward[i] = codes.backward;
    }
  }

  // The edges back: from the neighbours that were not chosen just because there was room, and from a few in any case,
  // so that the element can be found.
  void connect_back(const Query& query, NodeId id, const Plan& plan, int level) {
    const NodeLayout& layout = space_->layout;
    size_t connected = 0;
    for (size_t i = 0; i < plan.count; ++i) {
      const Neighbor& neighbor = plan.neighbors[i];
      if (neighbor.dominated && connected >= kFewestBack) break;
      const Edge* edge = reinterpret_cast<const Edge*>(plan.edges + i * layout.edge_bytes);
      if (layout.code_dimensions == 0 && !measure_neighbors(neighbor.id, query)) continue;
      source_->update(neighbor.id, [&](Node* node) {
        if (node->level != level) return false;
        ++connected;
        if (layout.code_dimensions != 0) {
          fill_expansion(layout, node, query, neighbor.distance, near_);
          return connect(layout, node, id, neighbor.distance, plan.backward[i], edge->bits(), near_->estimates);
        }
        float estimates[kMaxDegree];
        for (size_t k = 0; k < node->edge_count; ++k) estimates[k] = measured(layout.edge(node, k)->id());
        return connect(layout, node, id, neighbor.distance, {}, edge->bits(), estimates);
      });
    }
  }

  // Without codes the neighbour's neighbours are read before it is locked.
  bool measure_neighbors(NodeId id, const Query& query) {
    if (!source_->expand(id, query, near_, nullptr)) return false;
    for (size_t k = 0; k < near_->count; ++k)
      if (!source_->distance(near_->ids[k], query, &near_->estimates[k]))
        near_->estimates[k] = std::numeric_limits<float>::infinity();
    return true;
  }

  float measured(NodeId id) const {
    for (size_t k = 0; k < near_->count; ++k)
      if (near_->ids[k] == id) return near_->estimates[k];
    return std::numeric_limits<float>::infinity();
  }

  // Of the longest payload: those of sparse vectors differ.
  void* next_buffer() {
    if (!Source::kCopiesPayload) return nullptr;
    if (buffers_used_ == buffers_.size()) {
      buffers_.attach(arena_);
      buffers_.push(arena_->allocate(space_->payload_bytes_max));
    }
    return buffers_[buffers_used_++];
  }

  const Space* space_ = nullptr;
  Source* source_ = nullptr;
  size_t ef_ = 0;
  Arena* arena_ = nullptr;
  Scratch scratch_;
  Search<Source> search_;
  Expansion* near_ = nullptr;
  Plan plans_[kMaxLevel + 1] = {};
  Array<void*> buffers_;
  size_t buffers_used_ = 0;
};

// A level for a new element: 0 for all but one in `degree` (in 64 at least: the levels are for finding the way, and
// each of their nodes is as large as one of level 0), and so on (TPAMI 2020, section 4.1).
inline int random_level(uint64_t random, size_t degree) {
  const uint64_t step = std::max<size_t>(degree, 64);
  int level = 0;
  for (uint64_t bound = UINT64_MAX / step; level < kMaxLevel && random < bound; bound /= step) ++level;
  return level;
}

}  // namespace cairn::core
