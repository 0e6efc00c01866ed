#include "tuner/plan/plan.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "base/error.h"

namespace cairn::tuner {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

// Two levels of JSON to a node: plans of 500 levels. (A join of n tables nests n deep.)
constexpr size_t kMaxDepth = 1000;
// simdjson refuses whole numbers above 2^64, PostgreSQL writes an estimate of 10^30 rows with all its digits.
constexpr size_t kSafeDigits = 18;
// Whatever a text claims: products of two stay finite, whole numbers stay whole.
constexpr double kMostNumber = 1e100;
constexpr double kMostInteger = 1e15;

// The text with a fraction after every long whole number outside of strings, so that it is read as a double.
std::string with_readable_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (!in_string && c >= '0' && c <= '9') {
      const size_t end = std::min(text.find_first_not_of("0123456789", i), text.size());
      const bool whole = end == text.size() || (text[end] != '.' && text[end] != 'e' && text[end] != 'E');
      const bool begins = i == 0 || (text[i - 1] != '.' && text[i - 1] != '+' && text[i - 1] != 'e');
      out += text.substr(i, end - i);
      if (whole && begins && end - i > kSafeDigits) out += ".0";
      i = end;
      continue;
    }
    out += c;
    if (in_string && c == '\\' && i + 1 < text.size()) out += text[++i];
    if (c == '"') in_string = !in_string;
    ++i;
  }
  return out;
}

double number(const object& from, const char* name, double otherwise = 0) {
  element value;
  double result = 0;
  if (from.at_key(name).get(value) || value.get(result)) return otherwise;
  return std::isfinite(result) ? std::clamp(result, 0.0, kMostNumber) : otherwise;
}

int64_t integer(const object& from, const char* name) {
  return static_cast<int64_t>(std::min(number(from, name), kMostInteger));
}

std::string text(const object& from, const char* name) {
  std::string_view value;
  return from.at_key(name).get(value) ? std::string() : std::string(value);
}

std::vector<std::string> texts(const object& from, const char* name) {
  std::vector<std::string> values;
  simdjson::dom::array items;
  if (from.at_key(name).get(items)) return values;
  for (const element item : items) {
    std::string_view value;
    if (!item.get(value)) values.emplace_back(value);
  }
  return values;
}

bool truth(const object& from, const char* name) {
  bool value = false;
  return !from.at_key(name).get(value) && value;
}

// A node's own, then its workers': the largest counts, for each process has work_mem of its own.
void read_memory(const object& from, PlanMemory& memory) {
  const std::string method = text(from, "Sort Method");
  if (memory.sort_method.empty() || text(from, "Sort Space Type") == "Disk") {
    if (!method.empty()) memory.sort_method = method;
  }
  int64_t& space = text(from, "Sort Space Type") == "Disk" ? memory.disk_kb : memory.memory_kb;
  space = std::max({space, integer(from, "Sort Space Used")});
  memory.memory_kb = std::max(memory.memory_kb, integer(from, "Peak Memory Usage"));
  memory.disk_kb = std::max(memory.disk_kb, integer(from, "Disk Usage"));
  memory.hash_batches =
      std::max({memory.hash_batches, integer(from, "Hash Batches"), integer(from, "HashAgg Batches")});
  memory.hash_batches_planned = std::max(
      {memory.hash_batches_planned, integer(from, "Original Hash Batches"), integer(from, "Planned Partitions")});
  memory.hash_buckets = std::max(memory.hash_buckets, integer(from, "Hash Buckets"));
  // Incremental Sort: by groups.
  for (const char* groups : {"Full-sort Groups", "Pre-sorted Groups"}) {
    object group, space_of;
    if (from.at_key(groups).get(group)) continue;
    if (!group.at_key("Sort Space Memory").get(space_of))
      memory.memory_kb = std::max(memory.memory_kb, integer(space_of, "Peak Sort Space Used"));
    if (!group.at_key("Sort Space Disk").get(space_of)) {
      memory.disk_kb = std::max(memory.disk_kb, integer(space_of, "Peak Sort Space Used"));
      memory.sort_method = "external merge";
    }
  }
}

PlanBuffers read_buffers(const object& from) {
  PlanBuffers buffers;
  buffers.shared_hit = integer(from, "Shared Hit Blocks");
  buffers.shared_read = integer(from, "Shared Read Blocks");
  buffers.shared_dirtied = integer(from, "Shared Dirtied Blocks");
  buffers.shared_written = integer(from, "Shared Written Blocks");
  buffers.temp_read = integer(from, "Temp Read Blocks");
  buffers.temp_written = integer(from, "Temp Written Blocks");
  for (const char* name : {"I/O Read Time", "Shared I/O Read Time"}) {
    if (const double read = number(from, name); read > 0) buffers.read_ms = read;
  }
  return buffers;
}

