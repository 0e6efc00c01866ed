// Rules about scans: rows that are read and thrown away.
#include <algorithm>

#include "db/statement.h"
#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

// Below this many rows a sequential scan takes about a millisecond: an index would save nothing that anybody feels.
constexpr double kLargeTableRows = 10000;
// An index scan reads pages at random; from about a tenth of the rows on, reading all in order is as fast.
constexpr double kFewRowsOut = 0.1;
// An index scan that keeps a fifth of what it finds is as good as one index gets without another column.
constexpr double kMostThrownAway = 0.8;
constexpr double kThrownAwayRows = 1000;
// Each is a visit to a heap page that the visibility map would have saved.
constexpr double kHeapFetches = 1000;
constexpr double kHeapFetchesPerRow = 0.1;
// A lossy page is checked row by row: at a tenth of the pages it begins to show.
constexpr double kLossyPart = 0.1;
constexpr int64_t kLossyBlocks = 100;
// What tbm_calculate_entries of PostgreSQL counts for one page in a bitmap.
constexpr double kBitmapPageBytes = 64;

// How many rows a scan looked at, and how many it gave, over all loops and processes.
struct ScannedRows {
  double read = 0;
  double out = 0;
  double removed_percent() const { return read > 0 ? 100 * (read - out) / read : 0; }
};

ScannedRows scanned(const RuleContext& context, const PlanNode& node) {
  if (context.plan.analyzed) return {node.rows_total() + node.removed_total(), node.rows_total()};
  const TableFacts* table = context.facts.table(node);
  const double out = node.rows_planned * (node.parallel_aware ? node.processes : 1);
  return {table == nullptr ? 0 : std::max(table->rows, out), out};
}

bool depends_on_time_zone(const std::string& expression) {
  for (const char* name : {"date(", "date_trunc(", "date_part(", "EXTRACT(", "to_char(", "::date", "::timestamp"}) {
    if (expression.find(name) != expression.npos) return true;
  }
  return false;
}

// The first condition whose column is hidden in a function or a cast, when no other condition has a bare one.
const Condition* hidden_column(const std::vector<Condition>& conditions, const TableFacts* table) {
  const Condition* hidden = nullptr;
  for (const Condition& condition : conditions) {
    const bool comparable = condition.kind == ConditionKind::kEquality || condition.kind == ConditionKind::kRange ||
                            condition.kind == ConditionKind::kPattern;
    if (!comparable) continue;
    if (!condition.column.empty() && !cast_hides_column(condition, table)) return nullptr;
    if (hidden == nullptr && !condition.expression.empty()) hidden = &condition;
  }
  return hidden;
}

Mend mend_hidden(const PlanNode& node, const Condition& hidden, const PlanFacts& facts) {
  const std::string column = hidden.columns.empty() ? hidden.expression : hidden.columns.front();
  if (depends_on_time_zone(hidden.expression)) {
    IndexDefinition index;
    index.table = {node.schema, node.relation};
    index.keys = {{.text = column}};
    Mend mend = mend_with_index(index);
    if (const IndexFacts* existing = existing_index(index, facts.table(node)))
      mend = {.text = "the index " + existing->name + " will do once the statement allows it"};
    mend.text = "compare the column itself with a range, " + column + " >= … AND " + column + " < …; " + mend.text;
    return mend;
  }
  if (!hidden.cast.empty())
    return {.text = "compare " + column + " with a value of its own type, so that an index on it can serve"};
  Mend mend = mend_with_index(index_for(node, {hidden}, facts));
  mend.text = "an index on the expression (its functions must be IMMUTABLE): " + hidden.expression;
  return mend;
}

