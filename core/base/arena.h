// Where core's algorithms take memory from: a PostgreSQL memory context in the extension, plain blocks in tests.
// Nothing is given back piece by piece, so that an error which leaves through PostgreSQL's longjmp leaks nothing.
#pragma once

#include <cstddef>

namespace cairn::core {

class Arena {
 public:
  // At least `bytes` bytes at a 64-byte boundary, never null; they live until the arena ends.
  virtual void* allocate(size_t bytes) = 0;

 protected:
  ~Arena() = default;
};

}  // namespace cairn::core
