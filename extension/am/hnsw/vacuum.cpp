// ambulkdelete and amvacuumcleanup. docs/formats/hnsw.md, "Vacuum", says why each step is safe beside scans and
// inserts.
#include "am/hnsw/am.h"
#include "am/hnsw/page_source.h"
#include "am/hnsw/reach.h"
#include "pg/arena.h"
#include "pg/page_change.h"

namespace cairn::hnsw {
namespace {

struct UpperNode {
  core::NodeId id;
  core::NodeId down;
  uint8_t level;
};

struct EmptyOverflow {
  core::NodeId owner;
  core::NodeId id;
};

// The pages; what is left of them when the dead are gone, while there is a set of these.
class LiveSource : public PageSource {
 public:
  const core::IdSet* dead = nullptr;

  bool expand(core::NodeId id, const core::Query& query, core::Expansion* out, void* buffer) {
    if (!PageSource::expand(id, query, out, buffer)) return false;
    if (dead == nullptr) return true;
    uint16_t left = 0;
    for (size_t i = 0; i < out->count; ++i) {
      if (dead->contains(out->ids[i])) continue;
      out->ids[left] = out->ids[i];
      out->estimates[left++] = out->estimates[i];
    }
    out->count = left;
    return true;
  }
};

struct Vacuum {
  Relation relation;
  BufferAccessStrategy strategy;
  Index index;
  core::Arena* arena;
  LiveSource source;
  core::IdSet dead;
  core::Array<core::NodeId> dead_list;
  core::Array<UpperNode> upper;
  core::Array<EmptyOverflow> overflow;  // without rows; in no chain any more when shorten_chains() is over
  core::Array<core::NodeId> hidden;     // live ones that a search may not find when the dead are gone
  IndexBulkDeleteResult* stats;
  IndexBulkDeleteCallback callback;
  void* callback_state;
};

Buffer read_page(Vacuum* vacuum, BlockNumber block, int mode) {
  vacuum_delay_point();
  const Buffer buffer = ReadBufferExtended(vacuum->relation, MAIN_FORKNUM, block, RBM_NORMAL, vacuum->strategy);
  LockBuffer(buffer, mode);
  return buffer;
}

void mark_dead(Vacuum* vacuum, core::NodeId id) {
  if (vacuum->dead.insert(id)) vacuum->dead_list.push(id);
}

// Takes the dead rows out of `count` tids of a locked page; how many are left.
uint32_t remove_dead(Vacuum* vacuum, const uint8_t* page, const core::HeapTid* tids, uint32_t count,
                     pg::PageChange* change) {
  core::HeapTid kept[PageSource::kMaxOverflowTids];
  uint32_t left = 0;
  uint32_t same = 0;  // so many at the beginning stay where they are
  for (uint32_t i = 0; i < count; ++i) {
    ItemPointerData row;
    memcpy(&row, &tids[i], sizeof(row));
    if (vacuum->callback(&row, vacuum->callback_state)) {
      vacuum->stats->tuples_removed += 1;
      continue;
    }
    if (left == i) same = i + 1;
    kept[left++] = tids[i];
  }
  vacuum->stats->num_index_tuples += left;
  if (left > same)
    change->put(static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(tids + same) - page), kept + same,
                (left - same) * static_cast<uint32_t>(sizeof(core::HeapTid)));
  return left;
}

void remove_from_node(Vacuum* vacuum, const uint8_t* page, const core::Node* node, core::NodeId id,
                      pg::PageChange* change) {
  if (node->level > 0) {
    vacuum->upper.push({id, node->down(), node->level});
    return;
  }
  const auto left = static_cast<uint8_t>(remove_dead(vacuum, page, node->heap_tids, node->heap_tid_count, change));
  if (left == 0 && node->down() == 0) mark_dead(vacuum, id);
  if (left != node->heap_tid_count)
    change->put(static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(&node->heap_tid_count) - page), &left,
                sizeof(left));
}

void remove_from_overflow(Vacuum* vacuum, const uint8_t* page, const core::OverflowNode* node, core::NodeId id,
                          pg::PageChange* change) {
  const auto left = static_cast<uint16_t>(remove_dead(vacuum, page, node->heap_tids(), node->heap_tid_count, change));
  if (left == 0) vacuum->overflow.push({node->owner(), id});
  if (left != node->heap_tid_count)
    change->put(static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(&node->heap_tid_count) - page), &left,
                sizeof(left));
}

