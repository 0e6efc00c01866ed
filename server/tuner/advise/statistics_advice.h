// Statistics over several columns, or of an expression, where the planner's estimate would err: it takes conditions for
// independent of each other, and of an expression it knows nothing. Checked on a sample of the table before.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/task.h"
#include "tuner/advise/advice.h"
#include "tuner/catalog/catalog.h"

namespace cairn::db {
class Pool;
}

namespace cairn::tuner {

struct StatisticsCandidate {
  const Table* table = nullptr;         // of the catalog that was given
  std::vector<std::string> items = {};  // two columns, or one expression's SQL
  bool is_expression = false;
  bool compared = false;                // both are compared with values
  bool grouped = false;                 // both are in one GROUP BY
  std::vector<size_t> statements = {};  // positions in the advice
};

// From statements that take one per cent of the time or more, over tables where an estimate matters.
std::vector<StatisticsCandidate> statistics_candidates(const Catalog& catalog, const Advice& advice);

// What a sample of the table shows.
struct StatisticsSample {
  double rows = 0;      // of the sample
  double together = 0;  // share of them in combinations that are frequent enough to count
  double factor = 0;    // how many times as many rows such a combination has than independent columns would
  double combinations = 0;
  double product = 0;    // of the columns' numbers of values
  double frequency = 0;  // of an expression's value, on average over rows
};

// Nothing where the sample shows no error of ten times.
std::optional<Change> statistics_change(const StatisticsCandidate& candidate, const StatisticsSample& sample);

task<> add_statistics(db::Pool& pool, const Catalog& catalog, Advice& advice);

}  // namespace cairn::tuner
