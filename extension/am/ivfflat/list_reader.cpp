// PostgreSQL zone: plain data in memory contexts, reads may leave by ereport. One content lock at a time.
#include "am/ivfflat/list_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "am/ivfflat/centroids.h"
#include "kernels/code.h"

namespace cairn::ivfflat {
namespace {

// Standard deviations of an estimate that are trusted: outside lie 3 in 100,000 codes on either side, and such a row
// is given out a little late.
constexpr float kErrors = 4;
// Of what the estimate's own arithmetic may lose.
constexpr float kRounding = 1e-5f;

uint64 key_of(float distance, uint32 row) {
  uint32 bits;
  if (std::isnan(distance)) distance = -std::numeric_limits<float>::infinity();
  memcpy(&bits, &distance, sizeof(bits));
  bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64>(bits) << 32 | row;
}

float distance_of(uint64 key) {
  auto bits = static_cast<uint32>(key >> 32);
  bits = (bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits;
  float distance;
  memcpy(&distance, &bits, sizeof(bits));
  return distance;
}

constexpr auto kLeastFirst = [](uint64 a, uint64 b) { return a > b; };

template <class T>
T* grown(MemoryContext context, T* data, size_t* capacity) {
  *capacity = std::max<size_t>(256, *capacity * 2);
  if (data == nullptr) return static_cast<T*>(MemoryContextAllocHuge(context, *capacity * sizeof(T)));
  return static_cast<T*>(repalloc_huge(data, *capacity * sizeof(T)));
}

}  // namespace

void Heap::append(float distance, uint32 row) {
  if (size_ == capacity_) keys_ = grown(context_, keys_, &capacity_);
  keys_[size_++] = key_of(distance, row);
  ordered_ = false;
}

void Heap::order() {
  if (!ordered_) std::make_heap(keys_, keys_ + size_, kLeastFirst);
  ordered_ = true;
}

void Heap::push(float distance, uint32 row) {
  order();
  append(distance, row);
  std::push_heap(keys_, keys_ + size_, kLeastFirst);
  ordered_ = true;
}

float Heap::top_distance() {
  order();
  return distance_of(keys_[0]);
}

uint32 Heap::pop() {
  order();
  std::pop_heap(keys_, keys_ + size_, kLeastFirst);
  return static_cast<uint32>(keys_[--size_]);
}

void ListReader::begin(const Index* index, const Prepared& query, MemoryContext context) {
  index_ = index;
  query_ = query;
  context_ = context;
  lists_.attach(context);
  bounds_.attach(context);
  exact_.attach(context);
  rows_ = nullptr;
  row_count_ = row_capacity_ = 0;
  const Layout& layout = index->layout;
  if (layout.codes) {
    residual_ = static_cast<float*>(MemoryContextAlloc(context, layout.space * sizeof(float)));
    residual_bytes_ = static_cast<int8*>(MemoryContextAlloc(context, layout.space));
    sums_ = static_cast<int32*>(MemoryContextAlloc(context, layout.entries_per_page * sizeof(int32)));
  }
  rank_lists();
}

void ListReader::rank_lists() {
  auto* distances = static_cast<float*>(MemoryContextAlloc(context_, index_->lists * sizeof(float)));
  centroid_distances(*index_, query_.space, distances);
  for (uint32 list = 0; list < index_->lists; ++list) lists_.append(distances[list], list);
  pfree(distances);
}

void ListReader::read_list() {
  const uint32 list = lists_.pop();
  BlockNumber block = read_list_head(*index_, list).first;
  if (block == InvalidBlockNumber) return;
  if (index_->layout.codes) begin_list(list);
  const BlockNumber pages = RelationGetNumberOfBlocks(index_->relation);
  for (BlockNumber read = 0; block != InvalidBlockNumber; ++read) {
    CHECK_FOR_INTERRUPTS();
    if (read > pages) report_corrupted(index_->relation, block, "its list goes round in a circle");
    Buffer buffer = read_entry_page(*index_, block, list, BUFFER_LOCK_SHARE);
    if (index_->layout.codes)
      read_codes(buffer);
    else
      read_entries(buffer);
    block = entry_head(BufferGetPage(buffer))->next;
    UnlockReleaseBuffer(buffer);
  }
}

uint32 ListReader::add_row(const Entry* entry, Buffer buffer) {
  // The executor would make the table longer to fetch it.
  if (ItemPointerGetBlockNumberNoCheck(&entry->tid) == InvalidBlockNumber)
    report_corrupted(index_->relation, BufferGetBlockNumber(buffer), "an entry points to no page of the table");
  if (row_count_ == row_capacity_) rows_ = grown(context_, rows_, &row_capacity_);
  rows_[row_count_].tid = entry->tid;
  return static_cast<uint32>(row_count_++);
}

void ListReader::read_entries(Buffer buffer) {
  const Layout& layout = index_->layout;
  Page page = BufferGetPage(buffer);
  for (uint32 i = 0; i < entry_head(page)->count; ++i) {
    const Entry* entry = entry_at(layout, page, i);
    if (is_dead(entry)) continue;
    exact_.append(stored_distance(layout, index_->metric, query_.data, entry->data()), add_row(entry, buffer));
  }
}

void ListReader::begin_list(uint32 list) {
  const uint32 n = index_->layout.space;
  read_centroid(*index_, list, reinterpret_cast<char*>(residual_));
  residual_square_ = 0;
  for (uint32 i = 0; i < n; ++i) {
    residual_[i] = query_.space[i] - residual_[i];
    residual_square_ += residual_[i] * residual_[i];
  }
  const core::Quantized quantized = core::quantize_byte(residual_, n, residual_bytes_);
  residual_scale_ = quantized.scale;
  residual_total_ = static_cast<float>(quantized.total);
  residual_length_ = std::sqrt(residual_square_);
}

void ListReader::read_codes(Buffer buffer) {
  const Layout& layout = index_->layout;
  Page page = BufferGetPage(buffer);
  const EntryHead* head = entry_head(page);
  const uint32 count = head->count;
  if (count == 0) return;
  core::masked_sums(entry_at(layout, page, 0)->code(), layout.entry_bytes, count, residual_bytes_, layout.space, sums_);
  // What rounding the query to bytes may add: an even error in each dimension.
  const float quantizing = residual_scale_ * std::sqrt(static_cast<float>(layout.space) / 12);
  const bool spherical = index_->metric != Metric::l2;
  const float query_square = query_.norm > 0 ? 1 : 0;
  const float query_norm = index_->metric == Metric::inner_product ? query_.norm : 1;
  for (uint32 i = 0; i < count; ++i) {
    const Entry* entry = entry_at(layout, page, i);
    if (is_dead(entry)) continue;
    const Factors* factors = entry->factors();
    const float dot = residual_scale_ * (2 * static_cast<float>(sums_[i]) - residual_total_);
    const float sum = factors->length_squared + residual_square_;
    const float error = kErrors * (factors->error * residual_length_ + factors->ratio * quantizing);
    float bound = sum * (1 - kRounding) - 2 * (factors->ratio * dot + error);
    if (spherical) bound = -factors->norm * query_norm * (1 + query_square - bound) / 2;
    const uint32 row = add_row(entry, buffer);
    rows_[row].slot = static_cast<uint16>(i % layout.vectors_per_page);
    rows_[row].block = head->vectors[i / layout.vectors_per_page];
    bounds_.append(bound, row);
  }
}

float ListReader::exact_distance(const Row& row) {
  const Layout& layout = index_->layout;
  Buffer buffer = read_page(*index_, row.block, PageKind::vectors, BUFFER_LOCK_SHARE);
  const float distance =
      stored_distance(layout, index_->metric, query_.data, slot_at(layout, BufferGetPage(buffer), row.slot));
  UnlockReleaseBuffer(buffer);
  return distance;
}

bool ListReader::next(float* distance, ItemPointer tid) {
  while (!bounds_.empty() && (exact_.empty() || bounds_.top_distance() <= exact_.top_distance())) {
    CHECK_FOR_INTERRUPTS();
    const uint32 row = bounds_.pop();
    exact_.push(exact_distance(rows_[row]), row);
  }
  if (exact_.empty()) return false;
  *distance = exact_.top_distance();
  *tid = rows_[exact_.pop()].tid;
  return true;
}

}  // namespace cairn::ivfflat