// Takes the dead rows out of the pages; elements and overflow nodes without rows are dead from now on. The free space
// map is told what it may have lost in a crash.
void remove_rows(Vacuum* vacuum) {
  const BlockNumber blocks = RelationGetNumberOfBlocks(vacuum->relation);
  vacuum->stats->num_index_tuples = 0;
  for (BlockNumber block = 1; block < blocks; ++block) {
    const Buffer buffer = read_page(vacuum, block, BUFFER_LOCK_EXCLUSIVE);
    auto* page = reinterpret_cast<uint8_t*>(BufferGetPage(buffer));
    const core::PageTail* tail = core::page_tail(page);
    const bool whole =
        PageIsNew(BufferGetPage(buffer)) || (tail->page_id == core::kPageId && tail->kind == core::kFreePage);
    bool has_place = false;
    pg::PageChange change;
    change.start(vacuum->relation, buffer);
    each_item(page, block, [&](uint8_t* item, uint32_t length, core::NodeId id) {
      const auto* node = reinterpret_cast<const core::Node*>(item);
      const auto* overflow = reinterpret_cast<const core::OverflowNode*>(item);
      if (node->level == core::kFreeLevel)
        has_place = true;
      else if (core::node_is_sound(vacuum->index.space.layout, node, length))
        remove_from_node(vacuum, page, node, id, &change);
      else if (core::overflow_is_sound(overflow, length))
        remove_from_overflow(vacuum, page, overflow, id, &change);
    });
    change.finish();
    UnlockReleaseBuffer(buffer);
    if (whole || has_place) tell_free(vacuum->relation, block, whole ? core::kFreePage : core::kNodePage);
  }
}

// Takes the dead overflow nodes out of one element's chain. False: the chain is damaged.
bool shorten_chain(Vacuum* vacuum, core::NodeId owner) {
  core::NodeId before = 0;  // 0: the owner itself
  core::NodeId next = vacuum->source.overflow_head(owner);
  uint32_t last = core::kLastSequence + 1;
  while (next != 0) {
    vacuum_delay_point();
    const PageSource::LockedOverflow at = vacuum->source.lock_overflow(next, BUFFER_LOCK_SHARE);
    if (at.node == nullptr) return false;
    const bool sound = at.node->owner() == owner && at.node->sequence < last;
    last = at.node->sequence;
    const bool dead = at.node->heap_tid_count == 0;
    const core::NodeId rest = at.node->next();
    UnlockReleaseBuffer(at.buffer);
    if (!sound) return false;
    if (!dead) {
      before = next;
      next = rest;
    } else if (before != 0) {
      if (!vacuum->source.replace_next(before, rest)) return false;
      next = rest;
    } else if (vacuum->source.replace_head(owner, next, rest)) {
      next = rest;
    } else {  // an insert has put another one in front
      next = vacuum->source.overflow_head(owner);
      last = core::kLastSequence + 1;
    }
  }
  return true;
}

// Takes all dead overflow nodes out of their chains; elements that have no rows in either place are dead.
void shorten_chains(Vacuum* vacuum) {
  core::Array<EmptyOverflow>& empty = vacuum->overflow;
  std::sort(empty.begin(), empty.end(),
            [](const EmptyOverflow& a, const EmptyOverflow& b) { return a.owner < b.owner; });
  size_t taken = 0;
  bool sound = false;
  for (size_t i = 0; i < empty.size(); ++i) {
    const EmptyOverflow node = empty[i];
    if (i == 0 || node.owner != empty[i - 1].owner) {
      sound = shorten_chain(vacuum, node.owner);
      const PageSource::Locked at = vacuum->source.lock(node.owner, BUFFER_LOCK_SHARE);
      if (at.node != nullptr) {
        if (at.node->level == 0 && !at.node->alive()) mark_dead(vacuum, node.owner);
        UnlockReleaseBuffer(at.buffer);
      }
    }
    if (sound) empty[taken++] = node;
  }
  empty.truncate(taken);
}

