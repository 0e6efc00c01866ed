#include "tuner/prove/run_statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "tuner/plan/findings.h"
#include "tuner/plan/plan.h"
#include "tuner/profile/statements.h"
#include "tuner/sql/expression.h"
#include "tuner/sql/parse_tree.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

// Volatile, but nothing is left of them.
constexpr std::string_view kHarmless[] = {"random",           "clock_timestamp",  "timeofday",
                                          "gen_random_uuid",  "uuid_generate_v1", "uuid_generate_v1mc",
                                          "uuid_generate_v4", "random_normal",    "statement_timestamp",
                                          "nextval"};
// Their results depend on the order in which rows come.
constexpr std::string_view kOrdered[] = {
    "array_agg", "string_agg", "json_agg",   "jsonb_agg", "json_object_agg", "row_number", "first_value",
    "lag",       "lead",       "last_value", "ntile",     "nth_value",       "xmlagg",     "jsonb_object_agg"};

void collect_functions(const Node& node, std::set<std::string>& names) {
  if (node.is_array()) {
    for (const Node item : items(node)) collect_functions(item, names);
  } else if (node.is_object()) {
    if (const auto call = as(node, "FuncCall"))
      if (const auto name = strings(*call, "funcname"); !name.empty()) names.insert(name.back());
    for (const auto& [key, value] : members(node)) collect_functions(value, names);
  }
}

size_t count_fields(const Node& node, std::string_view name) {
  size_t count = 0;
  if (node.is_array())
    for (const Node item : items(node)) count += count_fields(item, name);
  else if (node.is_object())
    for (const auto& [key, value] : members(node)) count += (key == name ? 1 : 0) + count_fields(value, name);
  return count;
}

std::set<std::string> functions_of(const ParseTree& tree) {
  std::set<std::string> names;
  for (const Node node : tree.statements()) collect_functions(node, names);
  return names;
}

constexpr const char* kVolatile =
    "/* cairn tune */ SELECT p.proname::text FROM pg_proc p WHERE p.proname = $1 AND p.provolatile = 'v' "
    "AND p.prokind <> 'a' LIMIT 1";

