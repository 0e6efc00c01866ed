#include "tuner/advise/statistics_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "db/transaction.h"
#include "tuner/sql/columns_used.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr double kRowsMin = 10'000;
constexpr double kShareMin = 0.01;
constexpr double kError = 10;
constexpr double kSampleRows = 30'000;
constexpr double kTogetherMin = 0.1;
constexpr double kExpressionGuess = 0.005;  // PostgreSQL's, of the rows that an unknown expression is equal to
constexpr size_t kChecksMax = 50;
constexpr int kExpressionsSince = 140000;

std::string quoted(const TableName& name) {
  return db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name);
}

std::string item_sql(const StatisticsCandidate& candidate, size_t item) {
  const std::string& text = candidate.items[item];
  return candidate.is_expression ? "(" + text + ")" : db::quote_identifier(text);
}

class Collector {
 public:
  void add(StatisticsCandidate wanted, size_t statement) {
    std::ranges::sort(wanted.items);
    const auto same = [&](const StatisticsCandidate& known) {
      return known.table == wanted.table && known.items == wanted.items && known.is_expression == wanted.is_expression;
    };
    auto known = std::ranges::find_if(candidates_, same);
    if (known == candidates_.end()) known = candidates_.insert(candidates_.end(), wanted);
    known->compared |= wanted.compared;
    known->grouped |= wanted.grouped;
    if (known->statements.empty() || known->statements.back() != statement) known->statements.push_back(statement);
  }
  void add_pairs(const Table& table, const std::set<std::string>& columns, bool compared, size_t statement) {
    for (auto first = columns.begin(); first != columns.end(); ++first)
      for (auto second = std::next(first); second != columns.end(); ++second)
        add({.table = &table, .items = {*first, *second}, .compared = compared, .grouped = !compared}, statement);
  }
  std::vector<StatisticsCandidate> take() { return std::move(candidates_); }

 private:
  std::vector<StatisticsCandidate> candidates_;
};

bool is_unique(const Table& table, const std::string& column) {
  return std::ranges::any_of(table.indexes, [&](const Index& index) {
    return index.definition.unique && index.definition.keys.size() == 1 && index.definition.keys[0].text == column;
  });
}

void collect(const TableUse& use, int version, size_t statement, Collector& collector) {
  const Table& table = *use.table;
  std::set<std::string> compared, grouped;
  for (const Predicate& predicate : use.predicates) {
    if (predicate.join || (predicate.test != Test::kEqual && predicate.test != Test::kIn)) continue;
    if (predicate.operand.is_column) {
      const Column* column = table.column(predicate.operand.sql);
      if (column != nullptr && column->ordered && !is_unique(table, column->name)) compared.insert(column->name);
    } else if (version >= kExpressionsSince && !predicate.operand.sql.empty()) {
      const bool indexed = std::ranges::any_of(table.indexes, [&](const Index& index) {
        return std::ranges::any_of(index.definition.keys, &IndexKey::is_expression);
      });
      if (!indexed)
        collector.add({.table = &table, .items = {predicate.operand.sql}, .is_expression = true}, statement);
    }
  }
  for (const Expression& expression : use.grouping) {
    const Column* column = expression.is_column ? table.column(expression.sql) : nullptr;
    if (column != nullptr && column->ordered && !is_unique(table, column->name)) grouped.insert(column->name);
  }
  collector.add_pairs(table, compared, true, statement);
  collector.add_pairs(table, grouped, false, statement);
}

// Before PostgreSQL 14 there is no stxexprs.
constexpr Statement kKnown{
    "tune_statistics_known",
    "/* cairn tune */ SELECT EXISTS (SELECT FROM pg_statistic_ext e WHERE stxrelid = $1::oid AND CASE WHEN $3 THEN "
    "to_jsonb(e) ->> 'stxexprs' IS NOT NULL ELSE stxkeys::int2[] @> (SELECT array_agg(attnum) FROM pg_attribute "
    "WHERE attrelid = $1::oid AND attname = ANY ($2)) END)"};
constexpr Statement kPatience{"", "/* cairn tune */ SET LOCAL statement_timeout = '5s'"};
constexpr Statement kLockPatience{"", "/* cairn tune */ SET LOCAL lock_timeout = '1s'"};

std::string sample_query(const StatisticsCandidate& candidate) {
  const double percent = std::min(100.0, 100 * kSampleRows / std::max(1.0, candidate.table->rows));
  const std::string first = item_sql(candidate, 0);
  const std::string second = candidate.is_expression ? "1" : item_sql(candidate, 1);
  return fmt::format(
      "/* cairn tune */ WITH s AS MATERIALIZED (SELECT {} AS a, {} AS b FROM {} TABLESAMPLE SYSTEM ({:.4f}) LIMIT "
      "{:.0f}), "
      "n(k) AS (SELECT greatest(count(*), 1)::float8 FROM s), "
      "ca AS (SELECT a, count(*)::float8 AS k FROM s WHERE a IS NOT NULL GROUP BY a), "
      "cb AS (SELECT b, count(*)::float8 AS k FROM s WHERE b IS NOT NULL GROUP BY b), "
      "cab AS (SELECT a, b, count(*)::float8 AS k FROM s WHERE a IS NOT NULL AND b IS NOT NULL GROUP BY a, b) "
      "SELECT max(n.k), coalesce(sum(cab.k) FILTER (WHERE cab.k >= 5) / max(n.k), 0)::float8, "
      "coalesce(sum(cab.k * cab.k * n.k / (ca.k * cb.k)) FILTER (WHERE cab.k >= 5) / sum(cab.k) FILTER (WHERE cab.k >= "
      "5), 0)::float8, count(cab.k)::float8, ((SELECT count(*) FROM ca) * (SELECT count(*) FROM cb))::float8, "
      "coalesce((SELECT sum(k * k) FROM ca) / (max(n.k) * max(n.k)), 0)::float8 "
      "FROM n LEFT JOIN (cab JOIN ca USING (a) JOIN cb USING (b)) ON true",
      first, second, quoted(candidate.table->name), percent, kSampleRows);
}

