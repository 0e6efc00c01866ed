// How long this thread's connections waited for their statements, as a histogram for /metrics.
#pragma once

#include <cstdint>
#include <iterator>

namespace cairn::db {

struct StatementTimes {
  // Milliseconds by upper bound, cumulative as Prometheus has it; the last bucket is all of them.
  static constexpr double kBoundsMs[] = {0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};
  uint64_t buckets[std::size(kBoundsMs) + 1] = {};
  double sum_ms = 0;

  void add(double ms) {
    sum_ms += ms;
    for (size_t i = 0; i < std::size(kBoundsMs); ++i) buckets[i] += ms <= kBoundsMs[i];
    ++buckets[std::size(kBoundsMs)];
  }
};

// A reactor's connections are all on its thread: no lock.
StatementTimes& statement_times();

}  // namespace cairn::db
