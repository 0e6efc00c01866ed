// The rules of findings.h, and what they share. Each rule looks at one node (or at the whole plan) and adds a finding
// where its thresholds are passed; the thresholds stand above the rules, with their reasons.
#pragma once

#include <string>
#include <vector>

#include "tuner/plan/findings.h"
#include "tuner/plan/plan_conditions.h"

namespace cairn::tuner {

struct RuleContext {
  const Plan& plan;
  const PlanFacts& facts;
  std::vector<const PlanNode*> nodes;
  std::map<const PlanNode*, const PlanNode*> parents;
  std::vector<Finding>& findings;

  const PlanNode* parent(const PlanNode& node) const;
  // A finding about a node, with its own share; to be filled in.
  Finding about(const PlanNode& node, const char* kind) const;
};

// scan_rules.cpp
void sequential_scan(RuleContext& context, const PlanNode& node);
void filter_after_index(RuleContext& context, const PlanNode& node);
void heap_fetches(RuleContext& context, const PlanNode& node);
void lossy_bitmap(RuleContext& context, const PlanNode& node);
void cte_scan(RuleContext& context, const PlanNode& node);

// memory_rules.cpp
void sort_on_disk(RuleContext& context, const PlanNode& node);
void hash_in_batches(RuleContext& context, const PlanNode& node);
void spilled_rows(RuleContext& context, const PlanNode& node);

// estimate_rules.cpp
void wrong_estimates(RuleContext& context);

// join_rules.cpp
void nested_loop(RuleContext& context, const PlanNode& node);
void whole_table_join(RuleContext& context, const PlanNode& node);
void multiplied_rows(RuleContext& context, const PlanNode& node);
void subplan_per_row(RuleContext& context, const PlanNode& node);
void large_offset(RuleContext& context, const PlanNode& node);

// statement_rules.cpp
void cold_cache(RuleContext& context);
void jit_cost(RuleContext& context);
void missing_workers(RuleContext& context, const PlanNode& node);
void parallel_off(RuleContext& context);
void planned_each_time(RuleContext& context);

// 12,345,678
std::string grouped(double number);
// 12.3 ms, 4.56 s
std::string duration(double ms);
// A size from KiB: 640 kB, 12 MB.
std::string size_of(int64_t kib);
// Of KiB rounded up to whole MB, as a value of work_mem.
std::string memory_setting(double kib);
std::string qualified(const PlanNode& scan);

// The index that conditions ask for: columns compared for equality, then one compared for a range. No keys where no
// B-tree would help.
IndexDefinition index_for(const PlanNode& scan, const std::vector<Condition>& conditions, const PlanFacts& facts);
Mend mend_with_index(const IndexDefinition& index);
// An index that could serve the definition: its keys begin with the same columns, in any order. Null: none known.
const IndexFacts* existing_index(const IndexDefinition& index, const TableFacts* table);
// Whether the column's type makes `(column)::text` something that an index on the column cannot serve.
bool cast_hides_column(const Condition& condition, const TableFacts* table);

}  // namespace cairn::tuner
