// Rules about work that is done again and again, or for nothing.
#include <algorithm>

#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

// A scan of a table that is begun this often …
constexpr double kManyScans = 100;
// … and looks at this many rows in all takes tens of milliseconds.
constexpr double kManyRows = 100000;
// Look-ups in an index are cheap: only very many of them, in a good part of the time, and against the planner's own
// expectation by an order of magnitude.
constexpr double kManyLookups = 1000;
constexpr double kLookupsPercent = 30;
constexpr double kUnexpectedFactor = 10;
// A join that keeps a hundredth of a table's rows would rather have looked them up.
constexpr double kWholeTableRows = 10000;
constexpr double kLookedUpPart = 0.01;
constexpr double kManySubplans = 1000;
constexpr double kSubplansPercent = 10;
// A join that has this many times the rows of its largest table makes most of them in vain for a count(DISTINCT …).
constexpr double kMultipliedFactor = 5;
// Rows that an OFFSET throws away: as many pages of a list as nobody turns by hand.
constexpr double kSkippedRows = 1000;
constexpr double kSkippedFactor = 10;

// The scan that a join's side is, if nothing but such nodes is between them.
const PlanNode* scan_of(const PlanNode& side) {
  const PlanNode* node = &side;
  while (!node->is_scan()) {
    const bool passes = node->type == "Hash" || node->type == "Sort" || node->type == "Materialize" ||
                        node->type == "Memoize" || node->type == "Gather" || node->type == "Gather Merge";
    if (!passes || node->children.size() != 1) return nullptr;
    node = &node->children.front();
  }
  return node;
}

Mend mend_lookup(const PlanNode& scan, const std::string& condition, const PlanFacts& facts) {
  const IndexDefinition index = index_for(scan, read_conditions(condition, scan.alias), facts);
  if (index.keys.empty()) return {.text = "join by equal columns: no index serves " + condition};
  if (const IndexFacts* existing = existing_index(index, facts.table(scan)))
    return {.text = "the index " + existing->name +
                    " was not chosen: mend the estimates first, then look at random_page_cost"};
  return mend_with_index(index);
}

double largest_scan(const PlanNode& node) {
  double rows = node.is_scan() ? node.rows_total() : 0;
  for (const PlanNode& child : node.children) rows = std::max(rows, largest_scan(child));
  return rows;
}

bool unexpectedly_often(const PlanNode& outer) {
  return std::max(1.0, outer.rows) >= std::max(1.0, outer.rows_planned) * kUnexpectedFactor;
}

}  // namespace

void nested_loop(RuleContext& context, const PlanNode& node) {
  if (node.type != "Nested Loop" || node.children.size() < 2) return;
  const PlanNode &outer = node.children[0], &inner = node.children[1];
  const PlanNode* scan = scan_of(inner);
  if (scan == nullptr || inner.loops < kManyScans) return;
  const double looked_at = inner.rows_total() + inner.removed_total();
  const bool whole_table = scan->type == "Seq Scan";
  if (whole_table ? looked_at < kManyRows
                  : inner.loops < kManyLookups || inner.subtree_percent < kLookupsPercent || !unexpectedly_often(outer))
    return;
  Finding finding = context.about(node, "nested_loop");
  finding.share_percent = std::min(100.0, node.share_percent + inner.subtree_percent);
  finding.what = (whole_table ? "goes through " : "looks into ") + scan->relation + " " + grouped(inner.loops) +
                 " times" + (whole_table ? ", " + grouped(looked_at) + " rows in all" : ", by " + scan->index);
  finding.numbers = {
      {"inner_loops", inner.loops}, {"rows_looked_at", looked_at}, {"outer_rows_planned", outer.rows_planned}};
  if (unexpectedly_often(outer))
    finding.why =
        "its outer side was expected to have " + grouped(outer.rows_planned) + " rows and has " + grouped(outer.rows);
  else
    finding.why = whole_table ? "there is no index to look its rows up by" : "";
  if (whole_table) {
    finding.mend = mend_lookup(*scan, node.join_filter.empty() ? scan->filter : node.join_filter, context.facts);
  } else {
    finding.mend = {
        .text = "mend the estimate of the outer side (see wrong_estimate): a hash join would read the table once"};
  }
  context.findings.push_back(std::move(finding));
}