// The nodes above a dead element are dead with it.
void mark_upper(Vacuum* vacuum) {
  std::sort(vacuum->upper.begin(), vacuum->upper.end(),
            [](const UpperNode& a, const UpperNode& b) { return a.level < b.level; });
  for (size_t i = 0; i < vacuum->upper.size(); ++i) {
    const UpperNode& node = vacuum->upper[i];
    if (!vacuum->dead.contains(node.down)) continue;
    mark_dead(vacuum, node.id);
    vacuum->source.update(node.id, [](core::Node* changed) {
      changed->heap_tid_count = 0;
      return true;
    });
  }
}

// The entry must be a node that stays.
void choose_entry(Vacuum* vacuum) {
  core::NodeId entry;
  int level;
  if (!vacuum->source.entry(&entry, &level) || !vacuum->dead.contains(entry)) return;
  core::NodeId best = 0;
  int best_level = 0;
  for (size_t i = vacuum->upper.size(); i-- > 0 && best == 0;)
    if (!vacuum->dead.contains(vacuum->upper[i].id)) {
      best = vacuum->upper[i].id;
      best_level = vacuum->upper[i].level;
    }
  const BlockNumber blocks = RelationGetNumberOfBlocks(vacuum->relation);
  for (BlockNumber block = 1; block < blocks && best == 0; ++block) {
    const Buffer buffer = read_page(vacuum, block, BUFFER_LOCK_SHARE);
    each_node(vacuum->index.space.layout, reinterpret_cast<uint8_t*>(BufferGetPage(buffer)), block,
              [&](core::Node* node, core::NodeId id) {
                if (best == 0 && node->level == 0 && node->alive()) best = id;
              });
    UnlockReleaseBuffer(buffer);
  }
  vacuum->source.replace_entry(best, best_level);
}

// Of a node that has edges to dead ones.
struct Torn {
  core::NodeId id;
  int level;
  core::Query query;
  core::Search<LiveSource> search;
  core::Array<core::Neighbor> near;  // live nodes of its level
};

// Goes on from `start` to the node; whether it was found.
bool search_near(Vacuum* vacuum, Torn* torn, core::Candidate start) {
  bool found = false;
  torn->near.clear();
  const auto next_buffer = [&] { return palloc(vacuum->index.space.payload_bytes_max); };
  torn->search.start(start.id, start.key);
  torn->search.run(
      torn->query, vacuum->index.ef_construction,
      [&](core::NodeId id, const core::Expansion& node) -> void* {
        if (id == torn->id)
          found = true;
        else if (node.level == torn->level && node.alive() && !vacuum->dead.contains(id))
          torn->near.push({id, node.distance, false, node.payload});
        return next_buffer();
      },
      next_buffer());
  return found;
}

// Looks for the node as a scan would, past the dead. What does not come to it does not come near it: then it is
// noted as hidden, and the search begins at the node itself and passes through the dead.
void find_neighbors(Vacuum* vacuum, Torn* torn) {
  core::NodeId entry;
  int top;
  bool found = false;
  vacuum->source.dead = &vacuum->dead;
  if (vacuum->source.entry(&entry, &top) && torn->level <= top) {
    const core::Candidate at = core::descend(&torn->search, torn->query, entry, top, torn->level);
    found = at.id != 0 && search_near(vacuum, torn, at);
  }
  vacuum->source.dead = nullptr;
  // Above level 0 scans end where the nearest few lead to no nearer ones.
  if (!found || torn->level > 0) vacuum->hidden.push(torn->id);
  if (!found) search_near(vacuum, torn, {0, torn->id});
}

