// Random numbers that are the same for a seed with every compiler and library, which std's distributions are not.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <utility>
#include <vector>

namespace cairn::demo {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // In (0, 1).
  double uniform() { return (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53; }
  // With mean 0 and deviation 1 (Box and Muller).
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[engine_() % left]);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace cairn::demo