// Nothing where there are such statistics already.
task<std::optional<StatisticsSample>> sampled(db::Transaction& transaction, const StatisticsCandidate& candidate) {
  Params params = Params::of(candidate.table->oid, candidate.items, candidate.is_expression);
  const Rows known = co_await transaction.query(kKnown, std::move(params));
  if (known.boolean(0, 0)) co_return std::nullopt;
  co_await transaction.query(kPatience);
  co_await transaction.query(kLockPatience);
  const std::string text = sample_query(candidate);
  const Statement query{"", text};
  const Rows rows = co_await transaction.query(query);
  co_return StatisticsSample{.rows = rows.number(0, 0),
                             .together = rows.number(0, 1),
                             .factor = rows.number(0, 2),
                             .combinations = rows.number(0, 3),
                             .product = rows.number(0, 4),
                             .frequency = rows.number(0, 5)};
}

}  // namespace

std::vector<StatisticsCandidate> statistics_candidates(const Catalog& catalog, const Advice& advice) {
  Collector collector;
  for (size_t i = 0; i < advice.statements.size(); ++i) {
    if (advice.statements[i].ms_before < kShareMin * advice.ms_before) continue;
    for (const TableUse& use : columns_used(catalog, advice.statements[i].text).tables)
      if (use.table->readable && use.table->rows >= kRowsMin) collect(use, catalog.version, i, collector);
  }
  return collector.take();
}

std::optional<Change> statistics_change(const StatisticsCandidate& candidate, const StatisticsSample& sample) {
  const TableName& table = candidate.table->name;
  std::vector<std::string> kinds;
  std::string reason;
  if (candidate.is_expression) {
    const double ratio = std::max(sample.frequency, 1e-9) / kExpressionGuess;
    if (sample.rows < 1 || (ratio < kError && ratio > 1 / kError)) return std::nullopt;
    reason = fmt::format("a value of {} is in {:.2g} % of a sample's {:.0f} rows; the planner takes 0.5 % for granted",
                         candidate.items[0], 100 * sample.frequency, sample.rows);
  } else {
    if (candidate.compared && sample.together >= kTogetherMin && sample.factor >= kError) {
      kinds = {"dependencies", "mcv"};
      reason = fmt::format(
          "values of {} and {} come together {:.0f} times as often as the planner would think, in a sample of {:.0f} "
          "rows",
          candidate.items[0], candidate.items[1], sample.factor, sample.rows);
    }
    if (candidate.grouped && sample.combinations > 0 && sample.product >= kError * sample.combinations &&
        sample.rows >= kError * sample.combinations) {
      kinds.emplace_back("ndistinct");
      reason += fmt::format("{}there are {:.0f} groups by {} and {}, where the planner would think of {:.0f}",
                            reason.empty() ? "" : "; ", sample.combinations, candidate.items[0], candidate.items[1],
                            sample.product);
    }
    if (kinds.empty()) return std::nullopt;
  }
  IndexDefinition named{.table = table};
  std::string kind_list, items;
  for (const std::string& kind : kinds) kind_list += (kind_list.empty() ? " (" : ", ") + kind;
  if (!kind_list.empty()) kind_list += ")";
  for (size_t i = 0; i < candidate.items.size(); ++i) {
    named.keys.push_back({.text = candidate.items[i], .is_expression = candidate.is_expression});
    items += (i == 0 ? "" : ", ") + item_sql(candidate, i);
  }
  Change change{.kind = ChangeKind::kStatistics, .table = table, .name = "st" + index_name(named).substr(3)};
  const std::string name = quoted({table.schema, change.name});
  change.statements = {"CREATE STATISTICS " + name + kind_list + " ON " + items + " FROM " + quoted(table),
                       "ANALYZE " + quoted(table)};
  change.inverse = {"DROP STATISTICS IF EXISTS " + name};
  std::string numbers;
  for (const size_t statement : candidate.statements)
    numbers += (numbers.empty() ? "" : ", ") + std::to_string(statement + 1);
  change.reason = reason + "; for statement " + numbers;
  return change;
}

task<> add_statistics(db::Pool& pool, const Catalog& catalog, Advice& advice) {
  size_t checks = 0, refused = 0;
  for (const StatisticsCandidate& candidate : statistics_candidates(catalog, advice)) {
    if (++checks > kChecksMax) break;
    std::optional<StatisticsSample> sample;
    try {
      auto body = [&](db::Transaction& transaction) -> task<std::optional<StatisticsSample>> {
        co_return co_await sampled(transaction, candidate);
      };
      sample = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
    } catch (const db::DbError& error) {
      if (error.is_unavailable()) throw;
      ++refused;
    }
    auto change = sample ? statistics_change(candidate, *sample) : std::nullopt;
    if (change) advice.changes.push_back(std::move(*change));
  }
  if (refused > 0)
    advice.notes.push_back(fmt::format(
        "Whether {} pairs of columns or expressions need statistics could not be seen: no sample could be read",
        refused));
}

}  // namespace cairn::tuner
