#include "tuner/advise/view_advice.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "db/pool.h"
#include "tuner/views/view_candidates.h"

namespace cairn::tuner {
namespace {

using db::Rows;
using db::Statement;

constexpr double kPageBytes = 8192;
constexpr double kRowOverhead = 28;     // header and line pointer
constexpr double kEntryOverhead = 20;   // of the unique index, with a key of middling width
constexpr double kCpuRowCost = 0.015;   // cpu_tuple_cost and an operator or two
constexpr double kCostMin = 500;        // of one call: what is cheaper need not be kept ready
constexpr double kCallMsMin = 5;        // and what was measured to be faster
constexpr double kShrinkMin = 10;       // a call must get cheaper by this factor
constexpr double kCallsMin = 20;        // where calls were counted
constexpr double kGainShareMin = 0.01;  // of the workload's time
constexpr size_t kShownText = 120;

constexpr Statement kAggregates{
    "tune_aggregates",
    "/* cairn tune */ SELECT proname::text FROM pg_proc GROUP BY proname HAVING bool_and(prokind = 'a')"};
constexpr Statement kVolatility{"tune_volatility",
                                "/* cairn tune */ SELECT proname::text, bool_or(provolatile = 'v') FROM pg_proc WHERE "
                                "provolatile <> 'i' AND prokind = 'f' GROUP BY proname"};
constexpr Statement kSecured{
    "tune_secured",
    "/* cairn tune */ SELECT n.nspname::text, c.relname::text, c.relkind = 'v' FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity OR (c.relkind = 'v' "
    "AND EXISTS (SELECT FROM pg_class WHERE relrowsecurity))"};

// Row security may be behind any view, so where there is some, no view is rested on.
task<ViewFacts> read_facts(db::Pool& pool) {
  ViewFacts facts;
  const Rows aggregates = co_await pool.query(kAggregates);
  for (int row = 0; row < aggregates.size(); ++row) facts.aggregates.insert(aggregates.text(row, 0));
  const Rows functions = co_await pool.query(kVolatility);
  for (int row = 0; row < functions.size(); ++row)
    facts.volatility[functions.text(row, 0)] = functions.boolean(row, 1) ? 'v' : 's';
  const Rows secured = co_await pool.query(kSecured);
  for (int row = 0; row < secured.size(); ++row) facts.secured.insert({secured.text(row, 0), secured.text(row, 1)});
  co_return facts;
}

// Throws DbError when PostgreSQL does not plan it.
task<ViewPlan> planned(db::Pool& pool, const std::string& query) {
  const std::string text = "/* cairn tune */ EXPLAIN (FORMAT JSON) " + query;
  const Statement explain{"", text};
  const Rows rows = co_await pool.query(explain);
  simdjson::dom::parser parser;
  const auto plan = parser.parse(rows.text(0, 0)).at(0)["Plan"].value();
  co_return ViewPlan{.rows = plan["Plan Rows"].get_double().value(),
                     .width = plan["Plan Width"].get_double().value(),
                     .cost = plan["Total Cost"].get_double().value()};
}

std::string duration(double ms) {
  return std::abs(ms) >= 1000 ? fmt::format("{:.1f} s", ms / 1000) : fmt::format("{:.3g} ms", ms);
}

struct Worth {
  double gain_ms = 0;
  double calls = 0;
  double call_ms = 0;     // of one call now, on average
  double refresh_ms = 0;  // of one refresh
  std::string numbers;    // of the statements, for people
  bool repeated = false;
};

bool is_cheap(const AdviceStatement& statement) {
  if (!statement.total_ms) return statement.cost_after < kCostMin;
  return statement.ms_after < kCallMsMin * statement.calls;
}

Worth worth_of(const ViewCandidate& view, const ViewPlan& plan, const Advice& advice) {
  Worth worth;
  double now_ms = 0;
  for (const ViewReader& reader : view.readers) {
    const AdviceStatement& statement = advice.statements[reader.statement];
    const double left = std::min(1.0, read_cost(plan) / std::max(statement.cost_after, 1e-9));
    worth.repeated |= !statement.total_ms || statement.calls >= kCallsMin;
    worth.numbers += (worth.numbers.empty() ? "" : ", ") + std::to_string(reader.statement + 1);
    if (is_cheap(statement) || left * kShrinkMin > 1) continue;
    worth.gain_ms += statement.ms_after * (1 - left);
    worth.calls += statement.calls;
    now_ms += statement.ms_after;
    const double ms_per_cost = statement.ms_after / std::max(1.0, statement.calls) / statement.cost_after;
    worth.refresh_ms = std::max(worth.refresh_ms, plan.cost * ms_per_cost);
  }
  worth.call_ms = now_ms / std::max(1.0, worth.calls);
  return worth;
}

std::string reason_of(const ViewCandidate& view, const ViewPlan& plan, const Worth& worth) {
  std::string reason = fmt::format(
      "statement {} is computed anew {:.0f} times, at {} each; the view holds its {:.0f} rows, and a refresh takes "
      "about "
      "{}: worth it where calls are more frequent than refreshes",
      worth.numbers, worth.calls, duration(worth.call_ms), plan.rows, duration(worth.refresh_ms));
  if (view.reads_clock) reason += "; now() is the moment of the refresh";
  return reason;
}

void add_readers(const ViewCandidate& view, const std::string& reason, const std::set<size_t>& fixed, Advice& advice) {
  for (const ViewReader& reader : view.readers) {
    Rewrite rewrite{.statement = reader.statement, .rule = "materialized-view", .text = reader.text, .reason = reason};
    rewrite.caveat =
        "rows are as they were at the view's last refresh (cairn tune refresh); the roles that send it need "
        "SELECT on the view";
    if (view.reads_clock) rewrite.caveat += "; now() is the moment of that refresh";
    if (fixed.contains(reader.statement))
      rewrite.caveat += "; it is for constants that were the same in every call that was logged";
    advice.rewrites.push_back(std::move(rewrite));
  }
}

task<> try_view(db::Pool& pool, const Catalog& catalog, const ViewCandidate& view, const std::set<size_t>& fixed,
                Advice& advice) {
  std::string refusal;
  ViewPlan plan;
  try {
    plan = co_await planned(pool, view.query);
  } catch (const db::DbError& error) {
    if (error.is_unavailable()) throw;
    refusal = error.what();
  }
  const std::vector<std::string> statements = create_view_statements(view, catalog.version);
  if (!refusal.empty()) {
    advice.rejected.push_back({.statement = statements[0], .reason = "PostgreSQL does not plan it: " + refusal});
    co_return;
  }
  const Worth worth = worth_of(view, plan, advice);
  const int64_t bytes = view_bytes(plan, view.keys.size());
  if (!worth.repeated || worth.gain_ms <= 0) co_return;
  if (worth.gain_ms < kGainShareMin * advice.ms_before) {
    advice.rejected.push_back({.statement = statements[0],
                               .reason = "it would take less than 1 % off the whole",
                               .bytes = bytes,
                               .gain_ms = worth.gain_ms});
    co_return;
  }
  const std::string reason = reason_of(view, plan, worth);
  add_readers(view, reason, fixed, advice);
  const Table* there = catalog.find(view.view.schema, view.view.name);
  if (there != nullptr) co_return;  // by its name it is this very view
  advice.changes.push_back({.kind = ChangeKind::kMaterializedView,
                            .table = view.table,
                            .name = view.view.name,
                            .statements = statements,
                            .inverse = {drop_view_statement(view.view)},
                            .reason = reason,
                            .bytes = bytes,
                            .gain_ms = worth.gain_ms,
                            .on_request = true});
}

}  // namespace

int64_t view_bytes(const ViewPlan& plan, size_t keys) {
  const double row = plan.width + kRowOverhead + kEntryOverhead * static_cast<double>(keys);
  return static_cast<int64_t>((std::ceil(plan.rows * row / kPageBytes) + 2) * kPageBytes);
}

double read_cost(const ViewPlan& plan) {
  return std::ceil(plan.rows * (plan.width + kRowOverhead) / kPageBytes) + plan.rows * kCpuRowCost;
}

task<> add_views(db::Pool& pool, const Catalog& catalog, Advice& advice) {
  const ViewFacts facts = co_await read_facts(pool);
  std::vector<std::string> texts;
  for (const AdviceStatement& statement : advice.statements) texts.push_back(statement.text);
  ViewCandidates candidates = propose_views(catalog, facts, texts);
  // Those that placeholders kept from having one, with the constants that never vary in the log.
  std::set<size_t> fixed;
  for (const ViewRefusal& refusal : candidates.refusals)
    if (!advice.statements[refusal.statement].fixed_text.empty()) fixed.insert(refusal.statement);
  for (const size_t statement : fixed) texts[statement] = advice.statements[statement].fixed_text;
  if (!fixed.empty()) candidates = propose_views(catalog, facts, texts);
  for (const ViewCandidate& view : candidates.views) co_await try_view(pool, catalog, view, fixed, advice);
  for (const ViewRefusal& refusal : candidates.refusals) {
    const AdviceStatement& statement = advice.statements[refusal.statement];
    if (is_cheap(statement) || statement.ms_after < kGainShareMin * advice.ms_before) continue;
    if (statement.total_ms && statement.calls < kCallsMin) continue;
    std::string text = statement.text.substr(0, kShownText);
    advice.rejected.push_back(
        {.statement = "a materialized view for: " + text, .reason = refusal.reason, .gain_ms = statement.ms_after});
  }
}

}  // namespace cairn::tuner
