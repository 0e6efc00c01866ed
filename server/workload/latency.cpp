#include "workload/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cairn::workload {
namespace {

constexpr int kBits = 6;

// Values below 64 have a bucket each; above, the 6 bits below the highest choose one of 64 in their power of two.
size_t bucket_of(uint64_t value) {
  if (value < (1u << kBits)) return value;
  const int shift = std::bit_width(value) - 1 - kBits;
  return (static_cast<size_t>(shift + 1) << kBits) + ((value >> shift) & ((1u << kBits) - 1));
}

uint64_t upper_end(size_t bucket) {
  if (bucket < (1u << kBits)) return bucket;
  const size_t shift = (bucket >> kBits) - 1;
  const uint64_t lower = ((1ull << kBits) + (bucket & ((1u << kBits) - 1))) << shift;
  return lower + (1ull << shift) - 1;
}

}  // namespace

void Latencies::add(uint64_t microseconds) {
  ++buckets_[bucket_of(microseconds)];
  ++count_;
  sum_ += microseconds;
  max_ = std::max(max_, microseconds);
}

void Latencies::merge(const Latencies& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

uint64_t Latencies::percentile_us(double percent) const {
  if (count_ == 0) return 0;
  const auto wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(upper_end(i), max_);
  }
  return max_;
}

}  // namespace cairn::workload
