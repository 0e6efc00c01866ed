// Work cut into chunks for threads, which PostgreSQL's backends may use as long as the work calls none of its
// functions: no memory context, no ereport, no buffer. The threads take no signals, and are gone whenever `check` runs,
// so that `check` may leave by longjmp (a cancelled query): nothing is held then.
#pragma once

#include <cstddef>

namespace cairn::core {

struct Workers {
  int threads = 1;                  // the caller's own counts as one
  bool (*interrupted)() = nullptr;  // asked after every chunk by the caller's thread; only reads a flag
  void (*check)() =
      nullptr;  // called by the caller's thread, alone, when interrupted() was true; if it returns, work goes on
};

// Calls work(context, begin, end) for pieces of at most `chunk` that cover [0, count), each once, in any order. A chunk
// should take less than 20 ms: that is how long an interrupt waits.
void parallel_for(const Workers& workers, size_t count, size_t chunk,
                  void (*work)(void* context, size_t begin, size_t end), void* context);

// The same between chunks of work that is not cut.
inline void check_interrupts(const Workers& workers) {
  if (workers.interrupted != nullptr && workers.interrupted()) workers.check();
}

}  // namespace cairn::core
