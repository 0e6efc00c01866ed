// Memory for core's algorithms from a PostgreSQL memory context: it goes with the context, also when an error leaves by
// longjmp.
#pragma once

#include "base/arena.h"
#include "pg/pg.h"

namespace cairn::pg {

class ContextArena final : public core::Arena {
 public:
  explicit ContextArena(MemoryContext context) : context_(context) {}

  void* allocate(size_t bytes) override {
    return reinterpret_cast<void*>(TYPEALIGN(64, MemoryContextAllocHuge(context_, bytes + 63)));
  }

 private:
  MemoryContext context_;
};

}  // namespace cairn::pg
