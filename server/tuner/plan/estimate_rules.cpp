// Where the planner's row estimates went wrong, and which statistics would mend them.
#include <algorithm>
#include <set>

#include "db/statement.h"
#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

// Plans change their shape when an estimate is wrong by an order of magnitude; less is daily bread.
constexpr double kWrongFactor = 10;
// Of the greater of the two, over all loops: fewer rows cost nothing, however wrong.
constexpr double kRowsThatMatter = 1000;
// Autovacuum analyses after a tenth; twice that is stale.
constexpr double kStalePart = 0.2;
// Ten times the default: the values that make 0.1 % of the rows get a place of their own.
constexpr const char* kStatisticsTarget = "1000";

// Nodes that take over their input's estimate, or have none.
bool passes_on(const PlanNode& node) {
  static const std::set<std::string> kTypes = {
      "Hash",         "Sort",   "Incremental Sort", "Materialize",  "Memoize",  "Gather",
      "Gather Merge", "Limit",  "LockRows",         "BitmapAnd",    "BitmapOr", "Bitmap Index Scan",
      "ModifyTable",  "Result", "Append",           "Merge Append", "WindowAgg"};
  return kTypes.contains(node.type);
}

// Whether somebody above may stop asking before all rows have come; then fewer rows than estimated are no error.
bool may_stop_early(const RuleContext& context, const PlanNode& node) {
  for (const PlanNode *below = &node, *above = context.parent(node); above != nullptr;
       below = above, above = context.parent(*above)) {
    if (above->type == "Limit" || above->type == "Merge Join" || !below->subplan_name.empty()) return true;
    const bool inner = below->relationship == "Inner";
    if (above->type == "Nested Loop" && inner && above->join_type != "Inner" && above->join_type != "Left") return true;
    if (above->type == "Hash Join" && !inner && above->children.back().rows == 0) return true;
    if (above->type == "Sort" || above->type == "Hash") return false;
    if (above->type == "Aggregate" && above->strategy != "Sorted") return false;
  }
  return false;
}

// Actual rows for each estimated one; 1 where nothing is wrong.
double wrong_by(const RuleContext& context, const PlanNode& node) {
  if (node.loops == 0 || passes_on(node)) return 1;
  const double actual = std::max(1.0, node.rows), planned = std::max(1.0, node.rows_planned);
  if (std::max(actual, planned) * node.loops < kRowsThatMatter) return 1;
  const double factor = actual / planned;
  if (factor >= kWrongFactor) {
    const PlanNode* above = context.parent(node);  // a merge join reads rows again: they are counted again
    return above != nullptr && above->type == "Merge Join" && node.relationship == "Inner" ? 1 : factor;
  }
  return factor <= 1 / kWrongFactor && !may_stop_early(context, node) ? factor : 1;
}

bool wrong_below(const RuleContext& context, const PlanNode& node) {
  return std::any_of(node.children.begin(), node.children.end(), [&](const PlanNode& child) {
    return child.subplan_name.empty() && (wrong_by(context, child) != 1 || wrong_below(context, child));
  });
}

