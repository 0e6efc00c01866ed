// Index scans: ORDER BY column <op> query. The search is run in batches of nodes. Rows come out in the order of their
// exact distances. The first ones, ten or a quarter of ef_search, come when the first batch has been read. Who wants
// more (a filter, mostly) gets a row when it is nearer than what is still to be read: than the best estimate among
// that, less one and a half times the error that estimates have had in this scan. So few turn up too late; with the
// order kept (iterative_scan off or strict_order) one that does is dropped. Under the plan node Nearest, which orders
// the rows itself, none is.
//
// With iterative_scan = off the scan goes on beyond the first batch too: a filter then still gets its rows. Both bounds
// of iterative scans (max_scan_tuples, work_mem) hold for all modes.
#include "am/hnsw/am.h"
#include "am/hnsw/page_source.h"
#include "pg/arena.h"
#include "pg/known_distance.h"

#include <cmath>

namespace cairn::hnsw {
namespace {

// A row is settled too when so many nodes were read for each row before it: estimates may never let the frontier pass
// it, and a search for ten rows then reads thousands. Who wants more than the first rows is likely to have a filter,
// and with it a row that turns up too late is one of few.
constexpr size_t kFirstRows = 10;  // or a fourth of ef_search
constexpr size_t kReadsOfARow = 4;
constexpr size_t kReadsOfAFurtherRow = 32;
// Where none is dropped; or a fourth of ef_search.
constexpr size_t kReadsOfAnUnorderedRow = 10;
constexpr float kErrors = 1.5;  // root mean squares of the estimates' error
constexpr float kErrorsUnordered = 1;
// Where most rows are deleted and not yet vacuumed, a few more of the others must not be dropped.
constexpr float kErrorsAmongDead = 3;

struct Result {
  float distance;
  core::HeapTid tid;
  bool is_chain;  // the tid is the id of a node: its overflow nodes have further rows of this distance
};
static_assert(sizeof(core::HeapTid) == 6 && sizeof(Result) == 12);

Result chain_result(float distance, core::NodeId owner) {
  const uint32_t block = core::node_block(owner);
  return {distance, {static_cast<uint16_t>(block >> 16), static_cast<uint16_t>(block), core::node_offset(owner)}, true};
}

core::NodeId chain_owner(const Result& result) {
  return core::node_id(static_cast<uint32_t>(result.tid.block_high) << 16 | result.tid.block_low, result.tid.offset);
}

// What a scan works in. That of the last scan that ended waits for the next one: freed and made anew for each query, it
// would go back to the system and be mapped again, which is a fifth of a query's time.
struct Memory {
  MemoryContext owner;    // holds this and the region
  MemoryContext context;  // the rest; reset by rescan
  char* region;           // of kRegionBytes; pages of it that no search touched cost nothing
};

struct Scan {
  Memory* memory;
  pg::ContextArena arena;
  Index index;
  PageSource source;
  core::Scratch scratch;
  core::Query query;
  core::Search<PageSource> search;
  core::Array<Result> results;
  size_t next;  // of results
  float last;   // distance of the last row that was returned
  size_t returned;
  size_t dead;     // of these, as the executor told
  size_t batches;  // read, maybe in vain: nodes may be damaged
  size_t read;     // nodes
  size_t visited;  // rows
  size_t batch;    // nodes
  double squared_errors;
  float frontier;
  bool looked_ahead;
  Chain chain;  // that is being returned; its rows are read when their turn comes
  float chain_distance;
  core::HeapTid* chain_tids;  // of one overflow node
  uint32_t chain_count;
  uint32_t chain_next;
  core::NodeId entry;
  int entry_level;
  bool climbed;
  bool started;
  bool finished;
  bool drops_none;
};

constexpr Size kRegionBytes = 4 * 1024 * 1024;
Memory* spare_memory = nullptr;

Memory* take_memory() {
  Memory* memory = spare_memory;
  spare_memory = nullptr;
  if (memory != nullptr) {
    MemoryContextSetParent(memory->owner, CurrentMemoryContext);  // an error deletes it
    return memory;
  }
  const MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "hnsw scan", ALLOCSET_SMALL_SIZES);
  memory = static_cast<Memory*>(MemoryContextAlloc(owner, sizeof(Memory)));
  *memory = {owner, AllocSetContextCreate(owner, "hnsw scan data", ALLOCSET_DEFAULT_SIZES),
             static_cast<char*>(MemoryContextAlloc(owner, kRegionBytes))};
  return memory;
}

void give_back(Memory* memory) {
  if (spare_memory != nullptr) return MemoryContextDelete(memory->owner);
  MemoryContextReset(memory->context);
  MemoryContextSetParent(memory->owner, TopMemoryContext);
  spare_memory = memory;
}

// What the operator that the scan is ordered by gives for the row just returned: the executor asks for it again.
void know_distance(IndexScanDesc descriptor, const Scan& scan, float distance) {
  const AttrNumber column = descriptor->indexRelation->rd_index->indkey.values[0];
  if (column == 0 || scan.index.space.layout.code_dimensions == 0 ||
      (descriptor->orderByData->sk_flags & SK_ISNULL) != 0)
    return;
  double value = distance;
  if (scan.index.metric == Metric::l2) value = std::sqrt(value);
  if (scan.index.metric == Metric::cosine) value /= 2;  // of vectors of length one: |a - b|^2 = 2 - 2 cos
  pg::know_distance(
      {descriptor, column, descriptor->orderByData->sk_func.fn_addr, descriptor->orderByData->sk_argument, value});
}

bool nearer(const Result& a, const Result& b) { return a.distance < b.distance; }

void start(IndexScanDesc descriptor, Scan* scan) {
  const MemoryContext old = MemoryContextSwitchTo(scan->memory->context);
  Meta meta;
  describe(descriptor->indexRelation, &scan->arena, &scan->index, &meta);
  const ScanKey key = descriptor->orderByData;
  const void* payload = nullptr;
  uint32_t bytes = 0;
  if ((key->sk_flags & SK_ISNULL) == 0) payload = form_payload(scan->index, key->sk_argument, &bytes);
  if (payload == nullptr) {  // NULL, or a zero vector under cosine: any order is right
    bytes = scan->index.element == Element::sparse ? sizeof(int32) : vector_bytes(scan->index);
    payload = palloc0(bytes);
  }
  const core::Space& space = scan->index.space;
  scan->scratch.init(space, &scan->arena);
  scan->query = core::make_query(space, payload, bytes, &scan->scratch);
  scan->source.init(&scan->index);
  scan->search.init(&scan->source, space.layout.code_dimensions != 0, true, &scan->arena);
  scan->results.attach(&scan->arena);
  scan->results.reserve(static_cast<size_t>(ef_search) * 2);
  pgstat_count_index_scan(descriptor->indexRelation);
  if (meta.entry_block == core::kNoBlock || meta.entry_level > core::kMaxLevel) {
    scan->finished = true;
  } else {
    scan->entry = core::node_id(meta.entry_block, meta.entry_offset);
    scan->entry_level = meta.entry_level;
    const core::Candidate at = core::descend(&scan->search, scan->query, scan->entry, scan->entry_level, 0);
    scan->finished = at.id == 0;
    if (!scan->finished) scan->search.start(at.id, at.key);
  }
  MemoryContextSwitchTo(old);
}

// Reads the next batch of nodes and sorts what it found into what is waiting.
void read_batch(Scan* scan) {
  const MemoryContext old = MemoryContextSwitchTo(scan->memory->context);
  core::Array<Result>& results = scan->results;
  size_t waiting = 0;
  for (size_t i = scan->next; i < results.size(); ++i) results[waiting++] = results[i];
  results.truncate(waiting);
  scan->next = 0;
  const auto take = [&](core::NodeId id, const core::Expansion& node) -> void* {
    CHECK_FOR_INTERRUPTS();
    for (size_t i = 0; i < node.heap_tid_count; ++i) results.push({node.distance, node.heap_tids[i], false});
    if (node.has_overflow()) results.push(chain_result(node.distance, id));
    scan->visited += node.heap_tid_count;
    ++scan->read;
    if (std::isfinite(node.distance - node.key))
      scan->squared_errors += static_cast<double>(node.distance - node.key) * (node.distance - node.key);
    return nullptr;
  };
  if (scan->batches++ == 0)
    scan->search.run(scan->query, scan->batch, take);
  else
    scan->search.go_on(scan->query, scan->batch, take);
  std::sort(results.begin(), results.end(), nearer);
  scan->looked_ahead = false;
  MemoryContextSwitchTo(old);
}

// Where a scan begins edges need not lead everywhere. Once it has read all that it can reach, it goes on from all that
// level 1 leads to: the entry's nodes are among that, and lead to all there is. False: there is nothing more.
bool climb(Scan* scan) {
  if (scan->climbed || scan->entry_level == 0) return false;
  scan->climbed = true;
  core::Search<PageSource> above;
  above.init(&scan->source, scan->index.space.layout.code_dimensions != 0, true, &scan->arena);
  const core::Candidate at = core::descend(&above, scan->query, scan->entry, scan->entry_level, 1);
  if (at.id == 0) return false;
  core::NodeId entry = scan->entry;
  for (int level = scan->entry_level; level > 1; --level) entry = scan->source.down(entry);
  size_t read = 0;
  above.start(at.id, at.key);
  if (entry != 0) above.add({std::numeric_limits<float>::infinity(), entry});
  const auto take = [&](core::NodeId, const core::Expansion& node) -> void* {
    CHECK_FOR_INTERRUPTS();
    if (node.level == 1) scan->search.add({node.distance, node.down});
    ++read;
    return nullptr;
  };
  above.run(scan->query, scan->batch, take);
  while (read < static_cast<size_t>(max_scan_tuples) && above.more()) above.go_on(scan->query, scan->batch, take);
  return scan->search.more();
}

// What is still to be read, if anything is: only for scans that want more than the first rows.
void look_ahead(Scan* scan) {
  const MemoryContext old = MemoryContextSwitchTo(scan->memory->context);
  const size_t memory_limit = static_cast<size_t>(work_mem * scan_mem_multiplier * 1024);
  const size_t memory = scan->search.bytes() + scan->results.size() * sizeof(Result);
  const bool enough = scan->visited >= static_cast<size_t>(max_scan_tuples) || memory > memory_limit;
  scan->batch = Max(static_cast<size_t>(ef_search), scan->read / 4);
  scan->finished = enough || (!scan->search.more() && !climb(scan));
  scan->looked_ahead = true;
  const bool among_dead = 2 * scan->dead > scan->returned;
  const float errors = among_dead ? kErrorsAmongDead : scan->drops_none ? kErrorsUnordered : kErrors;
  if (!scan->finished)
    scan->frontier =
        scan->search.nearest_open() -
        errors * static_cast<float>(std::sqrt(scan->squared_errors / static_cast<double>(Max(scan->read, 1U))));
  MemoryContextSwitchTo(old);
}

bool is_settled(const Scan& scan, float distance) {
  if (scan.read == 0) return false;
  if (scan.finished || scan.returned < Max(kFirstRows, static_cast<size_t>(ef_search) / kReadsOfARow)) return true;
  const size_t reads = scan.drops_none ? Max(kReadsOfAnUnorderedRow, static_cast<size_t>(ef_search) / kReadsOfARow)
                                       : kReadsOfAFurtherRow;
  if (scan.returned * reads < scan.read) return true;
  return scan.looked_ahead && distance <= scan.frontier;
}

void open_chain(Scan* scan, const Result& result) {
  const core::NodeId owner = chain_owner(result);
  scan->chain = Chain::of(owner, scan->source.overflow_head(owner));
  scan->chain_distance = result.distance;
  if (scan->chain_tids == nullptr)
    scan->chain_tids =
        static_cast<core::HeapTid*>(scan->arena.allocate(PageSource::kMaxOverflowTids * sizeof(core::HeapTid)));
}

bool next_of_chain(Scan* scan, Result* out) {
  while (scan->chain_next == scan->chain_count) {
    scan->chain_next = scan->chain_count = 0;
    if (scan->chain.next == 0 || scan->visited >= static_cast<size_t>(max_scan_tuples) ||
        !scan->source.read_overflow(&scan->chain, scan->chain_tids, &scan->chain_count))
      return false;
    scan->visited += scan->chain_count;
  }
  *out = {scan->chain_distance, scan->chain_tids[scan->chain_next++], false};
  return true;
}

// The nearest row that was read and is settled.
bool next_result(Scan* scan, Result* out) {
  for (;;) {
    if (next_of_chain(scan, out)) return true;
    if (scan->next == scan->results.size() || !is_settled(*scan, scan->results[scan->next].distance)) return false;
    *out = scan->results[scan->next++];
    if (out->distance < scan->last && iterative_scan != kScanRelaxed && !scan->drops_none) continue;
    if (!out->is_chain) return true;
    open_chain(scan, *out);
  }
}

}  // namespace