// Rolled back whatever happens.
class Transaction {
 public:
  Transaction(Session& session, const std::string& begin) : session_(session) {
    session_.execute(std::string(kOwnStatement) + " " + begin);
  }
  ~Transaction() {
    try {
      const Interrupts::Hold hold;
      session_.execute(std::string(kOwnStatement) + " ROLLBACK");
    } catch (const std::exception&) {
      // The connection is gone, and the transaction with it.
    }
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

 private:
  Session& session_;
};

constexpr const char* kReadOnly = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY";
constexpr const char* kReadWrite = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE";
constexpr const char* kOneSnapshot = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ WRITE";
constexpr std::string_view kExplain = "/* cairn tune */ EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT JSON) ";
constexpr std::string_view kExplainUntimed =
    "/* cairn tune */ EXPLAIN (ANALYZE, BUFFERS, VERBOSE, TIMING OFF, FORMAT JSON) ";

std::string begin_of(const Runnable& statement) { return statement.writes ? kReadWrite : kReadOnly; }

void set_timeout(Session& session, double seconds) {
  session.execute(fmt::format("{} SET statement_timeout = {}", kOwnStatement, std::llround(seconds * 1000)));
}

// Once, with its rows' hash. Nothing where it was stopped.
std::optional<RunResult> run_once(Session& session, const Runnable& statement, size_t set, bool hashed) {
  const Transaction transaction(session, begin_of(statement));
  try {
    return session.run(statement.sql, statement.sets[set], hashed);
  } catch (const db::DbError& error) {
    if (!error.is_statement_timeout()) throw;
    return std::nullopt;
  }
}

void read_plan(Session& session, const Runnable& statement, size_t set, Measured& measured) {
  const Transaction transaction(session, begin_of(statement));
  std::vector<Values> rows;
  try {
    rows = session.query(std::string(measured.plan.nodes.empty() ? kExplain : kExplainUntimed) + statement.sql,
                         statement.sets[set]);
  } catch (const db::DbError& error) {
    if (!error.is_statement_timeout()) throw;
    rows = session.query("/* cairn tune */ ROLLBACK");
    session.execute(std::string(kOwnStatement) + " " + begin_of(statement));
    rows = session.query("/* cairn tune */ EXPLAIN (VERBOSE, FORMAT JSON) " + statement.sql, statement.sets[set]);
  }
  const Plan plan = parse_plan(rows.at(0).at(0).value_or(""));
  if (measured.plan.nodes.empty()) measured.plan = sketch_of(plan);
  measured.blocks += plan.root.buffers.shared_hit + plan.root.buffers.shared_read;
  for (const PlanNode* node : plan_nodes(plan)) {
    measured.nodes.push_back(node->title());
    if (!node->index.empty()) measured.used.insert(node->index);
    if (node->relation.empty()) continue;
    measured.read.insert(node->relation);
    if (node->type == "ModifyTable") measured.written.insert({node->schema, node->relation});
  }
}

// The first run, whose time does not count: it fills the caches and gives the rows.
bool warm_up(Session& session, const Runnable& statement, size_t set, SetRun& run, double& ms) {
  const auto first = run_once(session, statement, set, true);
  if (!first) return false;
  run.rows = first->rows;
  if (!statement.writes) run.hash = first->hash;
  ms = first->ms;
  return true;
}

int rounds_for(double ms, size_t sets, const RunLimits& limits) {
  const double possible = limits.all_rounds_ms / static_cast<double>(std::max<size_t>(sets, 1)) / std::max(ms, 0.01);
  return std::clamp(static_cast<int>(std::min(possible, 1e6)), std::min(2, limits.rounds), limits.rounds);
}

// The statement without its LIMIT and OFFSET; `values` are made to fit.
std::optional<std::string> unlimited(const std::string& sql, Values& values) {
  const auto tree = ParseTree::parse(sql);
  if (!tree || tree->statements().size() != 1) return std::nullopt;
  const auto statement = field(tree->statements().at(0).value(), "stmt");
  const auto select = statement ? as(*statement, "SelectStmt") : std::nullopt;
  if (!select || (!field(*select, "limitCount") && !field(*select, "limitOffset"))) return std::nullopt;
  std::string text = sql;
  std::vector<std::pair<size_t, size_t>> constants;
  for (const char* clause : {"limitCount", "limitOffset"}) {
    const auto bound = field(*select, clause);
    if (!bound) continue;
    int64_t number = 0;
    if (const auto parameter = as(*bound, "ParamRef")) {
      if ((*parameter)["number"].get(number) != simdjson::SUCCESS || number < 1 ||
          static_cast<size_t>(number) > values.size())
        return std::nullopt;
      values[static_cast<size_t>(number - 1)] = std::nullopt;
    } else if (const auto constant = as(*bound, "A_Const")) {
      int64_t location = 0;
      if ((*constant)["location"].get(location) != simdjson::SUCCESS) return std::nullopt;
      const auto begin = static_cast<size_t>(location);
      size_t end = begin;
      while (end < sql.size() && sql[end] >= '0' && sql[end] <= '9') ++end;
      if (end == begin) return std::nullopt;
      constants.emplace_back(begin, end);
    } else {
      return std::nullopt;
    }
  }
  std::ranges::sort(constants, std::greater());
  for (const auto& [begin, end] : constants) text.replace(begin, end - begin, "NULL");
  return text;
}

// Beside a LIMIT of the whole, when that was looked through.
bool order_is_open(const std::string& sql, bool looked_through) {
  const auto tree = ParseTree::parse(sql);
  if (!tree) return true;
  for (const std::string& function : functions_of(*tree))
    if (std::ranges::find(kOrdered, function) != std::end(kOrdered)) return true;
  size_t limits = 0, distinct = 0;
  for (const Node node : tree->statements()) {
    limits += count_fields(node, "limitCount");
    distinct += count_fields(node, "distinctClause");
  }
  return limits > (looked_through ? 1U : 0U) || distinct > 0;
}

}  // namespace

