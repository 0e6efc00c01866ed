// What is wrong with a plan, why, what it costs, and what would mend it.
//
// Rules over the tree of plan.h, in files by subject (*_rules.cpp, see rules.h). They say nothing where a plan is as it
// should be. With facts of the catalog they say more; without, they go by what the plan tells alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tuner/catalog/index_definition.h"
#include "tuner/plan/plan.h"

namespace cairn::tuner {

struct IndexFacts {
  std::string name = {};
  std::vector<std::string> keys = {};  // a column's name, or an expression as PostgreSQL prints it
  bool usable = false;                 // a valid B-tree over all rows
};

struct TableFacts {
  double rows = -1;  // by the last ANALYZE or VACUUM; -1: never
  int64_t pages = 0;
  double changed_since_analyze = 0;
  std::optional<int64_t> analyzed_at_ms = {};  // empty: never
  std::map<std::string, std::string> column_types = {};
  std::vector<IndexFacts> indexes = {};
};

// What the rules want to know beside the plan. Settings as they were when it was made.
struct PlanFacts {
  int64_t work_mem_kb = 4096;
  double hash_mem_multiplier = 1;  // before PostgreSQL 15; then 2
  bool jit = false;
  double jit_above_cost = 100000;
  int max_parallel_workers_per_gather = 2;
  int max_parallel_workers = 8;
  int max_worker_processes = 8;
  double cpu_operator_cost = 0.0025;
  std::optional<double> generic_cost =
      {};  // of the generic plan, where this is the custom plan of a prepared statement
  std::map<TableName, TableFacts> tables = {};

  const TableFacts* table(const PlanNode& node) const;
};

struct Mend {
  std::string text = {};
  std::vector<std::string> statements = {};   // SQL, ready to run; may be empty
  std::optional<IndexDefinition> index = {};  // when it is one
};

struct Finding {
  std::string kind = {};  // sequential_scan, wrong_estimate, …: see docs/reference/tuner-explain.md
  std::string path = {};  // PlanNode::path; of the whole statement: empty
  std::string node = {};  // PlanNode::title()
  std::string what = {};
  std::string why = {};
  // Of the statement's time, or of its cost where nothing was measured; unknown: empty.
  std::optional<double> share_percent = {};
  std::vector<std::pair<std::string, double>> numbers = {};
  Mend mend = {};
};

// The greatest share first.
std::vector<Finding> find_problems(const Plan& plan, const PlanFacts& facts);

void write_json(json::Writer& writer, const Finding& finding);

}  // namespace cairn::tuner
