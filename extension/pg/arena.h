// Memory for core's algorithms from a PostgreSQL memory context: it goes with the context, also when an error leaves by
// longjmp.
#pragma once

#include "base/arena.h"
#include "pg/pg.h"

namespace cairn::pg {

class ContextArena final : public core::Arena {
 public:
  // From `region`, of so many bytes, as long as that lasts.
  explicit ContextArena(MemoryContext context, char* region = nullptr, size_t region_bytes = 0)
      : context_(context), free_(region), free_bytes_(region_bytes) {}

  void* allocate(size_t bytes) override {
    const size_t taken = bytes + 63;  // more than what alignment skips
    if (taken <= free_bytes_) {
      auto* const place = reinterpret_cast<void*>(TYPEALIGN(64, free_));
      char* const end = static_cast<char*>(place) + bytes;
      free_bytes_ -= static_cast<size_t>(end - free_);
      free_ = end;
      return place;
    }
    return reinterpret_cast<void*>(TYPEALIGN(64, MemoryContextAllocHuge(context_, bytes + 63)));
  }

 private:
  MemoryContext context_;
  char* free_;
  size_t free_bytes_;
};

}  // namespace cairn::pg
