// Keeps every live node of a level within reach of the entry's node of that level. Edges have a direction, and a full
// node gives the farthest away: after deletions, or where all have the same few neighbours, no edges may be left that
// lead to a node, or to a cluster of them.
//
// survey() follows all edges from the entry. attach_lost() has nodes that it did not come to be led to from the nearest
// that it did. Nothing that was in reach is lost by that: an edge is only given away to a node that leads to its old
// end. So an attachment needs no second survey, and may be broken off anywhere.
//
// Beside inserts a survey may miss a way that is younger than itself. Who is taken for lost is therefore looked for by
// a search first, and keeps all its edges if that finds it.
//
// attach_hidden() is for nodes that edges lead to, but searches may not come to: those read few nodes.
//
// A Source has, beside what an Inserter needs,
//   uint32_t block_count()
//   template <class F> void each_node(uint32_t block, F&& visit)   visit(const Node*, NodeId), under the nodes' lock
//   NodeId down(NodeId)                                            0: no such node
//   bool copy_payload(NodeId, void* buffer, uint32_t* bytes, int* level)   false: no such node
#pragma once

#include "graph/insert.h"
#include "graph/place_set.h"

namespace cairn::core {

template <class Source>
class Reach {
 public:
  // Of the memory of a survey.
  static size_t bytes(uint32_t blocks, uint32_t places) { return 3 * PlaceSet::bytes(blocks, places); }

  // `places`: places_of_page of the layout; `ef`: nodes that are read to attach one.
  void init(const Space* space, Source* source, uint32_t places, size_t ef, Arena* arena) {
    space_ = space;
    source_ = source;
    ef_ = ef;
    scratch_.init(*space, arena);
    search_.init(source, space->layout.code_dimensions != 0, false, arena);
    near_.attach(arena);
    payload_ = arena->allocate(space->payload_bytes_max);
    other_payload_ = arena->allocate(space->payload_bytes_max);
    edge_ = static_cast<Edge*>(arena->allocate(space->layout.edge_bytes));
    second_edge_ = static_cast<Edge*>(arena->allocate(space->layout.edge_bytes));
    blocks_ = source->block_count();
    for (PlaceSet* set : {&reached_, &unread_, &lost_}) set->init(blocks_, places, arena);
  }

  // Once. Reads the pages in their order, and again those that have nodes which only turned up afterwards.
  void survey() {
    NodeId id = 0;
    if (source_->entry(&id, &top_))
      for (int level = top_; level >= 0 && id != 0; --level) {
        entries_[level] = id;
        mark(id);
        id = level > 0 ? source_->down(id) : 0;
      }
    for (uint32_t block = 0; block < blocks_; ++block) read_block(block, true);
    spread();
    lost_.erase_all(reached_);
  }

  // Calls visit(NodeId) for each live node that neither the survey nor a search came to.
  template <class F>
  void each_lost(F&& visit) {
    for (NodeId id = take_lost(0); id != 0; id = take_lost(node_block(id)))
      if (!find(id)) visit(id);
  }

  // How many nodes were attached. Each of what came apart gets edges from those near it, though one would do to bring
  // the others in reach: searches that end early shall find it too.
  size_t attach_lost() {
    size_t attached = 0;
    for (NodeId id = take_lost(0); id != 0; id = take_lost(node_block(id))) {
      const bool found = find(id);
      may_give_away_ = !found && !reached_.contains(id);
      if (!attach(id) && !found) continue;
      ++attached;
      mark(id);
      spread();
    }
    return attached;
  }

  // After that. Has the nodes that a search for this one ends at lead to it, unless it was found or none has room.
  // Whether it was attached.
  bool attach_hidden(NodeId id) {
    may_give_away_ = false;
    return !find(id) && attach(id);
  }

 private:
  struct Near {
    NodeId id;
    float distance;
    bool full;
  };