// An index for each alternative of an OR, joined by a BitmapOr.
Mend mend_alternatives(const PlanNode& node, const Condition& either, const PlanFacts& facts) {
  Mend mend;
  for (const Condition& alternative : either.alternatives) {
    const IndexDefinition index = index_for(node, {alternative}, facts);
    if (index.keys.empty()) return {.text = "one side of the OR has no column that an index could serve: split it off"};
    if (existing_index(index, facts.table(node)) != nullptr) continue;
    mend.text += (mend.text.empty() ? "an index for each side of the OR: on (" : ", on (") + index.keys[0].text + ")";
    mend.statements.push_back(create_statement(index, index_name(index), true));
  }
  if (mend.statements.empty()) mend.text = "each side of the OR has an index: write it as a UNION of two SELECTs";
  return mend;
}

Mend mend_scan(const PlanNode& node, const std::vector<Condition>& conditions, const PlanFacts& facts) {
  const IndexDefinition index = index_for(node, conditions, facts);
  if (!index.keys.empty()) {
    const IndexFacts* existing = existing_index(index, facts.table(node));
    if (existing == nullptr) return mend_with_index(index);
    return {.text = "the index " + existing->name +
                    " begins with these columns and was not chosen: look at the "
                    "estimated rows, random_page_cost and effective_cache_size"};
  }
  for (const Condition& condition : conditions) {
    if (condition.kind == ConditionKind::kOr) return mend_alternatives(node, condition, facts);
    if (condition.kind == ConditionKind::kPattern && !condition.column.empty())
      return {.text = "a pattern without a fixed beginning wants trigrams (extension pg_trgm)",
              .statements = {"CREATE INDEX CONCURRENTLY ON " + qualified(node) + " USING gin (" +
                             db::quote_identifier(condition.column) + " gin_trgm_ops)"}};
    if (condition.kind == ConditionKind::kTest)
      return {.text = "a partial index with WHERE " + without_alias(condition.text, node.alias) +
                      ", on the columns that the statement joins or sorts by"};
  }
  return {.text = "no index fits this condition as it is written: compare a column with a value"};
}

}  // namespace

void sequential_scan(RuleContext& context, const PlanNode& node) {
  if (node.type != "Seq Scan" || node.filter.empty()) return;
  const ScannedRows rows = scanned(context, node);
  if (rows.read < kLargeTableRows || rows.out > rows.read * kFewRowsOut) return;
  const auto conditions = read_conditions(node.filter, node.alias);
  const TableFacts* table = context.facts.table(node);
  const Condition* hidden = hidden_column(conditions, table);
  Finding finding = context.about(node, hidden == nullptr ? "sequential_scan" : "function_on_column");
  finding.what = "reads " + grouped(rows.read) + " rows of " + node.relation + " to keep " + grouped(rows.out);
  const std::string filter = without_alias(node.filter, node.alias);
  if (hidden != nullptr) {
    finding.why = "the filter compares " + hidden->expression + ", not the column: an index on the column cannot serve";
    finding.mend = mend_hidden(node, *hidden, context.facts);
  } else {
    finding.why = "no index was used for the filter " + filter;
    finding.mend = mend_scan(node, conditions, context.facts);
  }
  finding.numbers = {{"rows_read", rows.read}, {"rows_out", rows.out}, {"removed_percent", rows.removed_percent()}};
  if (context.plan.analyzed) finding.numbers.emplace_back("own_ms", node.own_ms);
  context.findings.push_back(std::move(finding));
}

void filter_after_index(RuleContext& context, const PlanNode& node) {
  const bool bitmap = node.type == "Bitmap Heap Scan";
  if (!bitmap && node.type != "Index Scan" && node.type != "Index Only Scan") return;
  if (node.filter.empty() || !context.plan.analyzed) return;
  const ScannedRows rows = scanned(context, node);
  if (rows.read - rows.out < kThrownAwayRows || rows.read - rows.out < rows.read * kMostThrownAway) return;
  const std::string& found_by = bitmap ? node.recheck_condition : node.index_condition;
  auto conditions = read_conditions(found_by, node.alias);
  for (Condition& condition : read_conditions(node.filter, node.alias)) conditions.push_back(std::move(condition));
  Finding finding = context.about(node, "filter_after_index");
  if (bitmap) finding.share_percent = node.subtree_percent;
  finding.what = "finds " + grouped(rows.read) + " rows by the index and throws " + grouped(rows.read - rows.out) +
                 " of them away";
  finding.why = "the index does not hold " + without_alias(node.filter, node.alias);
  finding.numbers = {{"rows_read", rows.read}, {"rows_out", rows.out}, {"removed_percent", rows.removed_percent()}};
  finding.mend = mend_scan(node, conditions, context.facts);
  context.findings.push_back(std::move(finding));
}

