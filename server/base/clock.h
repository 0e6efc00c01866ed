// Time as MLflow's API has it: milliseconds since 1970 UTC.
#pragma once

#include <chrono>
#include <cstdint>

namespace cairn {

inline int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace cairn