// Edges to dead nodes give way to edges to live ones nearby.
void mend_node(Vacuum* vacuum, core::NodeId id) {
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw vacuum node", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  pg::ContextArena arena(context);
  const core::Space& space = vacuum->index.space;
  void* payload = palloc(space.payload_bytes_max);
  uint32_t bytes;
  int level;
  if (vacuum->source.copy_payload(id, payload, &bytes, &level)) {
    core::Scratch scratch;
    scratch.init(space, &arena);
    Torn torn;
    torn.id = id;
    torn.level = level;
    torn.query = core::make_query(space, payload, bytes, &scratch);
    torn.search.init(&vacuum->source, space.layout.code_dimensions != 0, false, &arena);
    torn.near.attach(&arena);
    find_neighbors(vacuum, &torn);
    const core::Query& query = torn.query;
    core::Array<core::Neighbor>& pool = torn.near;
    // In the order of an insertion: first those that lead somewhere else than a nearer one does.
    core::select_neighbors(space, bytes, &pool);
    auto* edges = static_cast<uint8_t*>(arena.allocate(pool.size() * space.layout.edge_bytes + 1));
    auto* backward = static_cast<core::CodeFactors*>(arena.allocate(pool.size() * sizeof(core::CodeFactors) + 1));
    for (size_t i = 0; i < pool.size(); ++i) {
      auto* edge = reinterpret_cast<core::Edge*>(edges + i * space.layout.edge_bytes);
      edge->set(pool[i].id, pool[i].distance, pool[i].dominated ? core::Edge::kFill : 0);
      edge->factors = backward[i] = {};
      if (space.layout.code_dimensions == 0) continue;
      const core::EdgeCodes codes = core::make_edge_codes(space, pool[i].payload, &scratch, edge->bits());
      edge->factors = codes.forward;
      backward[i] = codes.backward;
    }
    vacuum->source.update(
        id, [&](core::Node* node) { return replace_dead_edges(space.layout, node, vacuum->dead, edges, pool.size()); });
    // The dead may have been all that led here.
    auto* near = static_cast<core::Expansion*>(arena.allocate(sizeof(core::Expansion)));
    std::fill_n(near->estimates, core::kMaxDegree, std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < Min(pool.size(), core::kFewestBack); ++i) {
      const auto* edge = reinterpret_cast<const core::Edge*>(edges + i * space.layout.edge_bytes);
      vacuum->source.update(pool[i].id, [&](core::Node* node) {
        if (node->level != level || !node->alive()) return false;
        core::fill_expansion(space.layout, node, query, pool[i].distance, near);
        return core::connect(space.layout, node, id, pool[i].distance, backward[i], edge->bits(), near->estimates);
      });
    }
  }
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
}

void mend_edges(Vacuum* vacuum) {
  const BlockNumber blocks = RelationGetNumberOfBlocks(vacuum->relation);
  core::Array<core::NodeId> torn;
  torn.attach(vacuum->arena);
  for (BlockNumber block = 1; block < blocks; ++block) {
    const Buffer buffer = read_page(vacuum, block, BUFFER_LOCK_SHARE);
    torn.clear();
    each_node(vacuum->index.space.layout, reinterpret_cast<uint8_t*>(BufferGetPage(buffer)), block,
              [&](core::Node* node, core::NodeId id) {
                if (vacuum->dead.contains(id)) return;
                for (size_t i = 0; i < node->edge_count; ++i)
                  if (vacuum->dead.contains(vacuum->index.space.layout.edge(node, i)->id())) {
                    torn.push(id);
                    return;
                  }
              });
    UnlockReleaseBuffer(buffer);
    for (size_t i = 0; i < torn.size(); ++i) mend_node(vacuum, torn[i]);
  }
}

// Nothing leads to the dead nodes any more but a scan that is under way, and that is content with whatever it finds
// there.
void free_places(Vacuum* vacuum) {
  // The higher levels first: a crash in between leaves no node above a place that is used again.
  for (size_t i = vacuum->dead_list.size(); i-- > 0;) {
    vacuum_delay_point();
    const PageSource::Locked at = vacuum->source.lock(vacuum->dead_list[i], BUFFER_LOCK_EXCLUSIVE);
    if (at.node == nullptr) continue;
    BlockNumber outside = at.node->level == 0 ? at.node->payload_block : core::kNoBlock;
    const uint32_t stamp = at.node->payload_stamp;
    const uint8_t level = core::kFreeLevel;
    pg::PageChange change;
    change.start(vacuum->relation, at.buffer);
    change.put(static_cast<uint32_t>(reinterpret_cast<uint8_t*>(at.node) - at.page) + offsetof(core::Node, level),
               &level, 1);
    change.finish();
    UnlockReleaseBuffer(at.buffer);
    tell_free(vacuum->relation, core::node_block(vacuum->dead_list[i]), core::kNodePage);
    while (outside != core::kNoBlock && outside < RelationGetNumberOfBlocks(vacuum->relation)) {
      const Buffer buffer = read_page(vacuum, outside, BUFFER_LOCK_EXCLUSIVE);
      auto* page = reinterpret_cast<uint8_t*>(BufferGetPage(buffer));
      core::PageTail tail = *core::page_tail(page);
      const bool own = tail.page_id == core::kPageId && tail.kind == core::kVectorPage && tail.payload_stamp == stamp;
      if (own) {
        tail.kind = core::kFreePage;
        change.start(vacuum->relation, buffer);
        change.put(BLCKSZ - sizeof(tail), &tail, sizeof(tail));
        change.finish();
      }
      UnlockReleaseBuffer(buffer);
      if (!own) break;
      tell_free(vacuum->relation, outside, core::kFreePage);
      vacuum->stats->pages_deleted += 1;
      outside = tail.next_block;
    }
  }
}

}  // namespace

