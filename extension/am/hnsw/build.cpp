// ambuild: the rows' vectors are collected in page images in memory, threads connect them, and the images are written
// out. Past maintenance_work_mem what is in memory is written first, and the other rows are inserted as aminsert would.
#include <pthread.h>
#include <csetjmp>
#include <csignal>
#include <cstdlib>

#include <atomic>

#include "am/hnsw/am.h"
#include "am/hnsw/page_source.h"
#include "am/hnsw/reach.h"
#include "am/hnsw/writer.h"
#include "graph/memory.h"
#include "pg/arena.h"
#include "pg/page_change.h"

namespace cairn::hnsw {
namespace {

constexpr int kMaxThreads = 64;
constexpr BlockNumber kFirstNodeBlock = 1;

// A thread's memory: malloc, given back at the thread's end. Where there is none left the thread ends and the build
// fails.
class ThreadArena final : public core::Arena {
 public:
  void* allocate(size_t bytes) override {
    auto* block = static_cast<Block*>(aligned_alloc(64, (bytes + sizeof(Block) + 63) / 64 * 64));
    if (block == nullptr) longjmp(out_of_memory, 1);
    block->next = blocks_;
    blocks_ = block;
    return block + 1;
  }

  void release() {
    while (blocks_ != nullptr) {
      Block* next = blocks_->next;
      free(blocks_);
      blocks_ = next;
    }
  }

  jmp_buf out_of_memory;

