// Scans. The rows of the nearest `ivfflat.probes` lists come out in the order of their distances, one by one. When the
// executor asks for more than a quarter of what was met (a LIMIT behind a filter), as many lists again are read: before
// it is too late, since rows of further lists that are nearer than the last row given out
//   - are left out where ivfflat.iterative_scan is off, so that what comes out is in order;
//   - come out at once where it is relaxed_order: nothing is left out, and the order is nearly right.
// Either ends at ivfflat.max_probes lists. A row of a list that was read in time but whose code misjudged it (3 in
// 100,000: list_reader.cpp) comes out late rather than not at all.
//
// PostgreSQL zone. State is plain data in the scan's memory context; nothing is pinned or locked between two calls.
#include "am/ivfflat/scan.h"

#include <algorithm>
#include <limits>

#include "am/ivfflat/list_reader.h"
#include "am/ivfflat/settings.h"

namespace cairn::ivfflat {
namespace {

constexpr size_t kShareGivenOut = 4;  // go on to further lists beyond 1 / 4

struct ScanState {
  MemoryContext run_context;  // of one run: reset by rescan
  bool running;
  uint32 lists_read;
  uint32 lists_max;
  size_t given_out;
  float last_distance;
  float nearest_to_come;  // of rows of further lists: what is nearer is left out
  Index index;
  ListReader reader;
};

// A null query is as near to everything as any other.
void prepare_query(ScanState* state, const ScanKeyData* key) {
  const Layout& layout = state->index.layout;
  Prepared query;
  query.data = static_cast<char*>(palloc0(std::max(layout.slot_bytes, layout.payload_bytes)));
  query.space = static_cast<float*>(palloc0(layout.centroid_bytes));
  query.norm = 0;
  if ((key->sk_flags & SK_ISNULL) == 0) {
    const Value value = value_of(layout.type, key->sk_argument);
    check_dimensions(layout, value.dimensions);
    auto* scratch = static_cast<float*>(palloc(std::max<size_t>(layout.space, 1) * sizeof(float)));
    prepare(layout, state->index.metric, &state->index.rotation, value.data, scratch, &query);
  }
  state->reader.begin(&state->index, query, state->run_context);
}

void start(IndexScanDesc scan, ScanState* state) {
  if (scan->orderByData == nullptr) elog(ERROR, "cannot scan ivfflat index without order");
  // See "Locks" in docs/formats/ivfflat.md.
  if (!IsMVCCSnapshot(scan->xs_snapshot)) elog(ERROR, "non-MVCC snapshots are not supported with ivfflat");
  pgstat_count_index_scan(scan->indexRelation);
#if PG_VERSION_NUM >= 180000
  if (scan->instrument != nullptr) scan->instrument->nsearches++;
#endif
  MemoryContext old = MemoryContextSwitchTo(state->run_context);
  open_index(scan->indexRelation, &state->index);
  prepare_query(state, scan->orderByData);
  MemoryContextSwitchTo(old);
  state->running = true;
  state->lists_read = 0;
  state->lists_max = static_cast<uint32>(std::max(probes, max_probes));
  state->given_out = 0;
  state->last_distance = state->nearest_to_come = -std::numeric_limits<float>::infinity();
}

void read_lists(ScanState* state, uint32 count) {
  for (; count > 0 && state->reader.lists_left() && state->lists_read < state->lists_max; --count) {
    state->reader.read_list();
    ++state->lists_read;
  }
}

bool more_lists(const ScanState* state) { return state->reader.lists_left() && state->lists_read < state->lists_max; }

bool next_row(ScanState* state, ItemPointer tid) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    while (more_lists(state) && state->given_out * kShareGivenOut >= state->reader.rows()) {
      read_lists(state, state->lists_read);
      state->nearest_to_come = state->last_distance;
    }
    float distance;
    if (!state->reader.next(&distance, tid)) return false;
    ++state->given_out;
    if (iterative_scan == kIterativeScanOff && distance < state->nearest_to_come) continue;
    state->last_distance = std::max(state->last_distance, distance);
    return true;
  }
}

}  // namespace

IndexScanDesc begin_scan(Relation index, int keys, int orderbys) {
  IndexScanDesc scan = RelationGetIndexScan(index, keys, orderbys);
  auto* state = static_cast<ScanState*>(palloc0(sizeof(ScanState)));
  state->run_context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat scan", ALLOCSET_DEFAULT_SIZES);
  scan->opaque = state;
  return scan;
}

void rescan(IndexScanDesc scan, ScanKey, int, ScanKey orderbys, int) {
  auto* state = static_cast<ScanState*>(scan->opaque);
  state->running = false;
  MemoryContextReset(state->run_context);
  if (orderbys != nullptr && scan->numberOfOrderBys > 0)
    memmove(scan->orderByData, orderbys, static_cast<size_t>(scan->numberOfOrderBys) * sizeof(ScanKeyData));
}

bool get_tuple(IndexScanDesc scan, [[maybe_unused]] ScanDirection direction) {
  Assert(ScanDirectionIsForward(direction));
  auto* state = static_cast<ScanState*>(scan->opaque);
  if (!state->running) {
    start(scan, state);
    read_lists(state, static_cast<uint32>(probes));
  }
  scan->xs_recheck = false;
  scan->xs_recheckorderby = false;
  return next_row(state, &scan->xs_heaptid);
}

void end_scan(IndexScanDesc scan) {
  auto* state = static_cast<ScanState*>(scan->opaque);
  MemoryContextDelete(state->run_context);
  pfree(state);
  scan->opaque = nullptr;
}

}  // namespace cairn::ivfflat