PlanSketch sketch_of(const Plan& plan) {
  constexpr size_t kNodes = 3;
  constexpr double kLeastPercent = 1;
  std::vector<const PlanNode*> nodes = plan_nodes(plan);
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const PlanNode* a, const PlanNode* b) { return a->share_percent > b->share_percent; });
  PlanSketch sketch;
  for (const PlanNode* node : nodes) {
    if (sketch.nodes.size() == kNodes || (!sketch.nodes.empty() && node->share_percent < kLeastPercent)) break;
    sketch.nodes.push_back(fmt::format("{}: {:.0f} % of the {}, {:.0f} rows", node->title(), node->share_percent,
                                       plan.analyzed ? "time" : "cost",
                                       plan.analyzed ? node->rows_total() : node->rows_planned));
  }
  const std::vector<Finding> findings = find_problems(plan, {});
  if (!findings.empty()) sketch.problem = findings[0].node + " " + findings[0].what;
  return sketch;
}

bool writes_or_locks(const std::string& sql) {
  const StatementShape shape = statement_shape(sql);
  return shape.error || shape.writes || shape.locks_rows;
}

std::string refusal_to_run(Session& session, const std::string& sql) {
  const StatementShape shape = statement_shape(sql);
  if (shape.error) return "it cannot be parsed: " + *shape.error;
  if (shape.statements != 1) return "it is not one statement";
  constexpr std::string_view kKinds[] = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"};
  if (std::ranges::find(kKinds, shape.kind) == std::end(kKinds))
    return "only SELECT, INSERT, UPDATE, DELETE and MERGE are run";
  const auto tree = ParseTree::parse(sql);
  if (!tree) return "it nests too deep";
  if (count_fields(tree->statements().at(0).value(), "intoClause") > 0) return "it makes a table";
  for (const std::string& function : functions_of(*tree)) {
    if (std::ranges::find(kHarmless, function) != std::end(kHarmless)) continue;
    if (!session.query(kVolatile, {function}).empty())
      return "it calls " + function + "(), which is volatile: what it does may be more than a rollback takes back";
  }
  return {};
}

constexpr const char* kSettings[] = {
    // Sums of floats depend on the order of the rows in their last digits.
    "/* cairn tune */ SET extra_float_digits = -3",
    "/* cairn tune */ SET lock_timeout = '10s'",
    "/* cairn tune */ SET client_min_messages = error",
    "/* cairn tune */ SET pg_stat_statements.track = 'none'",
};

void prepare_session(Session& session, const std::vector<std::string>& settings) {
  std::vector<std::string> all = settings;
  all.insert(all.end(), std::begin(kSettings), std::end(kSettings));
  for (const std::string& setting : all) {
    try {
      session.execute(setting);
    } catch (const db::DbError&) {
      if (session.broken()) throw;  // else one that this role may not set
    }
  }
}

Measured measure(Session& session, const Runnable& statement, const RunLimits& limits) {
  Measured measured;
  measured.sets.resize(statement.sets.size());
  set_timeout(session, limits.statement_s);
  for (size_t set = 0; set < statement.sets.size(); ++set) {
    SetRun& run = measured.sets[set];
    try {
      double ms = 0;
      if (!warm_up(session, statement, set, run, ms)) {
        run.stopped = true;
        run.ms = {limits.statement_s * 1000};
        read_plan(session, statement, set, measured);
        continue;
      }
      for (int round = rounds_for(ms, statement.sets.size(), limits); round > 0; --round) {
        const auto timed = run_once(session, statement, set, false);
        run.ms.push_back(timed ? timed->ms : limits.statement_s * 1000);
      }
      read_plan(session, statement, set, measured);
    } catch (const db::DbError& error) {
      if (session.broken()) throw;
      run = {};
      if (measured.failure.empty()) measured.failure = error.what();
    }
  }
  return measured;
}

Measured measure_with(Session& session, const Runnable& statement, const std::string& change, const RunLimits& limits) {
  Measured measured;
  measured.sets.resize(statement.sets.size());
  set_timeout(session, limits.statement_s);
  for (size_t set = 0; set < statement.sets.size(); ++set) {
    SetRun& run = measured.sets[set];
    const Transaction transaction(session, kReadWrite);
    try {
      if (!change.empty()) session.execute(change);
      const RunResult first = session.run(statement.sql, statement.sets[set], true);
      run.rows = first.rows;
      for (int round = rounds_for(first.ms, statement.sets.size(), limits); round > 0; --round)
        run.ms.push_back(session.run(statement.sql, statement.sets[set], false).ms);
    } catch (const db::DbError& error) {
      if (session.broken()) throw;
      if (!error.is_statement_timeout()) measured.failure = error.what();
      run.stopped = error.is_statement_timeout();
      if (run.stopped) run.ms.push_back(limits.statement_s * 1000);
    }
  }
  return measured;
}

