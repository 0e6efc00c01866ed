// Latencies of many requests in bounded memory, by percentile.
#pragma once

#include <array>
#include <cstdint>

namespace cairn::workload {

// Buckets that grow with the value, 64 to each power of two: a percentile is at most 1.6 % above the true one
// (as HdrHistogram with two digits). Not thread-safe.
class Latencies {
 public:
  void add(uint64_t microseconds);
  void merge(const Latencies& other);

  uint64_t count() const { return count_; }
  double mean_us() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  uint64_t max_us() const { return max_; }
  // The value that `percent` of all are not above: the upper end of its bucket, at most max_us(). 0 without any.
  uint64_t percentile_us(double percent) const;

 private:
  static constexpr int kBitsInPowerOfTwo = 6;
  std::array<uint64_t, (64 - kBitsInPowerOfTwo + 1) << kBitsInPowerOfTwo> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace cairn::workload
