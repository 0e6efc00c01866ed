// Rows that share one vector: the element's own places for tids, then its chain of overflow nodes.
// docs/formats/hnsw.md, "Overflow nodes", says why each step is safe beside scans and vacuum. An insert holds page 0's
// heavyweight lock, so that no node which it has seen in a chain becomes another while it looks: it may only have died.
#include "am/hnsw/page_source.h"

namespace cairn::hnsw {
namespace {

// Overflow nodes that an insert looks into before it makes a new one: the head has room, mostly.
constexpr int kTriedNodes = 16;
// A reader that meets a place which was used again begins again at the owner. In a damaged chain that helps not.
constexpr int kMaxRestarts = 100;

template <class T>
void put_field(pg::PageChange* change, const uint8_t* page, const T* field, const T& value) {
  change->put(static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(field) - page), &value, sizeof(value));
}

}  // namespace

PageSource::LockedOverflow PageSource::lock_overflow(core::NodeId id, int mode) {
  const Item at = lock_item(id, mode);
  auto* node = reinterpret_cast<core::OverflowNode*>(at.bytes);
  if (node == nullptr) return {};
  if (core::overflow_is_sound(node, at.length)) return {at.buffer, at.page, node, core::OverflowNode::room(at.length)};
  UnlockReleaseBuffer(at.buffer);
  return {};
}

core::NodeId PageSource::overflow_head(core::NodeId owner) {
  const Locked at = lock(owner, BUFFER_LOCK_SHARE);
  if (at.node == nullptr) return 0;
  const core::NodeId head = at.node->level == 0 ? at.node->down() : 0;
  UnlockReleaseBuffer(at.buffer);
  return head;
}

bool PageSource::read_overflow(Chain* chain, core::HeapTid* tids, uint32_t* count) {
  for (int restarts = 0; chain->next != 0 && restarts < kMaxRestarts;) {
    CHECK_FOR_INTERRUPTS();
    const LockedOverflow at = lock_overflow(chain->next, BUFFER_LOCK_SHARE);
    const bool found = at.node != nullptr && at.node->owner() == chain->owner && at.node->sequence < chain->last;
    const bool unread = found && at.node->sequence < chain->unread;
    if (found) {
      chain->last = at.node->sequence;
      chain->next = at.node->next();
    }
    if (unread) {
      chain->unread = chain->last;
      *count = at.node->heap_tid_count;
      memcpy(tids, at.node->heap_tids(), *count * sizeof(core::HeapTid));
    }
    if (at.node != nullptr) UnlockReleaseBuffer(at.buffer);
    if (unread) return true;
    if (!found) {
      ++restarts;
      const uint32_t below = chain->unread;
      *chain = Chain::of(chain->owner, overflow_head(chain->owner));
      chain->unread = below;
    }
  }
  return false;
}

bool PageSource::add_heap_tid(core::NodeId id, const core::Query& query, core::HeapTid tid) {
  const Locked at = lock(id, BUFFER_LOCK_EXCLUSIVE);
  if (at.node == nullptr) return false;
  const core::Node* node = at.node;
  const bool equal = node->level == 0 && node->alive() && has_payload(node, query);
  const bool room = equal && node->heap_tid_count < core::kMaxHeapTids;
  const core::NodeId head = node->down();
  if (room) {
    pg::PageChange change;
    change.start(index_->relation, at.buffer);
    put_field(&change, at.page, &node->heap_tid_count, static_cast<uint8_t>(node->heap_tid_count + 1));
    put_field(&change, at.page, &node->heap_tids[node->heap_tid_count], tid);
    change.finish();
  }
  UnlockReleaseBuffer(at.buffer);
  return room || (equal && (join_overflow(id, head, tid) || push_overflow(id, tid)));
}

