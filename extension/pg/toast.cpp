#include "pg/toast.h"

#include <cmath>

#include "pg/am.h"

extern "C" {
#include "access/detoast.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "access/xact.h"
#include "utils/fmgroids.h"
}

namespace cairn::pg {
namespace {

constexpr AttrNumber kChunkId = 1, kChunkSeq = 2, kChunkData = 3;  // columns of a TOAST table

// Behind the chunk that was read last, and what is known of how values lie. All of it is a guess, wrong as soon as
// anything happens there.
struct Place {
  Oid table = InvalidOid;
  BlockNumber block = 0;
  OffsetNumber offset = FirstOffsetNumber;
  Buffer buffer = InvalidBuffer;  // where that block was
  Oid id = InvalidOid;            // of the value that was read last,
  double id_at = 0;               // and where it began, in blocks
  double blocks_per_id = 0;       // how far apart values lie, as their numbers say; 0: not known yet
  Oid anchor = InvalidOid;        // the value that this was measured from,
  double anchor_at = 0;           // where that began,
  double measured_ids = 0;        // and over how many numbers: the more, the better
  uint32 failures = 0;            // guesses in a row that found nothing
};
Place place;

constexpr int kProbes = 3;          // pages that are looked at before the index is asked
constexpr double kNextIds = 4;      // values so close in number may follow each other
constexpr double kTellingIds = 16;  // and those so far apart tell how far others lie apart
constexpr uint32 kPatience = 4;     // failures after which guesses get rare:
constexpr uint32 kRarely = 32;      // one value of so many

struct Value {
  Oid id;
  int32 size;
  char* data;
  int32 chunks;
  int32 taken = 0;  // chunks whose bytes are in `data`
  double at = 0;    // where the first one lies, in blocks