std::pair<Measured, Measured> measure_in_turn(Session& session, const Runnable& first, const Runnable& second,
                                              const RunLimits& limits) {
  std::pair<Measured, Measured> both;
  both.first.sets.resize(first.sets.size());
  both.second.sets.resize(second.sets.size());
  set_timeout(session, limits.statement_s);
  for (size_t set = 0; set < first.sets.size(); ++set) {
    SetRun &run = both.first.sets[set], &other = both.second.sets[set];
    try {
      double ms = 0, other_ms = 0;
      run.stopped = !warm_up(session, first, set, run, ms);
      other.stopped = !warm_up(session, second, set, other, other_ms);
      if (run.stopped) run.ms = {limits.statement_s * 1000};
      if (other.stopped) other.ms = {limits.statement_s * 1000};
      for (int round = rounds_for(ms + other_ms, first.sets.size(), limits); round > 0; --round) {
        if (const auto timed = run.stopped ? std::nullopt : run_once(session, first, set, false))
          run.ms.push_back(timed->ms);
        if (const auto timed = other.stopped ? std::nullopt : run_once(session, second, set, false))
          other.ms.push_back(timed->ms);
      }
      read_plan(session, second, set, both.second);
    } catch (const db::DbError& error) {
      if (session.broken()) throw;
      run = other = {};
      if (both.second.failure.empty()) both.second.failure = error.what();
    }
  }
  return both;
}

RowsCheck compare_rows(Session& session, const Runnable& statement, size_t set, const std::string& change,
                       const std::string& other, double statement_s) {
  const std::string& changed = other.empty() ? statement.sql : other;
  const auto differ = [&](const std::string& sql, const std::string& changed_sql, const Values& values, bool twice) {
    const Transaction transaction(session, kOneSnapshot);
    const RunResult one = session.run(sql, values, true);
    if (twice && session.run(sql, values, true).hash != one.hash) throw invalid("it gives other rows each time");
    if (!change.empty()) session.execute(change);
    const RunResult two = session.run(changed_sql, values, true);
    return one.hash != two.hash || one.rows != two.rows;
  };
  set_timeout(session, statement_s);
  try {
    const Values& values = statement.sets.at(set);
    if (!differ(statement.sql, changed, values, true)) return {.same = true, .note = {}};
    Values free = values, free_changed = values;
    const auto all = unlimited(statement.sql, free), all_changed = unlimited(changed, free_changed);
    if (all && all_changed && free == free_changed && !differ(*all, *all_changed, free, false))
      return {.same = true,
              .note = "without LIMIT the rows are the same; ORDER BY leaves open which of them come first"};
    if (order_is_open(statement.sql, all && all_changed))
      return {.same = {}, .note = "its rows depend on an order that it leaves open"};
    return {.same = false, .note = "the rows differ"};
  } catch (const db::DbError& error) {
    if (session.broken()) throw;
    return {.same = {}, .note = std::string("the rows could not be compared: ") + error.what()};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidParameterValue) throw;
    return {.same = {}, .note = error.what()};
  }
}

double recall_of(Session& session, const Runnable& statement, size_t set, const std::string& change,
                 double statement_s) {
  set_timeout(session, statement_s);
  const Transaction transaction(session, kOneSnapshot);
  std::vector<Values> found = session.query(statement.sql, statement.sets.at(set));
  session.execute(change);
  std::vector<Values> exact = session.query(statement.sql, statement.sets.at(set)), both;
  if (exact.empty()) return 1;
  std::ranges::sort(found);
  std::ranges::sort(exact);
  std::ranges::set_intersection(found, exact, std::back_inserter(both));
  return static_cast<double>(both.size()) / static_cast<double>(exact.size());
}

}  // namespace cairn::tuner
