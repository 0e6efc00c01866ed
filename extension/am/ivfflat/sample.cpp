// A sample of the table, and the centroids of its clusters. PostgreSQL zone; k-means runs threads that call nothing of
// PostgreSQL.
#include <algorithm>

#include "am/ivfflat/builder.h"
#include "pg/arena.h"
#include "quantize/kmeans.h"

namespace cairn::ivfflat {
namespace {

constexpr int64 kSamplesPerList = 50;
constexpr int64 kSamplesMin = 10000;
// Where maintenance_work_mem holds fewer: below this an error, between the two a smaller sample.
constexpr int64 kSamplesPerListLeast = 10;

struct Sample {
  Builder* builder;
  MemoryContext row_context;
  char* rows;  // centroid_bytes each
  int64 count;
  int64 wanted;
  double seen;
  double skip;  // rows to pass over before the next is taken (Vitter's algorithm Z)
  ReservoirStateData reservoir;
  float* scratch;
  char* data;
};

void take(Sample* sample, int64 at, Datum datum) {
  const Builder& b = *sample->builder;
  auto* space = reinterpret_cast<float*>(sample->rows + at * b.layout.centroid_bytes);
  Prepared out = {sample->data, space, 1};
  prepare_datum(b, datum, sample->scratch, &out);
}

void sample_row(Relation, ItemPointer, Datum* values, bool* nulls, bool, void* context) {
  auto* sample = static_cast<Sample*>(context);
  if (nulls[0]) return;
  MemoryContext old = MemoryContextSwitchTo(sample->row_context);
  if (sample->count < sample->wanted) {
    take(sample, sample->count++, values[0]);
  } else {
    if (sample->skip < 0)
      sample->skip = reservoir_get_next_S(&sample->reservoir, sample->seen, static_cast<int>(sample->wanted));
    if (sample->skip <= 0) {
      const double where = sampler_random_fract(&sample->reservoir.randstate);
      take(sample, static_cast<int64>(static_cast<double>(sample->wanted) * where), values[0]);
    }
    sample->skip -= 1;
  }
  sample->seen += 1;
  MemoryContextSwitchTo(old);
  MemoryContextReset(sample->row_context);
}

void sample_table(Sample* sample) {
  const Builder& b = *sample->builder;
  BlockSamplerData blocks;
  const uint32 seed = 1;
  BlockSampler_Init(&blocks, RelationGetNumberOfBlocks(b.heap), static_cast<int>(sample->wanted), seed);
  reservoir_init_selection_state(&sample->reservoir, static_cast<int>(sample->wanted));
  while (BlockSampler_HasMore(&blocks)) {
    CHECK_FOR_INTERRUPTS();
    // Rows that are dying will do too, but for a concurrent build's snapshot there are none.
    table_index_build_range_scan(b.heap, b.index, b.info, false, !b.info->ii_Concurrent, false,
                                 BlockSampler_Next(&blocks), 1, sample_row, sample, nullptr);
  }
}

core::KmeansOptions options_of(const Builder& b) {
  core::KmeansOptions options = {};
  options.dimensions = b.layout.type == VectorType::bit ? b.layout.centroid_bytes : b.layout.space;
  options.lists = b.lists;
  options.spherical = b.metric == Metric::inner_product || b.metric == Metric::cosine;
  return options;
}

size_t memory_for(const Builder& b, int64 samples) {
  return static_cast<size_t>(samples) * b.layout.centroid_bytes +
         static_cast<size_t>(b.lists) * b.layout.centroid_bytes +
         core::kmeans_memory(static_cast<size_t>(samples), options_of(b));
}

// As many samples as are of use and fit in maintenance_work_mem.
int64 samples_wanted(const Builder& b) {
  if (b.heap == nullptr) return 0;
  const int64 best = std::max(kSamplesPerList * b.lists, kSamplesMin);
  // No more than there can be: a page of a table has at most so many rows.
  const int64 rows_max = static_cast<int64>(RelationGetNumberOfBlocks(b.heap)) * MaxHeapTuplesPerPage;
  const int64 wanted = std::min(best, rows_max);
  const int64 least = std::min(wanted, kSamplesPerListLeast * b.lists);
  const size_t memory = static_cast<size_t>(maintenance_work_mem) * 1024;
  const size_t needed = memory_for(b, least);
  if (needed > memory)
    ereport(ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("memory required is %zu MB, maintenance_work_mem is %d MB",
                                                             needed / (1024 * 1024) + 1, maintenance_work_mem / 1024)));
  const size_t each = memory_for(b, 1) - memory_for(b, 0);
  return std::min(wanted, static_cast<int64>((memory - memory_for(b, 0)) / each));
}

void report_little_data(const Builder& b, int64 samples) {
  if (samples >= b.lists || b.fork == INIT_FORKNUM) return;
  ereport(NOTICE, (errmsg("ivfflat index created with little data"), errdetail("This will cause low recall."),
                   errhint("Drop the index until the table has more data.")));
}

}  // namespace

bool prepare_datum(const Builder& b, Datum datum, float* scratch, Prepared* out) {
  const Value value = value_of(b.layout.type, datum);
  check_dimensions(b.layout, value.dimensions);
  return prepare(b.layout, b.metric, b.rotation_or_null(), value.data, scratch, out);
}

void choose_centroids(Builder* b) {
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat k-means", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(context);
  Sample sample = {};
  sample.builder = b;
  sample.wanted = samples_wanted(*b);
  sample.skip = -1;
  sample.rows = static_cast<char*>(palloc_extended(
      std::max<size_t>(1, static_cast<size_t>(sample.wanted) * b->layout.centroid_bytes), MCXT_ALLOC_HUGE));
  sample.scratch = static_cast<float*>(palloc(std::max<size_t>(1, b->layout.space) * sizeof(float)));
  sample.data = static_cast<char*>(palloc(b->layout.payload_bytes));
  sample.row_context = AllocSetContextCreate(context, "ivfflat sample row", ALLOCSET_DEFAULT_SIZES);
  if (sample.wanted > 0) sample_table(&sample);
  report_little_data(*b, sample.count);
  pg::ContextArena arena(context);
  if (b->layout.type == VectorType::bit)
    core::kmeans_bits(reinterpret_cast<uint8*>(sample.rows), static_cast<size_t>(sample.count), options_of(*b),
                      b->workers, &arena, reinterpret_cast<uint8*>(b->centroids));
  else
    core::kmeans(reinterpret_cast<float*>(sample.rows), static_cast<size_t>(sample.count), options_of(*b), b->workers,
                 &arena, reinterpret_cast<float*>(b->centroids));
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
}

}  // namespace cairn::ivfflat
