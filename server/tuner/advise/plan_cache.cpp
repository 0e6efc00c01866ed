#include "tuner/advise/plan_cache.h"

#include <algorithm>

namespace cairn::tuner {

bool contains_all(const IndexSet& larger, const IndexSet& smaller) {
  return std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end());
}

PlanCache::Bounds PlanCache::bounds(size_t statement, const IndexSet& set) const {
  Bounds bounds;
  for (const KnownPlan& plan : known_[statement]) {
    if (plan.cost > bounds.lower && contains_all(plan.set, set)) bounds.lower = plan.cost;
    if (plan.cost < bounds.upper && contains_all(set, plan.used)) {
      bounds.upper = plan.cost;
      bounds.plan = &plan;
    }
  }
  bounds.lower = std::min(bounds.lower, bounds.upper);  // the planner is not quite monotonous
  return bounds;
}

}  // namespace cairn::tuner