 private:
  struct alignas(64) Block {
    Block* next;
  };
  Block* blocks_ = nullptr;
};

struct Shared {
  const Index* index;
  core::MemoryGraph* graph;
  std::atomic<size_t> next;
  std::atomic<size_t> done;
  std::atomic<int> running;
  std::atomic<bool> stop;
  std::atomic<bool> out_of_memory;
};

// Touches nothing of PostgreSQL's.
void* connect_elements(void* argument) {
  auto* shared = static_cast<Shared*>(argument);
  ThreadArena arena;
  if (setjmp(arena.out_of_memory) == 0) {
    auto* source = new (arena.allocate(sizeof(core::MemorySource))) core::MemorySource;
    source->init(&shared->index->space, shared->graph, shared->index->ef_construction, &arena);
    for (size_t i; !shared->stop && (i = shared->next++) < shared->graph->size();) {
      source->insert(i);
      ++shared->done;
    }
  } else {
    shared->out_of_memory = true;
    shared->stop = true;
  }
  arena.release();
  --shared->running;
  return nullptr;
}

struct Builder {
  Relation heap;
  Relation relation;
  IndexInfo* info;
  Index index;
  core::Arena* arena;
  core::MemoryGraph* graph;
  MemoryContext element_context;  // reset after each row
  Shared shared;
  pthread_t threads[kMaxThreads];
  int thread_count;
  bool in_pages;  // the graph has been written
  double rows;
};

void stop_threads(Builder* builder) {
  builder->shared.stop = true;
  for (int i = 0; i < builder->thread_count; ++i) pthread_join(builder->threads[i], nullptr);
  builder->thread_count = 0;
}

void stop_threads_on_exit(int, Datum argument) { stop_threads(reinterpret_cast<Builder*>(DatumGetPointer(argument))); }

// Signals are PostgreSQL's: only its own thread may take them.
void start_threads(Builder* builder, int wanted) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (builder->thread_count < wanted) {
    ++builder->shared.running;
    if (pthread_create(&builder->threads[builder->thread_count], nullptr, connect_elements, &builder->shared) != 0) {
      --builder->shared.running;
      break;
    }
    ++builder->thread_count;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void connect_all(Builder* builder) {
  core::MemoryGraph* graph = builder->graph;
  if (graph->size() == 0) return;
  graph->put_highest_first();
  Shared* shared = &builder->shared;
  shared->index = &builder->index;
  shared->graph = graph;
  auto* first = new (builder->arena->allocate(sizeof(core::MemorySource))) core::MemorySource;
  first->init(&builder->index.space, graph, builder->index.ef_construction, builder->arena);
  first->insert(0);
  shared->next = 1;
  const int wanted = Min(max_parallel_maintenance_workers + 1, kMaxThreads);
  PG_ENSURE_ERROR_CLEANUP(stop_threads_on_exit, PointerGetDatum(builder));
  {
    start_threads(builder, graph->size() < 1000 ? 1 : wanted);
    if (builder->thread_count == 0)
      ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not start a thread: %m")));
    while (shared->running > 0) {
      pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, static_cast<int64>(shared->done));
      (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    }
    stop_threads(builder);
  }
  PG_END_ENSURE_ERROR_CLEANUP(stop_threads_on_exit, PointerGetDatum(builder));
  if (shared->out_of_memory)
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
                    errdetail("A thread that builds index \"%s\" could get none.",
                              RelationGetRelationName(builder->relation))));
}

void append_page(Relation relation, const void* image) {
  const Buffer buffer = ReadBufferExtended(relation, MAIN_FORKNUM, P_NEW, RBM_NORMAL, nullptr);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  START_CRIT_SECTION();
  memcpy(BufferGetPage(buffer), image, BLCKSZ);
  MarkBufferDirty(buffer);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
}

void write_outside(Builder* builder, const void* payload, uint32_t bytes, uint32_t stamp, BlockNumber first) {
  PGAlignedBlock image;
  auto* page = reinterpret_cast<uint8_t*>(image.data);
  for (uint32_t offset = 0; offset < bytes; offset += core::kVectorPagePayload) {
    const uint32_t length = Min(bytes - offset, core::kVectorPagePayload);
    core::page_init(page, core::kVectorPage);
    memcpy(page + core::kPageHeaderBytes, static_cast<const char*>(payload) + offset, length);
    reinterpret_cast<PageHeader>(page)->pd_lower = static_cast<LocationIndex>(core::kPageHeaderBytes + length);
    core::page_tail(page)->payload_stamp = stamp;
    core::page_tail(page)->next_block = offset + length < bytes ? ++first : core::kNoBlock;
    append_page(builder->relation, page);
  }
}

struct OutsideVector {
  const void* payload;
  uint32_t bytes;
  uint32_t stamp;
  BlockNumber first;
};

// A vector of its own pages belongs to all levels of its element: the levels above the lowest find it through `down`.
void place_outside(Builder* builder, core::Array<OutsideVector>* vectors) {
  core::MemoryGraph* graph = builder->graph;
  BlockNumber next = kFirstNodeBlock + graph->block_count();
  for (size_t i = 0; i < graph->size(); ++i) {
    core::NodeId id = graph->top(i);
    core::Node* top = graph->node(id);
    if (top->level > core::kMaxLevel || top->payload_block == core::kNoBlock) continue;
    const uint32_t slot = top->payload_block;
    const uint32_t stamp = pg_prng_uint32(&pg_global_prng_state);
    const OutsideVector vector{graph->outside_payload(slot), top->payload_bytes, stamp, next};
    next += (vector.bytes + core::kVectorPagePayload - 1) / core::kVectorPagePayload;
    for (core::Node* node = top;; node = graph->node(node->down())) {
      node->payload_block = vector.first;
      node->payload_stamp = stamp;
      if (node->level == 0) break;
    }
    vectors->push(vector);
  }
}

// Elements that joined others leave theirs.
bool has_free_place(uint8_t* page) {
  for (uint16_t i = 1; i <= core::page_item_count(page); ++i) {
    uint32_t length;
    const auto* node = reinterpret_cast<const core::Node*>(core::page_item(page, i, &length));
    if (node != nullptr && node->level == core::kFreeLevel) return true;
  }
  return false;
}

// Everything that is in memory to the pages behind the meta page, and the meta page's entry.
void write_graph(Builder* builder) {
  core::MemoryGraph* graph = builder->graph;
  Relation relation = builder->relation;
  core::Array<OutsideVector> vectors;
  vectors.attach(builder->arena);
  place_outside(builder, &vectors);
  for (uint32_t i = 0; i < graph->block_count(); ++i) {
    CHECK_FOR_INTERRUPTS();
    append_page(relation, graph->block(i));
    if (has_free_place(graph->block(i))) tell_free(relation, kFirstNodeBlock + i, core::kNodePage);
  }
  IndexFreeSpaceMapVacuum(relation);
  for (size_t i = 0; i < vectors.size(); ++i) {
    CHECK_FOR_INTERRUPTS();
    write_outside(builder, vectors[i].payload, vectors[i].bytes, vectors[i].stamp, vectors[i].first);
  }
  core::NodeId entry;
  int level;
  const bool has_entry = graph->entry(&entry, &level);
  const Buffer buffer = ReadBuffer(relation, 0);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  START_CRIT_SECTION();
  Meta* meta = page_meta(BufferGetPage(buffer));
  if (has_entry) {
    meta->entry_block = core::node_block(entry);
    meta->entry_offset = core::node_offset(entry);
    meta->entry_level = static_cast<uint16_t>(level);
    meta->insert_block = kFirstNodeBlock + graph->block_count() - 1;
  }
  MarkBufferDirty(buffer);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
  if (RelationNeedsWAL(relation))
    log_newpage_range(relation, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(relation), true);
  builder->in_pages = true;
}

void add_row(Relation, ItemPointer tid, Datum* values, bool* isnull, bool, void* state) {
  auto* builder = static_cast<Builder*>(state);
  if (isnull[0]) return;
  const MemoryContext old = MemoryContextSwitchTo(builder->element_context);
  uint32_t bytes;
  const void* payload = form_payload(builder->index, values[0], &bytes);
  if (payload != nullptr) {
    check_storable(builder->index, payload);
    ++builder->rows;
    const int level = core::random_level(pg_prng_uint64(&pg_global_prng_state), builder->index.space.layout.degree);
    core::HeapTid row;
    memcpy(&row, tid, sizeof(row));
    const size_t limit = static_cast<size_t>(maintenance_work_mem) * 1024;
    if (!builder->in_pages && !builder->graph->add(payload, bytes, level, row, limit)) {
      ereport(NOTICE,
              (errmsg("hnsw graph no longer fits into maintenance_work_mem after %zu tuples", builder->graph->size()),
               errdetail("Building will take significantly more time."),
               errhint("Increase maintenance_work_mem to speed up builds.")));
      connect_all(builder);
      write_graph(builder);
    }
    if (builder->in_pages) {
      pg::ContextArena arena(builder->element_context);
      insert_payload(builder->index, &arena, payload, bytes, *tid);
      pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, static_cast<int64>(builder->rows));
    }
  }
  MemoryContextSwitchTo(old);
  MemoryContextReset(builder->element_context);
}

}  // namespace