  void mark(NodeId id) {
    if (!reached_.insert(id)) return;
    unread_.insert(id);
  }

  void read_block(uint32_t block, bool note_live) {
    do {
      const uint64_t unread = unread_.of_block(block);
      unread_.erase_block(block);
      source_->each_node(block, [&](const Node* node, NodeId id) {
        if (note_live && node->alive()) lost_.insert(id);
        const uint32_t place = node_offset(id) - 1U;
        if (place >= PlaceSet::kMaxPlaces || (unread >> place & 1) == 0) return;
        for (size_t i = 0; i < node->edge_count; ++i) mark(space_->layout.edge(node, i)->id());
      });
      note_live = false;
    } while (unread_.of_block(block) != 0);
  }

  // Until all that is reached has been read.
  void spread() {
    for (bool any = true; any;) {
      any = false;
      for (uint32_t block = unread_.next_block(0); block < blocks_; block = unread_.next_block(block)) {
        read_block(block, false);
        any = true;
      }
    }
  }

  // The first from that block on, which is no longer in the set; 0: there is none.
  NodeId take_lost(uint32_t block) {
    block = lost_.next_block(block);
    if (block >= blocks_) return 0;
    const NodeId id = node_id(block, static_cast<uint16_t>(std::countr_zero(lost_.of_block(block)) + 1));
    lost_.erase(id);
    return id;
  }

  // Searches for the node from nodes that are reached; near_ gets the live ones that were read. True: it was found, or
  // it is none.
  bool find(NodeId id) {
    near_.clear();
    if (!source_->copy_payload(id, payload_, &payload_bytes_, &level_) || level_ > top_) return true;
    query_ = make_query(*space_, payload_, payload_bytes_, &scratch_);
    Candidate at = descend(&search_, query_, entries_[top_], top_, level_);
    if (!reached_.contains(at.id)) at = {std::numeric_limits<float>::infinity(), entries_[level_]};
    if (at.id == 0) return false;
    bool found = false;
    search_.start(at.id, at.key);
    search_.run(query_, level_ == 0 ? ef_ : kDescentBeam, [&](NodeId read, const Expansion& e) -> void* {
      if (read == id)
        found = true;
      else if (e.level == level_ && e.alive())
        near_.push({read, e.distance, e.count >= space_->layout.degree});
      return nullptr;
    });
    return found;
  }

  // Has the nearest of near_ lead to the node: a few that have room; if none has, one that gives an edge away.
  bool attach(NodeId id) {
    constexpr size_t kTried = 2 * kFewestBack;
    std::sort(near_.begin(), near_.end(), [](const Near& a, const Near& b) { return a.distance < b.distance; });
    near_.truncate(std::min(near_.size(), kTried));
    size_t linked = 0;
    for (size_t i = 0; i < near_.size() && linked < kFewestBack; ++i)
      if (!near_[i].full) linked += link(id, near_[i].id, 0, linked == 0);
    for (size_t i = 0; i < near_.size() && linked == 0 && may_give_away_; ++i)
      if (near_[i].full) linked += link(id, near_[i].id, given_away(near_[i].id), true);
    return linked > 0;
  }

