// A plan as EXPLAIN (FORMAT JSON) writes it, as typed values, with the time that each node took itself.
//
// PostgreSQL counts a node's time and rows per loop, includes its inputs' time, and beneath a Gather sums over
// processes. Here `total_ms` is wall time (all loops, shared out among the processes) and `own_ms` is what is left of
// it after the inputs; the own times of a plan add up to the time of its root. Where nothing was measured, the
// planner's cost stands in, in the same way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::tuner {

struct PlanBuffers {
  // In blocks; of a node: with its inputs.
  int64_t shared_hit = 0;
  int64_t shared_read = 0;
  int64_t shared_dirtied = 0;
  int64_t shared_written = 0;
  int64_t temp_read = 0;
  int64_t temp_written = 0;
  std::optional<double> read_ms = {};  // with track_io_timing
};

// How a Sort, Incremental Sort, Hash or Aggregate used memory. Sizes in KiB; of several workers the largest.
struct PlanMemory {
  std::string sort_method = {};
  int64_t memory_kb = 0;
  int64_t disk_kb = 0;
  int64_t hash_batches = 0;
  int64_t hash_batches_planned = 0;
  int64_t hash_buckets = 0;
};

struct PlanNode {
  std::string type = {};
  std::string relationship = {};  // Outer, Inner, Subquery, Member, InitPlan, SubPlan; of the root: empty
  std::string subplan_name = {};
  std::string schema = {};
  std::string relation = {};
  std::string alias = {};
  std::string index = {};
  std::string cte_name = {};
  std::string join_type = {};
  std::string strategy = {};  // of an Aggregate: Plain, Sorted, Hashed, Mixed
  bool parallel_aware = false;

  std::string filter = {};
  std::string index_condition = {};
  std::string recheck_condition = {};
  std::string join_condition = {};  // Hash Cond or Merge Cond
  std::string join_filter = {};
  std::vector<std::string> sort_key = {};
  std::vector<std::string> group_key = {};
  std::vector<std::string> output = {};

  // Per loop, as PostgreSQL prints them.
  double startup_cost = 0;
  double total_cost = 0;
  double rows_planned = 0;
  int64_t width = 0;
  double rows = 0;
  double loops = 0;  // 0: never executed, or not measured
  double removed_by_filter = 0;
  double removed_by_join_filter = 0;
  double removed_by_recheck = 0;

  int64_t heap_fetches = 0;
  int64_t exact_heap_blocks = 0;
  int64_t lossy_heap_blocks = 0;
  int64_t workers_planned = 0;
  int64_t workers_launched = 0;
  PlanBuffers buffers = {};
  PlanMemory memory = {};

  // Worked out from the above.
  std::string path = {};       // "0.1.0": the way from the root by positions
  double processes = 1;        // that shared this node's work
  double total_ms = 0;         // with inputs; 0 where nothing was measured
  double own_ms = 0;           // without
  double share_percent = 0;    // own share of the whole statement: of time, or of cost where nothing was measured
  double subtree_percent = 0;  // with inputs

  std::vector<PlanNode> children = {};

  double rows_total() const { return rows * loops; }
  double removed_total() const { return removed_by_filter * loops; }
  bool is_scan() const { return !relation.empty() && type != "ModifyTable"; }
  // "Index Scan using i on t a", as EXPLAIN says it.
  std::string title() const;
};

struct PlanJit {
  int64_t functions = 0;
  double total_ms = 0;
};

struct Plan {
  PlanNode root = {};
  bool analyzed = false;  // executed, with times
  double planning_ms = 0;
  double execution_ms = 0;
  std::optional<PlanJit> jit = {};
  std::vector<std::pair<std::string, std::string>> settings = {};  // those that are not the default
};

// Reads what EXPLAIN (FORMAT JSON, …) printed. Unknown fields are overlooked, missing ones keep their defaults.
// Throws Error(kInvalidParameterValue) when it is no plan.
Plan parse_plan(std::string_view json);

// Every node once, parents before children.
std::vector<const PlanNode*> plan_nodes(const Plan& plan);

}  // namespace cairn::tuner