IndexBuildResult* build(Relation heap, Relation relation, IndexInfo* info) {
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  auto* builder = static_cast<Builder*>(palloc0(sizeof(Builder)));
  auto* arena = new (palloc(sizeof(pg::ContextArena))) pg::ContextArena(context);
  builder->heap = heap;
  builder->relation = relation;
  builder->info = info;
  builder->arena = arena;
  builder->element_context = AllocSetContextCreate(context, "hnsw build element", ALLOCSET_DEFAULT_SIZES);
  describe_new(relation, arena, &builder->index);
  create_meta(relation, MAIN_FORKNUM, builder->index);
  builder->graph = new (arena->allocate(sizeof(core::MemoryGraph))) core::MemoryGraph;
  builder->graph->init(&builder->index.space, kFirstNodeBlock, arena);

  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 2);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, static_cast<int64>(Max(heap->rd_rel->reltuples, 0.0F)));
  const double scanned = table_index_build_scan(heap, relation, info, true, true, add_row, builder, nullptr);
  if (!builder->in_pages) {
    connect_all(builder);
    write_graph(builder);
  }
  attach_lost_nodes(builder->index, nullptr, nullptr);

  MemoryContextSwitchTo(old);
  auto* result = static_cast<IndexBuildResult*>(palloc(sizeof(IndexBuildResult)));
  result->heap_tuples = scanned;
  result->index_tuples = builder->rows;
  MemoryContextDelete(context);
  return result;
}

void build_empty(Relation relation) {
  const MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old = MemoryContextSwitchTo(context);
  pg::ContextArena arena(context);
  Index index;
  describe_new(relation, &arena, &index);
  create_meta(relation, INIT_FORKNUM, index);
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
}

}  // namespace cairn::hnsw
