// How features are: how fresh, how often missing, in which range, and how far they drifted from a saved baseline.
// Of the latest values; of a view with very many entities, of a sample of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "db/pool.h"

namespace cairn::features {

struct FeatureHealth {
  std::string id, name, type;
  double null_rate = 0;
  std::optional<double> min, max, mean;  // of numbers
  std::vector<double> shares;            // of the baseline's bins, now
  std::vector<double> quantiles;         // 21, from the least to the greatest number; empty: there is none
  std::optional<int64_t> baseline_us;    // when it was saved
  std::optional<double> baseline_null_rate;
  std::optional<double> psi;  // of numbers that have a baseline
};

struct ViewHealth {
  int64_t id = 0;
  std::string name;
  int64_t entities = 0;
  std::optional<int64_t> newest_us;  // event time
  double stale_rate = 0;             // entities whose values are older than the view's ttl
  std::vector<FeatureHealth> features;
};

// A feature whose population stability index is above this has drifted, by common use of the index.
constexpr double kDrifted = 0.25;

// Of two lists of shares: sum of (p - q) ln(p / q), where an empty bin counts as one in ten thousand.
double population_stability_index(const std::vector<double>& expected, const std::vector<double>& actual);

task<std::vector<ViewHealth>> read_health(db::Pool& pool);
// From now on drift is measured from what is there now. Gives the number of features.
task<int64_t> save_baselines(db::Pool& pool);

// `now_us`: what freshness is reckoned from.
std::string health_json(const std::vector<ViewHealth>& views, int64_t now_us);
std::string health_metrics(const std::vector<ViewHealth>& views, int64_t now_us);

}  // namespace cairn::features