IndexScanDesc begin_scan(Relation index, int keys, int orderbys) {
  const IndexScanDesc descriptor = RelationGetIndexScan(index, keys, orderbys);
  auto* scan = static_cast<Scan*>(palloc0(sizeof(Scan)));
  scan->memory = take_memory();
  new (&scan->arena) pg::ContextArena(scan->memory->context, scan->memory->region, kRegionBytes);
  descriptor->opaque = scan;
  pg::forget_distance_with(CurrentMemoryContext);
  return descriptor;
}

void rescan(IndexScanDesc descriptor, ScanKey keys, int, ScanKey orderbys, int) {
  pg::forget_distance();
  if (keys != nullptr && descriptor->numberOfKeys > 0)
    memmove(descriptor->keyData, keys, static_cast<size_t>(descriptor->numberOfKeys) * sizeof(ScanKeyData));
  if (orderbys != nullptr && descriptor->numberOfOrderBys > 0)
    memmove(descriptor->orderByData, orderbys, static_cast<size_t>(descriptor->numberOfOrderBys) * sizeof(ScanKeyData));
  auto* scan = static_cast<Scan*>(descriptor->opaque);
  MemoryContextReset(scan->memory->context);
  Memory* const memory = scan->memory;
  const bool drops_none = scan->drops_none;
  memset(static_cast<void*>(scan), 0, sizeof(Scan));
  scan->memory = memory;
  scan->drops_none = drops_none;
  new (&scan->arena) pg::ContextArena(memory->context, memory->region, kRegionBytes);
}