// Into an overflow node that has room.
bool PageSource::join_overflow(core::NodeId owner, core::NodeId head, core::HeapTid tid) {
  core::NodeId next = head;
  for (int tried = 0; next != 0 && tried < kTriedNodes; ++tried) {
    const LockedOverflow at = lock_overflow(next, BUFFER_LOCK_EXCLUSIVE);
    if (at.node == nullptr) return false;
    core::OverflowNode* node = at.node;
    const bool own = node->owner() == owner;
    const bool room = own && node->heap_tid_count > 0 && node->heap_tid_count < at.room;
    next = own ? node->next() : 0;
    if (room) {
      pg::PageChange change;
      change.start(index_->relation, at.buffer);
      put_field(&change, at.page, &node->heap_tid_count, static_cast<uint16_t>(node->heap_tid_count + 1));
      put_field(&change, at.page, &node->heap_tids()[node->heap_tid_count], tid);
      change.finish();
    }
    UnlockReleaseBuffer(at.buffer);
    if (room) return true;
  }
  return false;
}

// Into a new overflow node. It is nobody's until the owner leads to it: other inserts may put theirs there before, and
// vacuum may take the head away. False: the element has died, or the chain is damaged.
bool PageSource::push_overflow(core::NodeId owner, core::HeapTid tid) {
  core::NodeId made = 0;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const Locked at = lock(owner, BUFFER_LOCK_SHARE);
    if (at.node == nullptr) break;
    const bool alive = at.node->level == 0 && at.node->alive();
    const core::NodeId head = at.node->down();
    UnlockReleaseBuffer(at.buffer);
    if (!alive) break;
    uint32_t sequence = 0;
    if (head != 0) {
      const LockedOverflow first = lock_overflow(head, BUFFER_LOCK_SHARE);
      if (first.node == nullptr) break;
      const bool own = first.node->owner() == owner;
      sequence = first.node->sequence;
      UnlockReleaseBuffer(first.buffer);
      if (!own || sequence >= core::kLastSequence) break;
    }
    auto* node = reinterpret_cast<core::OverflowNode*>(copy_);
    node->init(owner, head, sequence, tid);
    constexpr auto used = static_cast<uint32_t>(sizeof(core::OverflowNode) + sizeof(core::HeapTid));
    if (made == 0) {
      made = place({copy_, index_->space.layout.node_bytes(payload_bytes_), used, 0, 0});
    } else {
      const LockedOverflow own = lock_overflow(made, BUFFER_LOCK_EXCLUSIVE);
      if (own.node == nullptr) return false;
      pg::PageChange change;
      change.start(index_->relation, own.buffer);
      change.put(own.start(), copy_, used);
      change.finish();
      UnlockReleaseBuffer(own.buffer);
    }
    if (replace_head(owner, head, made)) return true;
  }
  if (made != 0) free_place(made);
  return false;
}

// False: another one is the head by now, or the element is dead.
bool PageSource::replace_head(core::NodeId owner, core::NodeId head, core::NodeId next) {
  const Locked at = lock(owner, BUFFER_LOCK_EXCLUSIVE);
  if (at.node == nullptr) return false;
  const bool same = at.node->level == 0 && at.node->alive() && at.node->down() == head;
  if (same) {
    pg::PageChange change;
    change.start(index_->relation, at.buffer);
    put_field(&change, at.page, &at.node->down_block, core::node_block(next));
    put_field(&change, at.page, &at.node->down_offset, core::node_offset(next));
    change.finish();
  }
  UnlockReleaseBuffer(at.buffer);
  return same;
}

bool PageSource::replace_next(core::NodeId id, core::NodeId next) {
  const LockedOverflow at = lock_overflow(id, BUFFER_LOCK_EXCLUSIVE);
  if (at.node == nullptr) return false;
  pg::PageChange change;
  change.start(index_->relation, at.buffer);
  put_field(&change, at.page, &at.node->next_block, core::node_block(next));
  put_field(&change, at.page, &at.node->next_offset, core::node_offset(next));
  change.finish();
  UnlockReleaseBuffer(at.buffer);
  return true;
}

void PageSource::free_place(core::NodeId id) {
  const Item at = lock_item(id, BUFFER_LOCK_EXCLUSIVE);
  if (at.bytes == nullptr) return;
  pg::PageChange change;
  change.start(index_->relation, at.buffer);
  put_field(&change, at.page, &reinterpret_cast<core::Node*>(at.bytes)->level, core::kFreeLevel);
  change.finish();
  UnlockReleaseBuffer(at.buffer);
  tell_free(index_->relation, core::node_block(id), core::kNodePage);
}

}  // namespace cairn::hnsw
