// What is known of each statement's cost under sets of indexes, and what follows from it for other sets: a plan is
// there for every set that holds the indexes it uses, and with fewer indexes no plan gets cheaper. Most questions of a
// search are answered by that, without the planner.
#pragma once

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace cairn::tuner {

using IndexSet = std::vector<int>;  // ascending numbers of indexes

bool contains_all(const IndexSet& larger, const IndexSet& smaller);

struct KnownPlan {
  IndexSet set;   // what was there
  IndexSet used;  // what the plan uses of it
  double cost = 0;
};

class PlanCache {
 public:
  explicit PlanCache(size_t statements) : known_(statements) {}

  void add(size_t statement, KnownPlan plan) { known_[statement].push_back(std::move(plan)); }

  struct Bounds {
    double lower = 0;
    double upper = std::numeric_limits<double>::infinity();
    const KnownPlan* plan = nullptr;  // the one of cost `upper`; valid until the next add()
  };
  Bounds bounds(size_t statement, const IndexSet& set) const;

 private:
  std::vector<std::vector<KnownPlan>> known_;
};

}  // namespace cairn::tuner