void read_texts(const object& from, PlanNode& node) {
  node.type = text(from, "Node Type");
  node.relationship = text(from, "Parent Relationship");
  node.subplan_name = text(from, "Subplan Name");
  node.schema = text(from, "Schema");
  node.relation = text(from, "Relation Name");
  node.alias = text(from, "Alias");
  node.index = text(from, "Index Name");
  node.cte_name = text(from, "CTE Name");
  node.join_type = text(from, "Join Type");
  node.strategy = text(from, "Strategy");
  node.parallel_aware = truth(from, "Parallel Aware");
  node.filter = text(from, "Filter");
  node.index_condition = text(from, "Index Cond");
  node.recheck_condition = text(from, "Recheck Cond");
  node.join_condition = text(from, "Hash Cond");
  if (node.join_condition.empty()) node.join_condition = text(from, "Merge Cond");
  node.join_filter = text(from, "Join Filter");
  node.sort_key = texts(from, "Sort Key");
  node.group_key = texts(from, "Group Key");
  node.output = texts(from, "Output");
}

PlanNode read_node(const object& from, const std::string& path) {
  PlanNode node;
  node.path = path;
  read_texts(from, node);
  node.startup_cost = number(from, "Startup Cost");
  node.total_cost = number(from, "Total Cost");
  node.rows_planned = number(from, "Plan Rows");
  node.width = integer(from, "Plan Width");
  node.rows = number(from, "Actual Rows");
  node.loops = number(from, "Actual Loops");
  node.total_ms = number(from, "Actual Total Time") * node.loops;  // of all processes; shared out later
  node.removed_by_filter = number(from, "Rows Removed by Filter");
  node.removed_by_join_filter = number(from, "Rows Removed by Join Filter");
  node.removed_by_recheck = number(from, "Rows Removed by Index Recheck");
  node.heap_fetches = integer(from, "Heap Fetches");
  node.exact_heap_blocks = integer(from, "Exact Heap Blocks");
  node.lossy_heap_blocks = integer(from, "Lossy Heap Blocks");
  node.workers_planned = integer(from, "Workers Planned");
  node.workers_launched = integer(from, "Workers Launched");
  node.buffers = read_buffers(from);
  read_memory(from, node.memory);
  simdjson::dom::array items;
  if (!from.at_key("Workers").get(items)) {
    for (const element item : items) {
      object worker;
      if (!item.get(worker)) read_memory(worker, node.memory);
    }
  }
  if (!from.at_key("Plans").get(items)) {
    for (const element item : items) {
      object child;
      if (!item.get(child))
        node.children.push_back(read_node(child, path + "." + std::to_string(node.children.size())));
    }
  }
  return node;
}

// A JIT time is a number, or, from PostgreSQL 17 on, an object with its parts.
PlanJit read_jit(const object& from) {
  PlanJit jit;
  jit.functions = integer(from, "Functions");
  object timing, total;
  if (from.at_key("Timing").get(timing)) return jit;
  jit.total_ms = timing.at_key("Total").get(total) ? number(timing, "Total") : number(total, "Total");
  return jit;
}

void collect(PlanNode& node, std::vector<PlanNode*>& nodes) {
  nodes.push_back(&node);
  for (PlanNode& child : node.children) collect(child, nodes);
}

// "InitPlan 2 (returns $0,$1)" → true when the node's conditions mention $0 or $1.
bool mentions_result(const PlanNode& node, const std::string& subplan_name) {
  const size_t returns = subplan_name.find("(returns ");
  for (size_t at = returns == subplan_name.npos ? returns : subplan_name.find('$', returns); at != subplan_name.npos;
       at = subplan_name.find('$', at + 1)) {
    const size_t end = std::min(subplan_name.find_first_not_of("0123456789", at + 1), subplan_name.size());
    const std::string result = subplan_name.substr(at, end - at);
    for (const std::string* condition : {&node.filter, &node.index_condition, &node.join_filter}) {
      const size_t found = condition->find(result);
      if (found == condition->npos) continue;
      const size_t after = found + result.size();
      if (after >= condition->size() || !isdigit(static_cast<unsigned char>((*condition)[after]))) return true;
    }
  }
  return false;
}

// Wall time is the processes' time divided by how many they were. How many took part is how often the Gather's input
// was begun, for each time that the Gather was.
void share_out(PlanNode& node, double processes) {
  node.processes = processes;
  node.total_ms /= processes;
  const bool gathers = node.type == "Gather" || node.type == "Gather Merge";
  for (PlanNode& child : node.children) {
    const bool input = child.relationship == "Outer";
    const double took_part =
        gathers && input && node.loops > 0 ? std::max(1.0, child.loops / node.loops * processes) : processes;
    share_out(child, took_part);
  }
}

// Which nodes' work was done in the course of which: the tree, but a CTE's work is done where it is read, an InitPlan's
// where its result is first wanted.
std::map<const PlanNode*, std::vector<PlanNode*>> work_tree(PlanNode& root) {
  std::vector<PlanNode*> nodes;
  collect(root, nodes);
  std::map<const PlanNode*, std::vector<PlanNode*>> inputs;
  for (PlanNode* node : nodes) {
    for (PlanNode& child : node->children) {
      PlanNode* reader = node;
      if (child.relationship == "InitPlan") {
        std::vector<PlanNode*> below;
        for (PlanNode& other : node->children) {
          if (&other != &child) collect(other, below);
        }
        double longest = -1;
        for (PlanNode* candidate : below) {
          const bool reads = child.subplan_name.starts_with("CTE ")
                                 ? candidate->type == "CTE Scan" && child.subplan_name == "CTE " + candidate->cte_name
                                 : mentions_result(*candidate, child.subplan_name);
          if (reads && candidate->total_ms > longest) reader = candidate, longest = candidate->total_ms;
        }
      }
      inputs[reader].push_back(&child);
    }
  }
  return inputs;
}