  bool complete() const { return taken == chunks; }
};

// Copies the bytes of the value's next chunk. False: this is another, or not as long as it has to be.
bool take(Relation table, HeapTuple tuple, Value* value) {
  const TupleDesc columns = RelationGetDescr(table);
  bool no_id, no_seq, no_data;
  const Oid id = DatumGetObjectId(fastgetattr(tuple, kChunkId, columns, &no_id));
  const int32 seq = DatumGetInt32(fastgetattr(tuple, kChunkSeq, columns, &no_seq));
  if (no_id || no_seq || id != value->id || seq != value->taken) return false;
  const Pointer chunk = DatumGetPointer(fastgetattr(tuple, kChunkData, columns, &no_data));
  if (no_data || VARATT_IS_EXTERNAL(chunk) || VARATT_IS_COMPRESSED(chunk)) return false;
  const int32 offset = value->taken * static_cast<int32>(TOAST_MAX_CHUNK_SIZE);
  const int32 size = Min(static_cast<int32>(TOAST_MAX_CHUNK_SIZE), value->size - offset);
  if (static_cast<int32>(VARSIZE_ANY_EXHDR(chunk)) != size) return false;
  memcpy(value->data + offset, VARDATA_ANY(chunk), static_cast<Size>(size));
  ++value->taken;
  return true;
}

// The number of a value that is gone, or never came to be, may be given to another while its chunks still lie there
// without an entry in the index. Committed and never deleted, it is the only one of its number.
bool is_in_force(HeapTupleHeader tuple) {
  if ((tuple->t_infomask & HEAP_XMAX_INVALID) == 0) return false;
  if (HeapTupleHeaderXminCommitted(tuple)) return true;
  if (HeapTupleHeaderXminInvalid(tuple)) return false;
  const TransactionId writer = HeapTupleHeaderGetRawXmin(tuple);
  return TransactionIdIsCurrentTransactionId(writer) || TransactionIdDidCommit(writer);
}

// Not beyond the table's end, as a truncation may have put it: InvalidBuffer then.
Buffer read_next_block(Relation table) {
  if (place.buffer != InvalidBuffer && ReadRecentBuffer(table->rd_locator, MAIN_FORKNUM, place.block, place.buffer))
    return place.buffer;
  if (place.block >= RelationGetNumberOfBlocks(table)) return InvalidBuffer;
  return ReadBuffer(table, place.block);
}

// How far one number is behind another; they begin anew after 2^32.
double distance(Oid from, Oid to) { return static_cast<int32>(to - from); }

void go_to(BlockNumber block) {
  place.block = block;
  place.offset = FirstOffsetNumber;
  place.buffer = InvalidBuffer;
}

// The wanted value's first chunk in a page, or InvalidOffsetNumber; `first` is the page's first number.
OffsetNumber find_in_page(Relation table, Page page, Oid id, Oid* first) {
  const OffsetNumber last = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
  for (OffsetNumber offset = FirstOffsetNumber; offset <= last; offset = OffsetNumberNext(offset)) {
    const ItemId item = PageGetItemId(page, offset);
    if (!ItemIdIsNormal(item)) continue;
    HeapTupleData tuple = {};
    tuple.t_len = ItemIdGetLength(item);
    tuple.t_data = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
    bool null;
    const Oid other = DatumGetObjectId(fastgetattr(&tuple, kChunkId, RelationGetDescr(table), &null));
    if (null) return InvalidOffsetNumber;
    if (*first == InvalidOid) *first = other;
    if (other == id && DatumGetInt32(fastgetattr(&tuple, kChunkSeq, RelationGetDescr(table), &null)) == 0)
      return offset;
  }
  return InvalidOffsetNumber;
}

// Values get their numbers in the order in which they are written, so of rows that are read here and there it is an
// interpolation search (Perl, Itai and Avni, Interpolation search - a log log N search, CACM 21, 1978) over the pages.
// True: `place` is where the value begins.
bool seek(Relation table, const Value& value) {
  const double blocks_per_id =
      place.blocks_per_id != 0 ? place.blocks_per_id : static_cast<double>(value.size) / BLCKSZ;
  double block = place.id_at + (distance(place.id, value.id) + 0.5) * blocks_per_id;  // its middle
  for (int probe = 0; probe < kProbes && block >= 0 && block < MaxBlockNumber; ++probe) {
    go_to(static_cast<BlockNumber>(block));
    const Buffer buffer = read_next_block(table);
    if (buffer == InvalidBuffer) return false;
    place.buffer = buffer;
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    Oid first = InvalidOid;
    place.offset = find_in_page(table, BufferGetPage(buffer), value.id, &first);
    UnlockReleaseBuffer(buffer);
    if (place.offset != InvalidOffsetNumber) return true;
    if (first == InvalidOid) return false;
    const double step = distance(first, value.id) * blocks_per_id;
    block = place.block + (step > 0 ? Max(step, 1) : Min(step, -1));
  }
  return false;
}

// Takes what lies there from `place` on.
void walk(Relation table, Value* value) {
  bool is_next = true;
  while (is_next && !value->complete()) {
    const Buffer buffer = read_next_block(table);
    if (buffer == InvalidBuffer) return;
    place.buffer = buffer;
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    const Page page = BufferGetPage(buffer);
    const OffsetNumber last = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
    while (is_next && !value->complete() && place.offset <= last) {
      const ItemId item = PageGetItemId(page, place.offset);
      HeapTupleData tuple = {};
      if (ItemIdIsNormal(item)) {
        tuple.t_len = ItemIdGetLength(item);
        tuple.t_data = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
      }
      is_next = tuple.t_data != nullptr && is_in_force(tuple.t_data) && take(table, &tuple, value);
      if (is_next && value->taken == 1) value->at = place.block + (place.offset - 1.0) / last;
      if (is_next) ++place.offset;
    }
    UnlockReleaseBuffer(buffer);
    if (is_next && !value->complete()) go_to(place.block + 1);
  }
}

// Takes what of it lies where it is thought to lie.
void guess(Relation table, Value* value) {
  if (place.table != RelationGetRelid(table)) return;
  if (place.failures < kPatience || place.failures % kRarely == 0) {
    if (std::abs(distance(place.id, value->id)) < kNextIds) walk(table, value);
    if (value->taken == 0 && seek(table, *value)) walk(table, value);
  }
  place.failures = value->complete() ? 0 : place.failures + 1;
}

// What the value's place says of others, measured anew from the one before where the guess was wrong.
void learn(const Value& value, bool guessed) {
  if (!guessed) {
    place.anchor = place.id;
    place.anchor_at = place.id_at;
    place.measured_ids = kTellingIds;
  }
  const double ids = distance(place.anchor, value.id);
  if (place.anchor != InvalidOid && std::abs(ids) >= place.measured_ids) {
    place.blocks_per_id = (value.at - place.anchor_at) / ids;
    place.measured_ids = std::abs(ids);
  }
  place.id = value.id;
  place.id_at = value.at;
}

// Takes the rest by the index, as detoast_attr does.
void look_up(Relation table, Value* value) {
  Relation* indexes;
  int count;
  const int valid = toast_open_indexes(table, AccessShareLock, &indexes, &count);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], kChunkId, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value->id));
  ScanKeyInit(&keys[1], kChunkSeq, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(value->taken));
