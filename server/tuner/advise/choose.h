// Which of many proposed indexes to have: the set that takes most time off a workload within a budget of bytes and of
// writes' time. Knows no PostgreSQL: what a statement costs under a set of indexes is asked of a CostModel.
//
// It can be stopped at any time: the first answer costs two questions a statement, later ones are only better.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

struct Estimate {
  double cost = 0;  // in the planner's units
  std::vector<IndexDefinition> used = {};
};

class CostModel {
 public:
  virtual ~CostModel() = default;
  // The statement's plan if these indexes were there beside those that are.
  virtual Estimate estimate(size_t statement, const std::vector<IndexDefinition>& indexes) = 0;
  // How large the index would be; nothing when it cannot be told, and then it is not chosen.
  virtual std::optional<int64_t> bytes(const IndexDefinition& index) = 0;
};

struct ChoiceStatement {
  double ms_per_cost = 1;  // milliseconds of the whole workload that one unit of the statement's cost stands for
  std::set<TableName> tables = {};  // an index on another table changes nothing for it
  std::optional<std::set<std::string>> columns =
      {};  // one that begins with another column neither; absent: any may help
};

struct ChoiceProblem {
  std::vector<ChoiceStatement> statements;
  std::vector<IndexDefinition> candidates;
  // What the workload's writes would take longer, in milliseconds.
  std::function<double(const IndexDefinition&)> write_ms = [](const IndexDefinition&) { return 0.0; };
  int64_t bytes_max = std::numeric_limits<int64_t>::max();
  double write_ms_max = std::numeric_limits<double>::infinity();
  // An index is worth having when it takes this share off the workload, or a quarter off a statement that is not small.
  double gain_min = 0.003;
  int calls_max = std::numeric_limits<int>::max();
  std::function<bool()> out_of_time = [] { return false; };
};

struct ChosenIndex {
  IndexDefinition index;
  int64_t bytes = 0;
  double write_ms = 0;
  double gain_ms = 0;  // what the workload would lose without it, its write cost not taken off
};

struct RejectedIndex {
  IndexDefinition index;
  int64_t bytes = 0;
  double gain_ms = 0;  // beside what was chosen
  std::string reason = {};
};

struct Choice {
  std::vector<ChosenIndex> indexes;  // greatest gain first
  std::vector<RejectedIndex> rejected;
  std::vector<double> cost_before;  // of each statement
  std::vector<double> cost_after;
  std::vector<std::vector<IndexDefinition>> used;  // by each statement's plan, of those that were chosen
  double ms_before = 0;
  double ms_after = 0;  // without write_ms
  double write_ms = 0;
  int64_t bytes = 0;
  int calls = 0;         // of CostModel::estimate
  bool complete = true;  // false: stopped by calls_max or out_of_time
};

Choice choose(const ChoiceProblem& problem, CostModel& model);

}  // namespace cairn::tuner
