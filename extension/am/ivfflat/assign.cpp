// Every row to its nearest list. Rows are gathered in batches, in which threads find the list and make the code; then
// PostgreSQL's tuplesort brings the lists together, on disk where maintenance_work_mem is too small. PostgreSQL zone,
// but for work_on_rows.
#include <algorithm>
#include <cmath>

#include "am/ivfflat/builder.h"
#include "am/ivfflat/code.h"
#include "kernels/nearest.h"

namespace cairn::ivfflat {
namespace {

constexpr size_t kBatchMax = 1024;
constexpr size_t kChunkWork = 1 << 24;  // as in k-means: some ms

struct Batch {
  Builder* builder;
  size_t capacity;
  size_t count;
  size_t sorted_bytes;
  ItemPointerData* tids;
  char* values;   // payload_bytes each: what came from the table
  char* space;    // centroid_bytes each
  char* scratch;  // the same
  char* sorted;   // bytea of sorted_bytes each, with its header
  size_t stride;  // from one sorted row to the next
  bool* indexed;
  uint32* list;
  float* distance;
  Tuplesortstate* sort;
  TupleTableSlot* slot;
  MemoryContext row_context;
  int64 rows;
};

char* sorted_row(const Batch& batch, size_t i) { return batch.sorted + i * batch.stride + VARHDRSZ; }

uint32 nearest_bits(const Builder& b, const char* bits);

// Pure: threads run it.
void work_on_rows(void* context, size_t begin, size_t end) {
  const auto& batch = *static_cast<Batch*>(context);
  const Builder& b = *batch.builder;
  const Layout& layout = b.layout;
  const size_t size = layout.centroid_bytes;
  for (size_t i = begin; i < end; ++i) {
    auto* scratch = reinterpret_cast<float*>(batch.scratch + i * size);
    char* row = sorted_row(batch, i);
    Prepared out = {row + batch.sorted_bytes - layout.payload_bytes, reinterpret_cast<float*>(batch.space + i * size),
                    1};
    batch.indexed[i] =
        prepare(layout, b.metric, b.rotation_or_null(), batch.values + i * layout.payload_bytes, scratch, &out);
    if (layout.codes) reinterpret_cast<Factors*>(row)->norm = b.metric == Metric::inner_product ? out.norm : 1;
  }
  if (layout.type == VectorType::bit) {
    for (size_t i = begin; i < end; ++i) batch.list[i] = nearest_bits(b, batch.space + i * size);
    return;
  }
  const auto* centroids = reinterpret_cast<const float*>(b.centroids);
  core::nearest_centroids(reinterpret_cast<const float*>(batch.space + begin * size), layout.space, end - begin,
                          centroids, b.lists, layout.space, batch.list + begin, batch.distance + begin);
  for (size_t i = begin; i < end && layout.codes; ++i) {
    char* row = sorted_row(batch, i);
    auto* factors = reinterpret_cast<Factors*>(row);
    *factors =
        make_code(layout, reinterpret_cast<const float*>(batch.space + i * size),
                  centroids + static_cast<size_t>(batch.list[i]) * layout.space, factors->norm,
                  reinterpret_cast<float*>(batch.scratch + i * size), reinterpret_cast<uint8*>(row + sizeof(Factors)));
  }
}

uint32 nearest_bits(const Builder& b, const char* bits) {
  uint32 nearest = 0;
  float best = 0;
  for (uint32 list = 0; list < b.lists; ++list) {
    const char* centroid = b.centroids + static_cast<size_t>(list) * b.layout.centroid_bytes;
    const float distance = stored_distance(b.layout, b.metric, bits, centroid);
    if (list > 0 && distance >= best) continue;
    best = distance;
    nearest = list;
  }
  return nearest;
}

void flush(Batch* batch) {
  const Builder& b = *batch->builder;
  const size_t work_each = static_cast<size_t>(b.lists) * std::max<uint32>(b.layout.space, b.layout.centroid_bytes);
  core::parallel_for(b.workers, batch->count, std::max<size_t>(4, kChunkWork / work_each / 4 * 4), work_on_rows, batch);
  for (size_t i = 0; i < batch->count; ++i) {
    if (!batch->indexed[i]) continue;
    char* row = batch->sorted + i * batch->stride;
    SET_VARSIZE(row, batch->sorted_bytes + VARHDRSZ);
    ExecClearTuple(batch->slot);
    const ItemPointer tid = &batch->tids[i];
    batch->slot->tts_values[0] = Int32GetDatum(static_cast<int32>(batch->list[i]));
    batch->slot->tts_values[1] =
        Int64GetDatum(static_cast<int64>(ItemPointerGetBlockNumber(tid)) << 16 | ItemPointerGetOffsetNumber(tid));
    batch->slot->tts_values[2] = PointerGetDatum(row);
    batch->slot->tts_isnull[0] = batch->slot->tts_isnull[1] = batch->slot->tts_isnull[2] = false;
    ExecStoreVirtualTuple(batch->slot);
    tuplesort_puttupleslot(batch->sort, batch->slot);
    ++batch->rows;
  }
  batch->count = 0;
}

void add_heap_row(Relation, ItemPointer tid, Datum* values, bool* nulls, bool, void* context) {
  auto* batch = static_cast<Batch*>(context);
  if (nulls[0]) return;
  const Layout& layout = batch->builder->layout;
  MemoryContext old = MemoryContextSwitchTo(batch->row_context);
  const Value value = value_of(layout.type, values[0]);
  check_dimensions(layout, value.dimensions);
  memcpy(batch->values + batch->count * layout.payload_bytes, value.data, layout.payload_bytes);
  batch->tids[batch->count++] = *tid;
  MemoryContextSwitchTo(old);
  MemoryContextReset(batch->row_context);
  if (batch->count == batch->capacity) flush(batch);
}

Batch* make_batch(Builder* b) {
  auto* batch = static_cast<Batch*>(palloc0(sizeof(Batch)));
  const Layout& layout = b->layout;
  batch->builder = b;
  batch->sorted_bytes = sorted_bytes(layout);
  batch->stride = MAXALIGN(VARHDRSZ + batch->sorted_bytes);
  const size_t each = layout.payload_bytes + 2 * layout.centroid_bytes + batch->stride + 32;
  const size_t share = static_cast<size_t>(maintenance_work_mem) * 1024 / 8;
  batch->capacity = std::min(kBatchMax, std::max<size_t>(64, share / each));
  batch->tids = static_cast<ItemPointerData*>(palloc(batch->capacity * sizeof(ItemPointerData)));
  batch->values = static_cast<char*>(palloc(batch->capacity * layout.payload_bytes));
  batch->space = static_cast<char*>(palloc(batch->capacity * layout.centroid_bytes));
  batch->scratch = static_cast<char*>(palloc(batch->capacity * layout.centroid_bytes));
  batch->sorted = static_cast<char*>(palloc(batch->capacity * batch->stride));
  batch->indexed = static_cast<bool*>(palloc(batch->capacity * sizeof(bool)));
  batch->list = static_cast<uint32*>(palloc(batch->capacity * sizeof(uint32)));
  batch->distance = static_cast<float*>(palloc(batch->capacity * sizeof(float)));
  batch->row_context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat row", ALLOCSET_DEFAULT_SIZES);
  return batch;
}

TupleDesc sorted_descriptor() {
  TupleDesc descriptor = CreateTemplateTupleDesc(3);
  TupleDescInitEntry(descriptor, 1, "list", INT4OID, -1, 0);
  TupleDescInitEntry(descriptor, 2, "tid", INT8OID, -1, 0);
  TupleDescInitEntry(descriptor, 3, "row", BYTEAOID, -1, 0);
#if PG_VERSION_NUM >= 190000
  TupleDescFinalize(descriptor);
#endif
  return descriptor;
}

Tuplesortstate* begin_sort(TupleDesc descriptor) {
  // By list, then as the rows lie in the table: an index built twice is the same.
  AttrNumber attributes[] = {1, 2};
  Oid operators[] = {Int4LessOperator, Int8LessOperator};
  Oid collations[] = {InvalidOid, InvalidOid};
  bool nulls_first[] = {false, false};
  return tuplesort_begin_heap(descriptor, 2, attributes, operators, collations, nulls_first, maintenance_work_mem,
                              nullptr, TUPLESORT_NONE);
}

void give_out(Batch* batch, TupleDesc descriptor, const RowSink& sink) {
  TupleTableSlot* slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
  while (tuplesort_gettupleslot(batch->sort, true, false, slot, nullptr)) {
    CHECK_FOR_INTERRUPTS();
    bool null;
    const auto list = static_cast<uint32>(DatumGetInt32(slot_getattr(slot, 1, &null)));
    const int64 packed = DatumGetInt64(slot_getattr(slot, 2, &null));
    ItemPointerData tid;
    ItemPointerSet(&tid, static_cast<BlockNumber>(packed >> 16), static_cast<OffsetNumber>(packed & 0xFFFF));
    sink.row(sink.context, list, &tid, VARDATA_ANY(DatumGetPointer(slot_getattr(slot, 3, &null))));
  }
  ExecDropSingleTupleTableSlot(slot);
}

}  // namespace

uint32 sorted_bytes(const Layout& layout) {
  return layout.payload_bytes + (layout.codes ? static_cast<uint32>(sizeof(Factors)) + layout.code_bytes : 0);
}

void assign_rows(Builder* b, const RowSink& sink) {
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ivfflat assign", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(context);
  TupleDesc descriptor = sorted_descriptor();
  Batch* batch = make_batch(b);
  batch->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
  batch->sort = begin_sort(descriptor);
  b->heap_tuples = table_index_build_scan(b->heap, b->index, b->info, true, true, add_heap_row, batch, nullptr);
  flush(batch);
  ExecDropSingleTupleTableSlot(batch->slot);
  tuplesort_performsort(batch->sort);
  b->index_tuples = static_cast<double>(batch->rows);
  sink.begin(sink.context, batch->rows);
  give_out(batch, descriptor, sink);
  tuplesort_end(batch->sort);
  MemoryContextSwitchTo(old);
  MemoryContextDelete(context);
}

}  // namespace cairn::ivfflat
