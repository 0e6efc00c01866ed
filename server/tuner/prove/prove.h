// An advice tried on a clone: its statements really run, with constants of the data, before and after the changes are
// made there. What does not make something faster beyond noise is rejected and taken off, and the rest is measured
// again. The database itself is only read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/reactor.h"
#include "tuner/advise/advice.h"
#include "tuner/prove/clone.h"
#include "tuner/prove/proof.h"

namespace cairn::tuner {

struct ProveOptions {
  CloneOptions clone = {};
  std::string log = {};    // the server's, on this machine; empty: it is read through the server
  int rounds = 11;         // timed runs of each set of values; with 5, one outlier widens the interval past any gain
  int parameter_sets = 3;  // for statements with placeholders
  double seconds = 300;    // for running statements; making the clone and the changes is not counted
  uint64_t seed = 1;
  // Of the rows of an exact search: what a search through an approximate index (HNSW, IVFFlat) has to find.
  double recall = 0.95;
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

// Throws Error where no clone can be had, and Error(kAborted) at Ctrl-C; nothing of it is left behind in either case.
Proof prove(Reactor& reactor, const ProveOptions& options, const Advice& advice);

}  // namespace cairn::tuner
