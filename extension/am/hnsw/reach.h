// The nodes of an index that no edges lead to from its entry (core/graph/reach.h), in its pages.
#pragma once

#include "am/hnsw/page_source.h"
#include "graph/reach.h"

namespace cairn::hnsw {

// Has edges lead to them, if maintenance_work_mem allows to look for them. Beside inserts and scans, but not beside
// another vacuum: the nodes that are alive must stay. The same for those of `hidden`, if any, which a search does not
// find.
void attach_lost_nodes(const Index& index, BufferAccessStrategy strategy, const core::Array<core::NodeId>* hidden);

class ReachSource : public PageSource {
 public:
  void init(const Index* index, BufferAccessStrategy strategy) {
    PageSource::init(index);
    relation_ = index->relation;
    layout_ = &index->space.layout;
    strategy_ = strategy;
  }

  bool copy_payload(core::NodeId id, void* buffer, uint32_t* bytes, int* level) {
    vacuum_delay_point();
    return PageSource::copy_payload(id, buffer, bytes, level);
  }

  uint32_t block_count() const { return RelationGetNumberOfBlocks(relation_); }

  template <class F>
  void each_node(uint32_t block, F&& visit) {
    vacuum_delay_point();
    const Buffer buffer = ReadBufferExtended(relation_, MAIN_FORKNUM, block, RBM_NORMAL, strategy_);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    hnsw::each_node(*layout_, reinterpret_cast<uint8_t*>(BufferGetPage(buffer)), block, visit);
    UnlockReleaseBuffer(buffer);
  }

 private:
  Relation relation_ = nullptr;
  const core::NodeLayout* layout_ = nullptr;
  BufferAccessStrategy strategy_ = nullptr;
};

uint32_t places_of_page(const Index& index);

// Calls visit(NodeId) for each.
template <class F>
void each_lost_node(const Index& index, core::Arena* arena, F&& visit) {
  ReachSource source;
  source.init(&index, nullptr);
  core::Reach<ReachSource> reach;
  reach.init(&index.space, &source, places_of_page(index), index.ef_construction, arena);
  reach.survey();
  reach.each_lost(visit);
}

}  // namespace cairn::hnsw
