// PostgreSQL zone: plain data in memory contexts, reads may leave by ereport. One content lock at a time.
#include "am/ivfflat/list_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "am/ivfflat/centroids.h"
#include "kernels/code.h"
#include "kernels/distance.h"

namespace cairn::ivfflat {
namespace {

// Standard deviations of an estimate: outside 6 lies a code in a billion, outside 4 lie 3 in 100,000 on either side.
// The first rows of a scan, which most scans end with, are looked for with the smaller: half as many vectors are read.
// Who reads on reads all vectors anyway.
constexpr float kErrorsSafe = 6;
constexpr float kErrorsLikely = 4;
// So many rows certainly lie within the first threshold; each further one is for this many times more.
constexpr size_t kWantedFirst = 32;
constexpr size_t kWantedGrowth = 8;
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

template <class F>
void Heap::remove_if(F remove) {
  size_ = static_cast<size_t>(
      std::remove_if(keys_, keys_ + size_, [&](uint64 key) { return remove(static_cast<uint32>(key)); }) - keys_);
  ordered_ = false;
}

void ListReader::begin(Index* index, const Prepared& query, MemoryContext context) {
  index_ = index;
  query_ = query;
  context_ = context;
  lists_.attach(context);
  bounds_.attach(context);
  exact_.attach(context);
  uppers_.attach(context);
  rows_ = nullptr;
  read_ = nullptr;
  row_count_ = read_count_ = kept_ = capacity_ = 0;
  wanted_ = kWantedFirst;
  threshold_ = std::numeric_limits<float>::infinity();
  looked_at_ = -threshold_;
  skipped_ = false;
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
  if (read_ == nullptr) read_ = static_cast<uint32*>(MemoryContextAlloc(context_, index_->lists * sizeof(uint32)));
  read_[read_count_] = lists_.pop();
  scan_list(read_[read_count_++], false);
}

void ListReader::scan_list(uint32 list, bool again) {
  BlockNumber block = read_list_head(*index_, list).first;
  if (block == InvalidBlockNumber) return;
  if (index_->layout.codes) begin_list(list);
  for (BlockNumber read = 0; block != InvalidBlockNumber; ++read) {
    CHECK_FOR_INTERRUPTS();
    if (read > index_->blocks) report_corrupted(index_->relation, block, "its list goes round in a circle");
    Buffer buffer = read_entry_page(*index_, block, list, BUFFER_LOCK_SHARE);
    if (index_->layout.codes)
      read_codes(buffer, again);
    else
      read_entries(buffer, again);
    block = entry_head(BufferGetPage(buffer))->next;
    UnlockReleaseBuffer(buffer);
  }
}

inline Row* ListReader::consider(const Entry* entry, Buffer buffer, const Bounds& bounds, bool again) {
  row_count_ += !again;
  if (bounds.safe > threshold_) {
    skipped_ = true;
    return nullptr;
  }
  // Not a number: kept the first time, as it says nothing.
  if (again && !(bounds.safe > floor_)) return nullptr;
  // The executor would make the table longer to fetch it.
  if (ItemPointerGetBlockNumberNoCheck(&entry->tid) == InvalidBlockNumber)
    report_corrupted(index_->relation, BufferGetBlockNumber(buffer), "an entry points to no page of the table");
  if (bounds.upper < threshold_) {
    if (uppers_.size() == wanted_) uppers_.pop();
    uppers_.push(-bounds.upper, 0);
    if (uppers_.size() == wanted_) threshold_ = std::max(-uppers_.top_distance(), looked_at_);
  }
  if (kept_ == capacity_) rows_ = grown(context_, rows_, &capacity_);
  bounds_.append(wanted_ == kWantedFirst ? bounds.likely : bounds.safe, static_cast<uint32>(kept_));
  Row* row = &rows_[kept_++];
  row->tid = entry->tid;
  row->bound = bounds.safe;
  return row;
}

void ListReader::read_entries(Buffer buffer, bool again) {
  const Layout& layout = index_->layout;
  Page page = BufferGetPage(buffer);
  for (uint32 i = 0; i < entry_head(page)->count; ++i) {
    const Entry* entry = entry_at(layout, page, i);
    if (is_dead(entry)) continue;
    const float distance = stored_distance(layout, index_->metric, query_.data, entry->data());
    consider(entry, buffer, {distance, distance, distance}, again);
  }
}

void ListReader::begin_list(uint32 list) {
  const uint32 n = index_->layout.space;
  read_centroid(*index_, list, reinterpret_cast<char*>(residual_));
  for (uint32 i = 0; i < n; ++i) residual_[i] = query_.space[i] - residual_[i];
  residual_square_ = core::inner_product(residual_, residual_, n);
  const core::Quantized quantized = core::quantize_byte(residual_, n, residual_bytes_);
  residual_scale_ = quantized.scale;
  residual_total_ = static_cast<float>(quantized.total);
  residual_length_ = std::sqrt(residual_square_);
}

void ListReader::read_codes(Buffer buffer, bool again) {
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
    const float error = 2 * (factors->error * residual_length_ + factors->ratio * quantizing);
    const float rounding = kRounding * sum;
    const float estimate = sum - 2 * factors->ratio * dot;
    Bounds bounds = {estimate - kErrorsSafe * error - rounding, estimate - kErrorsLikely * error - rounding,
                     estimate + kErrorsLikely * error + rounding};
    if (spherical) {
      const float scale = factors->norm * query_norm / 2;
      bounds.safe = scale * (bounds.safe - 1 - query_square);
      bounds.likely = scale * (bounds.likely - 1 - query_square);
      bounds.upper = scale * (bounds.upper - 1 - query_square);
    }
    Row* row = consider(entry, buffer, bounds, again);
    if (row == nullptr) continue;
    row->slot = static_cast<uint16>(i % layout.vectors_per_page);
    row->block = head->vectors[i / layout.vectors_per_page];
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

// Rows beyond the threshold are met again, with a larger one. The bounds come out as before, to the last bit: no row is
// missed or taken twice.
void ListReader::widen() {
  floor_ = threshold_;
  bounds_.remove_if([this](uint32 row) { return rows_[row].bound > floor_; });
  uppers_.clear();
  wanted_ *= kWantedGrowth;
  threshold_ = std::numeric_limits<float>::infinity();
  skipped_ = false;
  for (size_t i = 0; i < read_count_; ++i) scan_list(read_[i], true);
}

bool ListReader::next(float* distance, ItemPointer tid) {
  for (;;) {
    // Nothing was left out, so what lies beyond the threshold is not met again: it is as good as the rest.
    if (!skipped_) threshold_ = std::numeric_limits<float>::infinity();
    while (!bounds_.empty() && bounds_.top_distance() <= threshold_ &&
           (exact_.empty() || bounds_.top_distance() <= exact_.top_distance())) {
      CHECK_FOR_INTERRUPTS();
      const float bound = bounds_.top_distance();
      const uint32 row = bounds_.pop();
      looked_at_ = std::max(looked_at_, rows_[row].bound);
      exact_.push(index_->layout.codes ? exact_distance(rows_[row]) : bound, row);
    }
    if (!exact_.empty() && (!skipped_ || exact_.top_distance() <= threshold_)) break;
    if (!skipped_) return false;
    widen();
  }
  *distance = exact_.top_distance();
  *tid = rows_[exact_.pop()].tid;
  return true;
}

}  // namespace cairn::ivfflat