void heap_fetches(RuleContext& context, const PlanNode& node) {
  if (node.type != "Index Only Scan") return;
  const double fetches = static_cast<double>(node.heap_fetches);
  const double read = node.rows_total() + node.removed_total();
  if (fetches < kHeapFetches || fetches < read * kHeapFetchesPerRow) return;
  Finding finding = context.about(node, "heap_fetches");
  finding.what =
      "an index-only scan that went to the table " + grouped(fetches) + " times for " + grouped(read) + " rows";
  finding.why = "pages changed since the last VACUUM are not in the visibility map";
  finding.numbers = {{"heap_fetches", fetches}, {"rows_read", read}};
  finding.mend = {.text =
                      "VACUUM the table; where it happens again, let autovacuum come sooner "
                      "(autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor of the table)",
                  .statements = {"VACUUM (ANALYZE) " + qualified(node)}};
  context.findings.push_back(std::move(finding));
}

void lossy_bitmap(RuleContext& context, const PlanNode& node) {
  const int64_t pages = node.exact_heap_blocks + node.lossy_heap_blocks;
  if (node.lossy_heap_blocks < kLossyBlocks ||
      static_cast<double>(node.lossy_heap_blocks) < static_cast<double>(pages) * kLossyPart)
    return;
  const std::string needed = memory_setting(static_cast<double>(pages) * kBitmapPageBytes / 1024);
  Finding finding = context.about(node, "lossy_bitmap");
  finding.what = grouped(static_cast<double>(node.lossy_heap_blocks)) + " of " + grouped(static_cast<double>(pages)) +
                 " pages are remembered as a whole: " + grouped(node.removed_by_recheck * node.loops) +
                 " rows were checked in vain";
  finding.why = "the bitmap of single rows did not fit into work_mem (" + size_of(context.facts.work_mem_kb) + ")";
  finding.numbers = {{"lossy_heap_blocks", static_cast<double>(node.lossy_heap_blocks)},
                     {"exact_heap_blocks", static_cast<double>(node.exact_heap_blocks)},
                     {"rows_removed_by_recheck", node.removed_by_recheck * node.loops}};
  finding.mend = {.text = "work_mem of " + needed + " for this statement, or an index that finds fewer rows",
                  .statements = {"SET work_mem = '" + needed + "'"}};
  context.findings.push_back(std::move(finding));
}

void cte_scan(RuleContext& context, const PlanNode& node) {
  if (node.type != "CTE Scan" || node.filter.empty() || !context.plan.analyzed) return;
  const ScannedRows rows = scanned(context, node);
  if (rows.read < kLargeTableRows || rows.out > rows.read * kFewRowsOut) return;
  Finding finding = context.about(node, "cte_materialized");
  finding.share_percent = node.subtree_percent;
  finding.what = "the CTE " + node.cte_name + " makes " + grouped(rows.read) + " rows, of which " + grouped(rows.out) +
                 " are kept here";
  finding.why = "a CTE that is read twice, or is MATERIALIZED, is worked out in full before the filter " +
                without_alias(node.filter, node.alias);
  finding.numbers = {{"rows_read", rows.read}, {"rows_out", rows.out}};
  finding.mend = {.text = "write WITH " + node.cte_name + " AS NOT MATERIALIZED, or put the condition into the CTE"};
  context.findings.push_back(std::move(finding));
}

}  // namespace cairn::tuner