void scans_below(const PlanNode& node, std::vector<const PlanNode*>& scans) {
  if (node.is_scan()) scans.push_back(&node);
  for (const PlanNode& child : node.children) scans_below(child, scans);
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

Mend higher_target(const PlanNode& scan, const std::vector<std::string>& columns) {
  Mend mend;
  mend.text = "a higher statistics target for " + listed(columns) + " of " + scan.relation;
  for (const std::string& column : columns)
    mend.statements.push_back("ALTER TABLE " + qualified(scan) + " ALTER COLUMN " + db::quote_identifier(column) +
                              " SET STATISTICS " + kStatisticsTarget);
  mend.statements.push_back("ANALYZE " + qualified(scan));
  return mend;
}

// `items`: columns, quoted, or expressions in brackets.
Mend extended_statistics(const PlanNode& scan, const std::vector<std::string>& names,
                         const std::vector<std::string>& items, const std::string& kinds) {
  IndexDefinition named_alike{.table = {scan.schema, scan.relation}};
  for (const std::string& name : names) named_alike.keys.push_back({.text = name});
  const std::string name = "stx" + index_name(named_alike).substr(3);
  const std::string schema = scan.schema.empty() ? "" : db::quote_identifier(scan.schema) + ".";
  Mend mend;
  mend.text = "statistics over " + listed(names) + " of " + scan.relation + " together";
  if (items.front().front() == '(') mend.text = "statistics on the expression " + names.front();
  mend.statements = {"CREATE STATISTICS " + schema + db::quote_identifier(name) + kinds + " ON " + listed(items) +
                         " FROM " + qualified(scan),
                     "ANALYZE " + qualified(scan)};
  return mend;
}

std::vector<std::string> quoted(const std::vector<std::string>& names) {
  std::vector<std::string> all;
  for (const std::string& name : names) all.push_back(db::quote_identifier(name));
  return all;
}

bool is_stale(const TableFacts& table) {
  return !table.analyzed_at_ms || table.changed_since_analyze > std::max(1.0, table.rows) * kStalePart;
}

Mend mend_scan_estimate(const PlanNode& scan, const PlanFacts& facts, Finding& finding) {
  const std::string condition = scan.filter + " AND " + scan.index_condition + " AND " + scan.recheck_condition;
  std::vector<std::string> columns = columns_in(condition, scan.alias);
  if (const TableFacts* table = facts.table(scan); table != nullptr && is_stale(*table)) {
    finding.why = table->analyzed_at_ms ? grouped(table->changed_since_analyze) + " rows of " + scan.relation +
                                              " changed since it was analysed"
                                        : scan.relation + " was never analysed";
    return {.text = "ANALYZE; where it happens again, let autovacuum come sooner (autovacuum_analyze_scale_factor)",
            .statements = {"ANALYZE " + qualified(scan)}};
  }
  for (const std::string* text : {&scan.filter, &scan.index_condition}) {
    for (const Condition& part : read_conditions(*text, scan.alias)) {
      if (part.expression.empty() || !part.column.empty()) continue;
      finding.why = "there are no statistics for the expression " + part.expression;
      return extended_statistics(scan, {part.expression}, {"(" + part.expression + ")"}, "");
    }
  }
  if (columns.empty()) return {.text = "the condition names no column whose statistics could be better"};
  if (columns.size() == 1) {
    finding.why = "the statistics of " + columns[0] + " do not show how often the value is there";
    return higher_target(scan, columns);
  }
  finding.why = "the planner takes " + listed(columns) + " as independent of each other; they are not";
  return extended_statistics(scan, columns, quoted(columns), " (dependencies, mcv)");
}

Mend mend_group_estimate(const PlanNode& node, Finding& finding) {
  const std::string keys = listed(node.group_key);
  finding.why = "the number of groups of " + keys + " is guessed";
  std::vector<const PlanNode*> scans;
  scans_below(node, scans);
  for (const PlanNode* scan : scans) {
    const auto columns = columns_in(keys, scan->alias);
    if (columns.size() > 1) return extended_statistics(*scan, columns, quoted(columns), " (ndistinct)");
    if (columns.size() == 1) return higher_target(*scan, columns);
  }
  return {.text = "no statistics of a table tell how many groups these are"};
}

Mend mend_join_estimate(const PlanNode& node, Finding& finding) {
  finding.why = "its inputs are estimated well: how many rows match is not; statistics do not reach over two tables";
  Mend mend;
  std::vector<const PlanNode*> scans;
  scans_below(node, scans);
  std::string condition = node.join_condition + " " + node.join_filter;
  for (const PlanNode* scan : scans) condition += " " + scan->index_condition;
  std::string names;
  for (const PlanNode* scan : scans) {
    const auto columns = columns_in(condition, scan->alias);
    if (columns.empty()) continue;
    names += (names.empty() ? "" : ", ") + listed(columns) + " of " + scan->relation;
    for (std::string& statement : higher_target(*scan, columns).statements) {
      if (std::find(mend.statements.begin(), mend.statements.end(), statement) == mend.statements.end())
        mend.statements.push_back(std::move(statement));
    }
  }
  mend.text = names.empty() ? "write the join so that it compares columns" : "a higher statistics target for " + names;
  return mend;
}

}  // namespace

void wrong_estimates(RuleContext& context) {
  if (!context.plan.analyzed) return;
  for (const PlanNode* node : context.nodes) {
    const double factor = wrong_by(context, *node);
    if (factor == 1 || wrong_below(context, *node)) continue;
    Finding finding = context.about(*node, "wrong_estimate");
    // What was built upon it: the lowest join above.
    const PlanNode* join = context.parent(*node);
    while (join != nullptr && join->join_type.empty()) join = context.parent(*join);
    finding.share_percent = join == nullptr ? node->share_percent : join->subtree_percent;
    const double by = factor >= 1 ? factor : 1 / factor;
    finding.what = "gives " + grouped(node->rows) + " rows where " + grouped(node->rows_planned) +
                   " were expected: " + grouped(by) + " times too " + (factor >= 1 ? "few" : "many") +
                   "; its inputs are estimated well";
    if (node->loops > node->processes) finding.what += " (each of " + grouped(node->loops) + " times)";
    finding.numbers = {{"rows", node->rows}, {"rows_planned", node->rows_planned}, {"factor", by}};
    if (node->is_scan())
      finding.mend = mend_scan_estimate(*node, context.facts, finding);
    else if (!node->join_type.empty())
      finding.mend = mend_join_estimate(*node, finding);
    else if (!node->group_key.empty())
      finding.mend = mend_group_estimate(*node, finding);
    else if (node->type == "Function Scan")
      finding.why = "the planner takes the function's own word for its rows",
      finding.mend = {.text = "declare how many rows the function gives: ALTER FUNCTION … ROWS n"};
    else
      finding.why = "the planner has no statistics for what comes out of here",
      finding.mend = {.text = "put what this makes into a table, and ANALYZE it, where the plan suffers from it"};
    context.findings.push_back(std::move(finding));
  }
}

}  // namespace cairn::tuner
