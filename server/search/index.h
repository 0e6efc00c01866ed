// The vector index of a collection: whether, which, how thorough its scans are (docs/reference/search.md, "The index").
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "search/collections.h"

namespace cairn::search {

// Called with a line for people while something takes long.
using Say = std::function<void(const std::string&)>;

// An exact search of fewer takes a few milliseconds.
inline constexpr int64_t kIndexFrom = 10000;

struct IndexPlan {
  std::string kind = "none";  // none, hnsw, ivfflat
  int64_t lists = 0;          // of ivfflat
};
// `wanted` is what the collection says: auto, none, hnsw, ivfflat.
IndexPlan index_plan(const std::string& wanted, int64_t vectors);

struct IndexReport {
  IndexPlan plan;
  int64_t vectors = 0;
  bool built = false;    // else it was there already, or none is wanted
  bool dropped = false;  // one that is not wanted any more
  double seconds = 0;
};

// Makes the index what it should be, without keeping searches and writes from going on, and analyses. Throws Error.
task<IndexReport> care_for_index(db::Pool& pool, std::string collection, Say say);
std::string as_json(const IndexReport& report);

// Whether there are enough vectors for an index, and none yet.
task<bool> index_is_due(db::Pool& pool, const Collection& collection);

// Before a bulk load: a load into an index takes longer than the index over what was loaded. Gives whether there was
// one.
task<bool> drop_index(db::Pool& pool, std::string collection);

struct TuneStep {
  int setting = 0;
  double recall = 0;
  double latency_ms_mean = 0;
};
struct TuneReport {
  std::string setting;  // hnsw.ef_search or ivfflat.probes; empty: there is no index, and each search is exact
  double wanted = 0;
  int64_t sample = 0;
  std::vector<TuneStep> steps;  // the last is the one that was chosen, where `reached`
  bool reached = false;
  double exact_ms_mean = 0;
};

// The least thorough scan whose ten nearest are, on average over a sample of the collection's own vectors, to `recall`
// those of an exact search; it is set for the collection. Not reached: the most thorough.
task<TuneReport> tune_index(db::Pool& pool, std::string collection, double recall, int sample, Say say);
std::string as_json(const TuneReport& report);

}  // namespace cairn::search