  // The edge from `from` to the node, in the place of that to `old` if that is not 0, and in the other direction if
  // `back`. The node leads to `old` before `from` no longer does.
  bool link(NodeId id, NodeId from, NodeId old, bool back) {
    const NodeLayout& layout = space_->layout;
    CodeFactors factors;
    CodeFactors unused;
    float distance;
    if (!make_edge(from, edge_, &distance, &factors)) return false;
    float old_distance;
    const bool leads_on = old != 0 && make_edge(old, second_edge_, &old_distance, &unused);
    bool ready = !back;
    if (back)
      source_->update(id, [&](Node* node) {
        ready = node->level == level_ && node->alive();
        if (!ready) return false;
        bool changed = leads_on && put(node, second_edge_, from);
        changed |= put(node, edge_, leads_on ? old : 0);
        return changed;
      });
    if (!ready) return false;
    bool linked = false;
    source_->update(from, [&](Node* node) {
      size_t place = node->edge_count;
      for (size_t i = 0; i < node->edge_count; ++i) {
        const NodeId end = layout.edge(node, i)->id();
        if (end == id) linked = true;
        if (end == old) place = i;
      }
      if (linked || node->level != level_ || !node->alive() || place == layout.degree) return false;
      if (place == node->edge_count) ++node->edge_count;
      Edge* edge = layout.edge(node, place);
      edge->set(id, distance, 0);
      edge->factors = factors;
      for (size_t i = 0; i < layout.code_dimensions / 8; ++i) edge->bits()[i] = static_cast<uint8_t>(~edge_->bits()[i]);
      return linked = true;
    });
    return linked;
  }

  // The edge from the node that find() looked for; `backward` are the factors of the opposite one.
  bool make_edge(NodeId to, Edge* edge, float* distance, CodeFactors* backward) {
    if (!source_->distance(to, query_, distance)) return false;
    edge->set(to, *distance, 0);
    edge->factors = *backward = {};
    if (space_->layout.code_dimensions == 0) return true;
    uint32_t bytes;
    int level;
    if (!source_->copy_payload(to, other_payload_, &bytes, &level) || bytes != payload_bytes_) return false;
    const EdgeCodes codes = make_edge_codes(*space_, other_payload_, &scratch_, edge->bits());
    edge->factors = codes.forward;
    *backward = codes.backward;
    return true;
  }

  // Adds an edge to the node that is being attached. It gives one away for that only while it is not in reach: nothing
  // is in reach through it then. Not the one to `keep`.
  bool put(Node* node, const Edge* added, NodeId keep) {
    const NodeLayout& layout = space_->layout;
    for (size_t i = 0; i < node->edge_count; ++i)
      if (layout.edge(node, i)->id() == added->id()) return false;
    if (node->edge_count == layout.degree && !may_give_away_) return false;
    const size_t place = node->edge_count < layout.degree ? node->edge_count++ : least(node, keep);
    std::memcpy(layout.edge(node, place), added, layout.edge_bytes);
    return true;
  }

  // As connect() chooses: the farthest of those that are there because there was room, of the dominated ones, of all.
  size_t least(const Node* node, NodeId keep) const {
    size_t found = 0;
    const Edge* worst = nullptr;
    for (size_t i = 0; i < node->edge_count; ++i) {
      const Edge* edge = space_->layout.edge(node, i);
      if (edge->id() == keep) continue;
      if (worst != nullptr && (edge->flags() < worst->flags() ||
                               (edge->flags() == worst->flags() && edge->distance() <= worst->distance())))
        continue;
      worst = edge;
      found = i;
    }
    return found;
  }

  // The end of the edge that a full node gives away.
  NodeId given_away(NodeId id) {
    NodeId end = 0;
    source_->update(id, [&](Node* node) {
      if (node->edge_count > 0) end = space_->layout.edge(node, least(node, 0))->id();
      return false;
    });
    return end;
  }

  const Space* space_ = nullptr;
  Source* source_ = nullptr;
  size_t ef_ = 0;
  Scratch scratch_;
  Search<Source> search_;
  NodeId entries_[kMaxLevel + 1] = {};  // the entry's nodes
  int top_ = -1;
  uint32_t blocks_ = 0;
  PlaceSet reached_;
  PlaceSet unread_;  // of these
  PlaceSet lost_;    // live and not reached
  // Of the node that is being attached.
  Query query_;
  void* payload_ = nullptr;
  void* other_payload_ = nullptr;
  uint32_t payload_bytes_ = 0;
  int level_ = 0;
  bool may_give_away_ = false;
  Array<Near> near_;
  Edge* edge_ = nullptr;
  Edge* second_edge_ = nullptr;
};

}  // namespace cairn::core