bool get_tuple(IndexScanDesc descriptor, ScanDirection) {
  auto* scan = static_cast<Scan*>(descriptor->opaque);
  if (!scan->started) {
    if (descriptor->numberOfOrderBys == 0) elog(ERROR, "cannot scan hnsw index without order");
    if (!IsMVCCSnapshot(descriptor->xs_snapshot)) elog(ERROR, "non-MVCC snapshots are not supported with hnsw");
    scan->started = true;
    scan->last = -std::numeric_limits<float>::infinity();
    scan->batch = static_cast<size_t>(ef_search);
    start(descriptor, scan);
  }
  if (descriptor->kill_prior_tuple) ++scan->dead;
  for (;;) {
    Result result;
    if (next_result(scan, &result)) {
      scan->last = result.distance;
      ++scan->returned;
      memcpy(&descriptor->xs_heaptid, &result.tid, sizeof(result.tid));
      descriptor->xs_recheck = false;
      descriptor->xs_recheckorderby = false;
      know_distance(descriptor, *scan, result.distance);
      return true;
    }
    if (scan->finished) return false;
    if (scan->batches > 0 && !scan->looked_ahead)
      look_ahead(scan);
    else
      read_batch(scan);
  }
}

void drop_no_row(IndexScanDesc descriptor) { static_cast<Scan*>(descriptor->opaque)->drops_none = true; }

void end_scan(IndexScanDesc descriptor) {
  pg::forget_distance();
  auto* scan = static_cast<Scan*>(descriptor->opaque);
  give_back(scan->memory);
  pfree(scan);
  descriptor->opaque = nullptr;
}

}  // namespace cairn::hnsw