// Puts the given edges, best first, in place of those to dead nodes, as far as they are not there already; what is
// left of the dead ones is closed up.
bool replace_dead_edges(const core::NodeLayout& layout, core::Node* node, const core::IdSet& dead, const uint8_t* edges,
                        size_t count) {
  size_t next = 0;
  size_t kept = 0;
  bool changed = false;
  for (size_t i = 0; i < node->edge_count; ++i) {
    core::Edge* edge = layout.edge(node, i);
    if (dead.contains(edge->id())) {
      const core::Edge* found = nullptr;
      for (; next < count && found == nullptr; ++next) {
        const auto* candidate = reinterpret_cast<const core::Edge*>(edges + next * layout.edge_bytes);
        bool there = false;
        for (size_t k = 0; k < node->edge_count && !there; ++k)
          there = (k < kept || k > i) && layout.edge(node, k)->id() == candidate->id();
        if (!there) found = candidate;
      }
      changed = true;
      if (found == nullptr) continue;
      memcpy(edge, found, layout.edge_bytes);
    }
    if (kept != i) memcpy(layout.edge(node, kept), edge, layout.edge_bytes);
    ++kept;
  }
  node->edge_count = static_cast<uint16_t>(kept);
  return changed;
}

IndexBulkDeleteResult* bulk_delete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                   IndexBulkDeleteCallback callback, void* state) {
  if (stats == nullptr) stats = static_cast<IndexBulkDeleteResult*>(palloc0(sizeof(IndexBulkDeleteResult)));
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw vacuum", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  pg::ContextArena arena(context);
  auto* vacuum = static_cast<Vacuum*>(palloc0(sizeof(Vacuum)));
  vacuum->relation = info->index;
  vacuum->strategy = info->strategy;
  vacuum->arena = &arena;
  vacuum->stats = stats;
  vacuum->callback = callback;
  vacuum->callback_state = state;
  Meta meta;
  describe(info->index, &arena, &vacuum->index, &meta);
  vacuum->source.init(&vacuum->index);
  vacuum->dead.attach(&arena);
  vacuum->dead_list.attach(&arena);
  vacuum->upper.attach(&arena);
  vacuum->overflow.attach(&arena);
  vacuum->hidden.attach(&arena);
  remove_rows(vacuum);
  shorten_chains(vacuum);
  if (vacuum->dead_list.size() > 0 || vacuum->overflow.size() > 0) {
    mark_upper(vacuum);
    // Wait for the inserts that may have chosen a neighbour, or looked into a chain, before it was dead.
    LockPage(info->index, 0, ExclusiveLock);
    choose_entry(vacuum);
    UnlockPage(info->index, 0, ExclusiveLock);
    if (vacuum->dead_list.size() > 0) mend_edges(vacuum);
  }
  attach_lost_nodes(vacuum->index, info->strategy, &vacuum->hidden);
  // Not before: a vacuum that is broken off until here finds the dead again and does all this once more.
  if (vacuum->dead_list.size() > 0 || vacuum->overflow.size() > 0) {
    free_places(vacuum);
    for (size_t i = 0; i < vacuum->overflow.size(); ++i) vacuum->source.free_place(vacuum->overflow[i].id);
  }
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
  return stats;
}

IndexBulkDeleteResult* vacuum_cleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats) {
  if (info->analyze_only) return stats;
  // Inserts too take edges away.
  if (stats == nullptr) {
    const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw vacuum", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext old = MemoryContextSwitchTo(context);
    pg::ContextArena arena(context);
    Index index;
    Meta meta;
    describe(info->index, &arena, &index, &meta);
    attach_lost_nodes(index, info->strategy, nullptr);
    MemoryContextSwitchTo(old);
    MemoryContextDelete(context);
    return nullptr;
  }
  stats->num_pages = RelationGetNumberOfBlocks(info->index);
  IndexFreeSpaceMapVacuum(info->index);
  return stats;
}

}  // namespace cairn::hnsw