#if PG_VERSION_NUM >= 180000
  const Snapshot snapshot = get_toast_snapshot();
#else
  SnapshotData toast;
  init_toast_snapshot(&toast);
  const Snapshot snapshot = &toast;
#endif
  const SysScanDesc scan = systable_beginscan_ordered(table, indexes[valid], snapshot, lengthof(keys), keys);
  if (place.table != RelationGetRelid(table)) place = {.table = RelationGetRelid(table)};
  while (!value->complete()) {
    const HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
    if (tuple == nullptr || !take(table, tuple, value)) break;
    go_to(ItemPointerGetBlockNumber(&tuple->t_self));
    if (value->taken == 1) value->at = place.block;
    place.offset = OffsetNumberNext(ItemPointerGetOffsetNumber(&tuple->t_self));
  }
  systable_endscan_ordered(scan);
  toast_close_indexes(indexes, count, AccessShareLock);
}

// Null where it is not to be had this way.
struct varlena* read_chunks(const varatt_external& pointer) {
  const Relation table = table_open(pointer.va_toastrelid, AccessShareLock);
  if (table->rd_rel->relam != HEAP_TABLE_AM_OID) {
    table_close(table, AccessShareLock);
    return nullptr;
  }
  const auto size = static_cast<int32>(VARATT_EXTERNAL_GET_EXTSIZE(pointer));
  auto* const result = static_cast<struct varlena*>(palloc(static_cast<Size>(size) + VARHDRSZ));
  SET_VARSIZE(result, size + VARHDRSZ);
  Value value{
      .id = pointer.va_valueid,
      .size = size,
      .data = VARDATA(result),
      .chunks = (size + static_cast<int32>(TOAST_MAX_CHUNK_SIZE) - 1) / static_cast<int32>(TOAST_MAX_CHUNK_SIZE)};
  guess(table, &value);
  const bool guessed = value.complete();
  if (!guessed) look_up(table, &value);
  table_close(table, AccessShareLock);
  if (value.complete()) {
    learn(value, guessed);
    return result;
  }
  pfree(result);
  return nullptr;
}

}  // namespace

struct varlena* detoast_packed(Datum datum) {
  auto* const value = reinterpret_cast<struct varlena*>(DatumGetPointer(datum));
  if (VARATT_IS_EXTERNAL_ONDISK(value)) {
    varatt_external pointer;
    VARATT_EXTERNAL_GET_POINTER(pointer, value);
    if (!VARATT_EXTERNAL_IS_COMPRESSED(pointer)) {
      struct varlena* const read = read_chunks(pointer);
      if (read != nullptr) return read;
    }
  }
  return pg_detoast_datum_packed(value);
}

}  // namespace cairn::pg