void whole_table_join(RuleContext& context, const PlanNode& node) {
  if ((node.type != "Hash Join" && node.type != "Merge Join") || node.children.size() < 2) return;
  for (const size_t side : {0u, 1u}) {
    const PlanNode* scan = scan_of(node.children[side]);
    const PlanNode& other = node.children[1 - side];
    if (scan == nullptr || scan->type != "Seq Scan" || !scan->filter.empty()) continue;
    if (node.join_type != "Inner" && !(node.join_type == "Left" && side == 1)) continue;
    const double few = scan->rows_total() * kLookedUpPart;
    if (scan->rows_total() < kWholeTableRows || node.rows_total() > few || other.rows_total() > few) continue;
    const Mend mend = mend_lookup(*scan, node.join_condition, context.facts);
    if (!mend.index) continue;  // it could have been looked up: the planner thought otherwise, see the estimates
    Finding finding = context.about(*scan, "whole_table_join");
    finding.share_percent = scan == &node.children[side] ? scan->share_percent : node.children[side].subtree_percent;
    finding.what = "reads all " + grouped(scan->rows_total()) + " rows of " + scan->relation + " for a join that has " +
                   grouped(node.rows_total());
    finding.why = "there is no index to look up " + node.join_condition + " by";
    finding.numbers = {{"rows_read", scan->rows_total()}, {"rows_joined", node.rows_total()}};
    finding.mend = mend;
    context.findings.push_back(std::move(finding));
  }
}

void multiplied_rows(RuleContext& context, const PlanNode& node) {
  if (node.type != "Aggregate" || node.children.empty() || !context.plan.analyzed) return;
  const auto distinct = [](const std::string& output) { return output.find("(DISTINCT ") != output.npos; };
  if (std::none_of(node.output.begin(), node.output.end(), distinct)) return;
  const double rows = node.children.front().rows_total(), largest = largest_scan(node);
  if (rows < kManyRows || rows < largest * kMultipliedFactor) return;
  Finding finding = context.about(node, "multiplied_rows");
  finding.share_percent = node.subtree_percent;
  finding.what = "the joins make " + grouped(rows) + " rows of tables with " + grouped(largest) +
                 " at most, for DISTINCT to take them out again";
  finding.why = "several tables that are each joined to the same row multiply each other";
  finding.numbers = {{"rows", rows}, {"largest_table_rows", largest}, {"groups", node.rows_total()}};
  finding.mend = {.text =
                      "count each table by itself, in a subquery with its own GROUP BY (or LATERAL), and join the "
                      "counts; where the figures may be minutes old, a materialised view"};
  context.findings.push_back(std::move(finding));
}

void subplan_per_row(RuleContext& context, const PlanNode& node) {
  if (node.relationship != "SubPlan" || node.loops < kManySubplans || node.subtree_percent < kSubplansPercent) return;
  const PlanNode* above = context.parent(node);
  const bool not_in = above != nullptr && above->filter.find("(NOT (" + node.subplan_name) != std::string::npos;
  Finding finding = context.about(node, "subplan_per_row");
  finding.share_percent = node.subtree_percent;
  finding.what = "runs " + node.subplan_name + " " + grouped(node.loops) + " times, once for each row";
  finding.numbers = {{"loops", node.loops}, {"total_ms", node.total_ms}};
  if (not_in) {
    finding.why = "the list of a NOT IN was too long to be hashed in work_mem";
    finding.mend = {.text =
                        "write NOT EXISTS, which becomes a join (the same rows only where neither side can be NULL)"};
  } else {
    finding.why = "a subquery that uses columns of the outer row cannot be done once";
    finding.mend = {.text = "write it as a join, or as LEFT JOIN LATERAL with an index for its conditions"};
  }
  context.findings.push_back(std::move(finding));
}

void large_offset(RuleContext& context, const PlanNode& node) {
  if (node.type != "Limit" || node.children.empty() || !context.plan.analyzed) return;
  const PlanNode& input = node.children.front();
  const double skipped = input.rows_total() - node.rows_total();
  if (skipped < kSkippedRows || skipped < node.rows_total() * kSkippedFactor) return;
  const PlanNode* sorted = &input;
  while (sorted->sort_key.empty() && sorted->children.size() == 1) sorted = &sorted->children.front();
  std::string keys;
  for (const std::string& key : sorted->sort_key) keys += (keys.empty() ? "" : ", ") + key;
  Finding finding = context.about(node, "large_offset");
  finding.share_percent = node.subtree_percent * skipped / input.rows_total();
  finding.what = "reads " + grouped(input.rows_total()) + " rows to return " + grouped(node.rows_total()) +
                 ": OFFSET throws " + grouped(skipped) + " away";
  finding.why = "OFFSET has no way to skip rows but to make them";
  finding.numbers = {{"rows_skipped", skipped}, {"rows_out", node.rows_total()}};
  finding.mend = {.text = "keyset paging: go on after the last row that was seen, WHERE (" +
                          (keys.empty() ? std::string("the sort key") : keys) +
                          ", a unique column) is beyond it; the caller must pass that row on"};
  context.findings.push_back(std::move(finding));
}

}  // namespace cairn::tuner
