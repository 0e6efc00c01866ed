// CREATE INDEX and REINDEX: a sample, its centroids by k-means, every row to its nearest list, sorted and written list
// by list. Threads (max_parallel_maintenance_workers) compute; the backend's own thread alone reads, sorts, and writes.
// Pages are logged whole at the end: a crash before it leaves a file that no catalog row knows.
//
// PostgreSQL zone; what the threads run is in sample.cpp and assign.cpp.
#include "am/ivfflat/build.h"

#include <unistd.h>

#include <algorithm>

#include "am/ivfflat/builder.h"
#include "am/ivfflat/settings.h"
#include "pg/arena.h"

namespace cairn::ivfflat {
namespace {

bool interrupt_pending() { return InterruptPending; }
void check_for_interrupts() { CHECK_FOR_INTERRUPTS(); }

uint32 dimensions_of(Relation index, const TypeSupport* support) {
  const int dimensions = TupleDescAttr(RelationGetDescr(index), 0)->atttypmod;
  if (TupleDescAttr(RelationGetDescr(index), 0)->atttypid == VARBITOID)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("type not supported for ivfflat index")));
  if (dimensions < 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("column does not have dimensions")));
  if (dimensions > support->dimensions_max)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("column cannot have more than %d dimensions for ivfflat index", support->dimensions_max)));
  return static_cast<uint32>(dimensions);
}

void init_builder(Builder* b, Relation heap, Relation index, IndexInfo* info, ForkNumber fork) {
  const TypeSupport* support = type_support(index);
  *b = {};
  b->heap = heap;
  b->index = index;
  b->info = info;
  b->fork = fork;
  b->metric = metric_of(index);
  b->layout = layout_of(support->type, dimensions_of(index, support));
  b->lists = static_cast<uint32>(lists_of(index));
  b->context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat build", ALLOCSET_DEFAULT_SIZES);
  // One rotation is as good as another: the same for all, so that an index built twice is the same.
  b->seed = 0x1F1A7;
  pg::ContextArena arena(b->context);
  if (b->layout.codes) b->rotation.init(b->layout.dimensions, b->seed, &arena);
  const auto processors = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  b->workers.threads = std::max(1, std::min(max_parallel_maintenance_workers + 1, processors));
  b->workers.interrupted = interrupt_pending;
  b->workers.check = check_for_interrupts;
  b->centroids =
      static_cast<char*>(MemoryContextAllocHuge(b->context, static_cast<size_t>(b->lists) * b->layout.centroid_bytes));
}

void update_phase(int64 phase) { pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, phase); }

struct Load {
  ListWriter* writer;
  int64 done;
};

void load_begin(void*, int64 rows) {
  update_phase(kPhaseLoad);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, rows);
}

void load_row(void* context, uint32 list, ItemPointer tid, const char* data) {
  auto* load = static_cast<Load*>(context);
  add_row(load->writer, list, tid, data);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, ++load->done);
}

void build_pages(Builder* b) {
  update_phase(kPhaseKmeans);
  choose_centroids(b);
  write_head(*b);
  if (b->heap != nullptr) {
    update_phase(kPhaseAssign);
    Load load = {begin_lists(b), 0};
    assign_rows(b, {load_begin, load_row, &load});
    finish_lists(load.writer);
  }
  if (RelationNeedsWAL(b->index) || b->fork == INIT_FORKNUM)
    log_newpage_range(b->index, b->fork, 0, RelationGetNumberOfBlocksInFork(b->index, b->fork), true);
  MemoryContextDelete(b->context);
}

}  // namespace

IndexBuildResult* build(Relation heap, Relation index, IndexInfo* info) {
  Builder builder;
  init_builder(&builder, heap, index, info, MAIN_FORKNUM);
  build_pages(&builder);
  auto* result = static_cast<IndexBuildResult*>(palloc(sizeof(IndexBuildResult)));
  result->heap_tuples = builder.heap_tuples;
  result->index_tuples = builder.index_tuples;
  return result;
}

void build_empty(Relation index) {
  Builder builder;
  init_builder(&builder, nullptr, index, nullptr, INIT_FORKNUM);
  build_pages(&builder);
}

char* build_phase_name(int64 phase) {
  switch (phase) {
    case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
      return pstrdup("initializing");
    case kPhaseKmeans:
      return pstrdup("performing k-means");
    case kPhaseAssign:
      return pstrdup("assigning tuples");
    case kPhaseLoad:
      return pstrdup("loading tuples");
    default:
      return nullptr;
  }
}

}  // namespace cairn::ivfflat
