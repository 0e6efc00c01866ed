// Who waits for whom, as a tree. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "triage/state.h"

namespace cairn::triage {

struct TreeLine {
  int64_t pid = 0;  // 0: a prepared transaction
  int depth = 0;    // 0: waits for nobody, or for itself by a detour (a deadlock that PostgreSQL has not ended yet)
  int64_t holds_back = 0;                // sessions that cannot go on before it does, directly or not
  std::vector<int64_t> waits_also = {};  // for these too, beside the one above it
  bool in_cycle = false;
};

// Each session that waits for a lock, and each that is waited for, once: those that hold back most first, each followed
// by who waits for it.
std::vector<TreeLine> blocking_tree(const std::vector<Session>& sessions);

}  // namespace cairn::triage
