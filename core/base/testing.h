// An arena of plain memory for tests and benchmarks.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "base/arena.h"

namespace cairn::core {

class MallocArena final : public Arena {
 public:
  void* allocate(size_t bytes) override {
    blocks_.emplace_back(std::aligned_alloc(64, (bytes + 63) / 64 * 64), &std::free);
    used += bytes;
    return blocks_.back().get();
  }

  size_t used = 0;

 private:
  std::vector<std::unique_ptr<void, decltype(&std::free)>> blocks_;
};

}  // namespace cairn::core
