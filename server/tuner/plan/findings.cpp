#include "tuner/plan/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "db/statement.h"
#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

void index_parents(const PlanNode& node, std::map<const PlanNode*, const PlanNode*>& parents) {
  for (const PlanNode& child : node.children) {
    parents[&child] = &node;
    index_parents(child, parents);
  }
}

// A pattern that begins with its own text: 'abc%'.
bool has_prefix(const Condition& condition) {
  return condition.operator_name == "~~" && condition.value.size() > 2 && condition.value[0] == '\'' &&
         condition.value[1] != '%' && condition.value[1] != '_';
}

void add_key(IndexDefinition& index, const Condition& condition, bool wrapped, std::string operator_class) {
  IndexKey key{.text = wrapped ? condition.expression : condition.column,
               .is_expression = wrapped,
               .operator_class = std::move(operator_class)};
  const auto same = [&](const IndexKey& other) { return other.text == key.text; };
  if (!key.text.empty() && std::none_of(index.keys.begin(), index.keys.end(), same))
    index.keys.push_back(std::move(key));
}

}  // namespace

const TableFacts* PlanFacts::table(const PlanNode& node) const {
  const auto found = tables.find({node.schema, node.relation});
  return found == tables.end() ? nullptr : &found->second;
}

const PlanNode* RuleContext::parent(const PlanNode& node) const {
  const auto found = parents.find(&node);
  return found == parents.end() ? nullptr : found->second;
}

Finding RuleContext::about(const PlanNode& node, const char* kind) const {
  Finding finding;
  finding.kind = kind;
  finding.path = node.path;
  finding.node = node.title();
  finding.share_percent = node.share_percent;
  return finding;
}

std::string grouped(double number) {
  std::string digits = fmt::format("{:.0f}", std::max(0.0, number));
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string duration(double ms) {
  if (ms >= 1000) return fmt::format("{:.2f} s", ms / 1000);
  return fmt::format("{:.{}f} ms", ms, ms >= 100 ? 0 : ms >= 10 ? 1 : 3);
}

std::string size_of(int64_t kib) {
  if (kib < 10 * 1024) return grouped(static_cast<double>(kib)) + " kB";
  return grouped(static_cast<double>(kib) / 1024) + " MB";
}

std::string memory_setting(double kib) { return fmt::format("{:.0f}MB", std::max(1.0, std::ceil(kib / 1024))); }

std::string qualified(const PlanNode& scan) {
  const std::string name = db::quote_identifier(scan.relation);
  return scan.schema.empty() ? name : db::quote_identifier(scan.schema) + "." + name;
}

bool cast_hides_column(const Condition& condition, const TableFacts* table) {
  if (condition.cast.empty()) return false;
  if (condition.cast != "text") return true;
  if (table == nullptr) return false;  // nearly always a varchar, which an index serves
  const auto type = table->column_types.find(condition.column);
  return type != table->column_types.end() && type->second != "varchar" && type->second != "text" &&
         type->second != "name" && type->second != "bpchar";
}

IndexDefinition index_for(const PlanNode& scan, const std::vector<Condition>& conditions, const PlanFacts& facts) {
  IndexDefinition index;
  index.table = {scan.schema, scan.relation};
  const TableFacts* table = facts.table(scan);
  const auto wrapped = [&](const Condition& c) { return c.column.empty() || cast_hides_column(c, table); };
  for (const Condition& condition : conditions) {
    if (condition.kind == ConditionKind::kEquality) add_key(index, condition, wrapped(condition), "");
  }
  for (const Condition& condition : conditions) {
    const bool prefix = condition.kind == ConditionKind::kPattern && has_prefix(condition);
    if (!prefix && condition.kind != ConditionKind::kRange) continue;
    add_key(index, condition, wrapped(condition), prefix ? "text_pattern_ops" : "");
    break;  // what follows a range in an index does not narrow the scan
  }
  for (const Condition& condition : conditions) {
    if (!index.keys.empty() || condition.kind != ConditionKind::kContains || condition.column.empty()) continue;
    index.method = "gin";
    add_key(index, condition, false, "");
  }
  for (const Condition& condition : conditions) {
    if (condition.kind != ConditionKind::kTest || index.keys.empty()) continue;
    const std::string test = "(" + without_alias(condition.text, scan.alias) + ")";
    index.predicate += (index.predicate.empty() ? "" : " AND ") + test;
  }
  return index;
}

Mend mend_with_index(const IndexDefinition& index) {
  Mend mend;
  std::string columns;
  for (const IndexKey& key : index.keys) columns += (columns.empty() ? "" : ", ") + key.text;
  mend.text = (index.method == "btree" ? "an index on (" : "a GIN index on (") + columns + ")";
  if (!index.predicate.empty()) mend.text += " where " + index.predicate;
  mend.statements = {create_statement(index, index_name(index), true)};
  mend.index = index;
  return mend;
}

const IndexFacts* existing_index(const IndexDefinition& index, const TableFacts* table) {
  if (table == nullptr || index.method != "btree") return nullptr;
  for (const IndexFacts& existing : table->indexes) {
    if (!existing.usable || existing.keys.size() < index.keys.size()) continue;
    const auto begin = existing.keys.begin(), end = begin + static_cast<ptrdiff_t>(index.keys.size());
    if (std::all_of(index.keys.begin(), index.keys.end(),
                    [&](const IndexKey& key) { return std::find(begin, end, key.text) != end; }))
      return &existing;
  }
  return nullptr;
}

std::vector<Finding> find_problems(const Plan& plan, const PlanFacts& facts) {
  std::vector<Finding> findings;
  RuleContext context{plan, facts, plan_nodes(plan), {}, findings};
  index_parents(plan.root, context.parents);
  for (const PlanNode* node : context.nodes) {
    if (plan.analyzed && node->loops == 0) continue;  // never executed
    for (const auto rule :
         {sequential_scan, filter_after_index, heap_fetches, lossy_bitmap, cte_scan, sort_on_disk, hash_in_batches,
          spilled_rows, nested_loop, whole_table_join, multiplied_rows, subplan_per_row, large_offset, missing_workers})
      rule(context, *node);
  }
  for (const auto rule : {wrong_estimates, cold_cache, jit_cost, parallel_off, planned_each_time}) rule(context);
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return a.share_percent.value_or(-1) > b.share_percent.value_or(-1);
  });
  return findings;
}

void write_json(json::Writer& writer, const Finding& finding) {
  writer.begin_object();
  writer.field("kind", finding.kind);
  writer.field("path", finding.path);
  writer.field("node", finding.node);
  writer.field("what", finding.what);
  writer.field("why", finding.why);
  writer.field("share_percent", finding.share_percent);
  writer.key("numbers");
  writer.begin_object();
  for (const auto& [name, value] : finding.numbers) writer.field(name, value);
  writer.end_object();
  writer.key("mend");
  writer.begin_object();
  writer.field("text", finding.mend.text);
  writer.key("statements");
  writer.begin_array();
  for (const std::string& statement : finding.mend.statements) writer.string(statement);
  writer.end_array();
  writer.end_object();
  writer.end_object();
}

}  // namespace cairn::tuner