// Cost of all loops. An inner side is charged as often as its outer side has rows, as far as the join's cost allows.
double cost_of(const PlanNode& node, const PlanNode* parent) {
  if (parent == nullptr || parent->type != "Nested Loop" || node.relationship != "Inner") return node.total_cost;
  return std::max(1.0, parent->children.front().rows_planned) * node.total_cost;
}

// Gives `node` its part and what remains of it to itself. The inputs never get more than their reader has: a Limit
// stops early, clocks are coarse.
void account(PlanNode& node, double allotted, bool analyzed, double whole,
             std::map<const PlanNode*, std::vector<PlanNode*>>& inputs) {
  std::vector<std::pair<PlanNode*, double>> parts;
  double sum = 0;
  for (PlanNode* child : inputs[&node]) {
    parts.emplace_back(child, analyzed ? child->total_ms : cost_of(*child, &node));
    sum += parts.back().second;
  }
  const double scale = sum > allotted ? allotted / sum : 1;
  for (auto& [child, part] : parts) account(*child, part * scale, analyzed, whole, inputs);
  const double own = std::max(0.0, allotted - sum * scale);
  if (analyzed) node.own_ms = own;
  if (analyzed) node.total_ms = allotted;
  node.share_percent = whole > 0 ? std::min(100.0, 100 * own / whole) : 0;
  node.subtree_percent = whole > 0 ? std::min(100.0, 100 * allotted / whole) : 0;
}

Plan read_plan(const object& from) {
  Plan plan;
  object root;
  if (from.at_key("Plan").get(root)) throw invalid("this is no plan: it has no field \"Plan\"");
  plan.root = read_node(root, "0");
  if (plan.root.type.empty()) throw invalid("this is no plan: its first node has no \"Node Type\"");
  plan.planning_ms = number(from, "Planning Time");
  plan.execution_ms = number(from, "Execution Time");
  element execution;
  plan.analyzed = !from.at_key("Execution Time").get(execution) && plan.root.total_ms > 0;
  object section;
  if (!from.at_key("JIT").get(section)) plan.jit = read_jit(section);
  if (!from.at_key("Settings").get(section)) {
    for (const auto field : section) {
      std::string_view value;
      if (!field.value.get(value)) plan.settings.emplace_back(field.key, value);
    }
  }
  return plan;
}

}  // namespace

std::string PlanNode::title() const {
  std::string title = type;
  if (parallel_aware) title = "Parallel " + title;
  if (type == "Aggregate" && strategy == "Hashed") title = "HashAggregate";
  if (type == "Aggregate" && strategy == "Sorted") title = "GroupAggregate";
  if (!join_type.empty() && join_type != "Inner") title += " (" + join_type + ")";
  if (!index.empty()) title += (type == "Bitmap Index Scan" ? " on " : " using ") + index;
  if (!relation.empty()) title += " on " + relation;
  if (!cte_name.empty()) title += " on " + cte_name;
  if (!alias.empty() && alias != relation && alias != cte_name) title += " " + alias;
  return title;
}

Plan parse_plan(std::string_view json) {
  const std::string readable = with_readable_numbers(json);
  simdjson::dom::parser parser;  // not json::Document, which is for requests: plans nest deeper
  object top;
  simdjson::dom::array statements;
  element first;
  if (parser.allocate(readable.size() + 1, kMaxDepth)) throw invalid("this plan is too large to be read");
  if (const auto error = parser.parse(readable).get(first))
    throw invalid(std::string("this is no plan: it is not valid JSON: ") + simdjson::error_message(error));
  if (!first.get(statements)) {
    if (statements.size() != 1) throw invalid("this is no plan: it is a list of " + std::to_string(statements.size()));
    first = statements.at(0);
  }
  if (first.get(top)) throw invalid("this is no plan: EXPLAIN (FORMAT JSON) writes a list with one object");
  Plan plan = read_plan(top);
  share_out(plan.root, 1);
  auto inputs = work_tree(plan.root);
  const double whole = plan.analyzed ? std::max(plan.execution_ms, plan.root.total_ms) : plan.root.total_cost;
  account(plan.root, plan.analyzed ? plan.root.total_ms : plan.root.total_cost, plan.analyzed, whole, inputs);
  return plan;
}

std::vector<const PlanNode*> plan_nodes(const Plan& plan) {
  std::vector<const PlanNode*> nodes;
  const std::function<void(const PlanNode&)> visit = [&](const PlanNode& node) {
    nodes.push_back(&node);
    for (const PlanNode& child : node.children) visit(child);
  };
  visit(plan.root);
  return nodes;
}

}  // namespace cairn::tuner
