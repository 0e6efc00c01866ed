#include "tuner/plan/explain.h"

#include <fmt/format.h>

#include <ostream>
#include <set>

#include "base/error.h"
#include "base/reactor.h"
#include "tuner/profile/logged.h"
#include "tuner/sql/parameter_types.h"
#include "tuner/sql/parse_tree.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

constexpr db::Statement kBegin{"", "BEGIN TRANSACTION READ ONLY"};
constexpr db::Statement kRollback{"", "ROLLBACK"};
constexpr db::Statement kTimeout{"", "/* cairn tune */ SELECT set_config('statement_timeout', $1, true)"};
constexpr db::Statement kPlanCacheMode{"", "/* cairn tune */ SELECT set_config('plan_cache_mode', $1, true)"};
constexpr std::string_view kExplain = "EXPLAIN (FORMAT JSON, VERBOSE, SETTINGS) ";
constexpr std::string_view kExplainAnalyze = "EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS, VERBOSE, SETTINGS) ";
constexpr std::string_view kPrepare = "PREPARE cairn_explain";
constexpr db::Statement kDeallocate{"", "DEALLOCATE cairn_explain"};
constexpr db::Statement kParameterTypes{
    "", "/* cairn tune */ SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'cairn_explain'"};
// EXECUTE takes no parameters of its own: PostgreSQL itself writes the values as literals.
constexpr db::Statement kLiterals{"",
                                  "/* cairn tune */ SELECT string_agg(quote_nullable(v), ', ' ORDER BY n) FROM "
                                  "unnest($1::text[]) WITH ORDINALITY AS u(v, n)"};

constexpr const char* kSyntaxError = "42601";

// Kinds of statements that EXPLAIN takes.
const std::set<std::string_view> kPlanned{"SelectStmt", "InsertStmt",        "UpdateStmt",        "DeleteStmt",
                                          "MergeStmt",  "CreateTableAsStmt", "DeclareCursorStmt", "ExecuteStmt"};

Error refused(const std::string& reason) { return invalid("this statement is not explained: " + reason); }

void check(const ExplainOptions& options, const StatementShape& shape) {
  if (options.statement.find_first_not_of(" \t\r\n;") == std::string::npos) throw refused("it is empty");
  if (!shape.error && shape.statements == 0) throw refused("it is empty");
  if (shape.statements > 1)
    throw refused("the text holds " + std::to_string(shape.statements) + " statements; give one at a time");
  if (shape.kind == "ExplainStmt") throw refused("give it without EXPLAIN");
  if (!shape.error && !kPlanned.contains(shape.kind))
    throw refused(
        "PostgreSQL plans SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, and what CREATE TABLE AS, CREATE MATERIALIZED "
        "VIEW, DECLARE and EXECUTE have of these; this is another kind of statement");
  if (!options.analyze) return;
  const std::string instead = "; without --analyze it is planned but not run";
  if (shape.error)
    throw refused("--analyze runs only what is surely one SELECT, and this cannot be parsed: " + *shape.error);
  if (shape.kind != "SelectStmt") throw refused("--analyze runs only SELECT, VALUES or TABLE" + instead);
  if (shape.writes) throw refused("--analyze would run a part of it that writes" + instead);
  if (shape.locks_rows) throw refused("--analyze would lock rows (FOR UPDATE or its like)" + instead);
  if (shape.parameters > 0 && options.parameters.empty())
    throw refused("--analyze needs values for $1" +
                  (shape.parameters > 1 ? " to $" + std::to_string(shape.parameters) : std::string()) +
                  ": give --parameters" + instead);
}

task<> prepare(db::Connection& connection, const ExplainOptions& options, const ParameterTypes& types,
               const std::string& statement) {
  const std::string sql = std::string(kPrepare) + types.sql() + " AS " + statement;
  std::vector<db::Query> queries;
  queries.push_back({kBegin, {}});
  queries.push_back({kTimeout, db::Params::of(std::to_string(options.timeout_s) + "s")});
  queries.push_back({{"", sql}, {}});
  co_await connection.run(std::move(queries));
}

// The text after EXECUTE: "cairn_explain('a', '2')"; NULLs where there are no values.
task<std::string> execution(db::Connection& connection, const ExplainOptions& options) {
  const db::Rows types = co_await connection.query(kParameterTypes);
  const size_t count = types.texts(0, 0).size();
  std::vector<std::optional<std::string>> values = options.parameters;
  if (values.empty()) values.resize(count);
  if (values.size() != count)
    throw invalid("the statement has " + std::to_string(count) + " parameters, --parameters gives " +
                  std::to_string(values.size()));
  db::Params params;
  params.add(values);
  const db::Rows literals = co_await connection.query(kLiterals, std::move(params));
  co_return "EXECUTE cairn_explain(" + literals.text(0, 0) + ")";
}

task<db::Rows> explain_by(db::Connection& connection, const char* plan_cache_mode, std::string_view explain,
                          const std::string& execution) {
  co_await connection.query(kPlanCacheMode, db::Params::of(plan_cache_mode));
  const std::string sql = std::string(explain) + execution;
  const db::Statement statement{"", sql};
  co_return co_await connection.query(statement);
}

// The plan as JSON; with values it is the custom plan, and `generic_cost` is told.
task<std::string> explain_prepared(db::Connection& connection, const ExplainOptions& options,
                                   std::optional<double>& generic_cost) {
  ParameterTypes types;
  std::string statement = options.statement;
  for (bool anew = false;;) {
    std::optional<db::DbError> refusal;
    try {
      co_await prepare(connection, options, types, statement);
      break;
    } catch (const db::DbError& error) {
      refusal = error;
    }
    if (!types.learn(*refusal)) {
      const bool unreadable = refusal->sqlstate() == kSyntaxError && !anew;
      const auto readable = unreadable ? readable_statement(statement) : std::nullopt;
      if (!readable) throw *refusal;
      statement = *readable;
      anew = true;
    }
    co_await connection.query(kRollback);
  }
  const std::string execute = co_await execution(connection, options);
  // First, so that the custom plan is made by a session that knows the catalog, as those of a program are.
  const db::Rows generic = co_await explain_by(connection, "force_generic_plan", kExplain, execute);
  if (options.parameters.empty()) co_return generic.text(0, 0);
  generic_cost = parse_plan(generic.text(0, 0)).root.total_cost;
  const std::string_view explain = options.analyze ? kExplainAnalyze : kExplain;
  const db::Rows custom = co_await explain_by(connection, "force_custom_plan", explain, execute);
  co_return custom.text(0, 0);
}

task<std::string> explain_plain(db::Connection& connection, const ExplainOptions& options) {
  const std::string sql = std::string(options.analyze ? kExplainAnalyze : kExplain) + options.statement;
  std::vector<db::Query> queries;
  queries.push_back({kBegin, {}});
  queries.push_back({kTimeout, db::Params::of(std::to_string(options.timeout_s) + "s")});
  queries.push_back({{"", sql}, {}});
  const std::vector<db::Rows> results = co_await connection.run(std::move(queries));
  co_return results.back().text(0, 0);
}

// Ends the transaction whatever has happened in it, and forgets the prepared statement.
task<> clean_up(db::Connection& connection, bool prepared) {
  if (connection.broken()) co_return;
  if (connection.in_transaction()) co_await connection.query(kRollback);
  if (!prepared) co_return;
  try {
    co_await connection.query(kDeallocate);
  } catch (const db::DbError&) {
    // It was never prepared.
  }
}

}  // namespace

task<Explained> explain(db::Connection& connection, ExplainOptions options) {
  const StatementShape shape = statement_shape(options.statement);
  check(options, shape);
  const bool prepared = shape.parameters > 0 || !options.parameters.empty();
  Explained explained;
  explained.generic = prepared && options.parameters.empty();
  std::optional<double> generic_cost;
  std::exception_ptr failure;
  try {
    if (prepared)
      explained.plan_json = co_await explain_prepared(connection, options, generic_cost);
    else
      explained.plan_json = co_await explain_plain(connection, options);
  } catch (const db::DbError& error) {
    failure = std::current_exception();
    if (error.is_statement_timeout())
      failure = std::make_exception_ptr(Error(ErrorCode::kTemporarilyUnavailable,
                                              "the statement ran longer than " + std::to_string(options.timeout_s) +
                                                  " s and was stopped; give --timeout-s, or leave --analyze out"));
    if (error.sqlstate() == "25006")
      failure = std::make_exception_ptr(
          refused("it writes, and --analyze runs in a read-only transaction (" + std::string(error.what()) + ")"));
    if (error.sqlstate().starts_with("42"))
      failure = std::make_exception_ptr(invalid(error.what()));  // the statement's own mistake, or a missing privilege
    if (error.sqlstate() == "42501")
      failure = std::make_exception_ptr(Error(ErrorCode::kPermissionDenied, error.what()));
  } catch (...) {
    failure = std::current_exception();
  }
  co_await clean_up(connection, prepared);
  if (failure) std::rethrow_exception(failure);

  explained.plan = parse_plan(explained.plan_json);
  explained.facts = co_await read_facts(connection, explained.plan, explained.notes);
  explained.facts.generic_cost = generic_cost;
  explained.findings = find_problems(explained.plan, explained.facts);
  if (explained.generic)
    explained.notes.emplace_back(
        "planned without values for its parameters (generic plan): partial indexes and LIKE prefixes are not used, "
        "estimates are averages; --parameters gives values");
  if (!explained.plan.analyzed)
    explained.notes.emplace_back(
        "not run: rows, times and spills are unknown, shares are of the estimated cost; --analyze runs it");
  co_return explained;
}

constexpr db::Statement kSchemas{"", R"(/* cairn tune */
SELECT r.name, n.nspname::text FROM unnest($1::text[]) r (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(r.name)) JOIN pg_namespace n ON n.oid = c.relnamespace)"};

// Without auto_explain.log_verbose a plan does not say of which schema its tables are: taken for those that this role's
// search_path finds.
task<> find_schemas(db::Connection& connection, PlanNode& root) {
  std::vector<PlanNode*> scans, left{&root};
  std::vector<std::string> names;
  while (!left.empty()) {
    PlanNode* const node = left.back();
    left.pop_back();
    for (PlanNode& child : node->children) left.push_back(&child);
    if (node->relation.empty() || !node->schema.empty()) continue;
    scans.push_back(node);
    names.push_back(node->relation);
  }
  db::Params params = db::Params::of(names);
  const db::Rows rows = co_await connection.query(kSchemas, std::move(params));
  for (int i = 0; i < rows.size(); ++i)
    for (PlanNode* const node : scans)
      if (node->relation == rows.text(i, 0)) node->schema = rows.text(i, 1);
}

// Its own connection: the log is read through a pool.
task<Explained> explain_logged(db::Pool& pool, db::Connection& connection, const ExplainOptions& options) {
  const Logged logged = co_await read_logged(pool, options.log);
  const LoggedStatement* found = logged.find(options.statement);
  if (found == nullptr) found = logged.find(fingerprint(options.statement).value_or(""));
  if (found == nullptr || found->plan.empty())
    throw not_found("the server's log has no plan of this statement" + (logged.note.empty() ? "" : ": " + logged.note) +
                    "; auto_explain writes them (auto_explain.log_min_duration, log_format = json)");
  Explained explained;
  explained.logged_ms = found->plan_ms;
  if (!found->plan.starts_with("{")) {
    explained.text_plan = found->plan;
    explained.notes.emplace_back("a plan in text is shown, not read: auto_explain.log_format = json has it read");
    co_return explained;
  }
  // auto_explain names the time beside the plan.
  explained.plan_json = fmt::format("{{\"Execution Time\": {}, {}", found->plan_ms, found->plan.substr(1));
  explained.plan = parse_plan(explained.plan_json);
  co_await find_schemas(connection, explained.plan.root);
  explained.facts = co_await read_facts(connection, explained.plan, explained.notes);
  explained.findings = find_problems(explained.plan, explained.facts);
  if (!explained.plan.analyzed)
    explained.notes.emplace_back("auto_explain.log_analyze is off: shares are of the estimated cost");
  co_return explained;
}

int run_explain(const std::string& connection_string, const ExplainOptions& options, bool json, std::ostream& out) {
  Reactor reactor;
  const auto work = [](const std::string& where, const ExplainOptions& how) -> task<Explained> {
    const auto connection = co_await db::Connection::connect(where);
    if (!how.logged) co_return co_await explain(*connection, how);
    db::PoolOptions pool_options;
    pool_options.connection_string = where;
    pool_options.size = 1;
    db::Pool pool(pool_options);
    co_return co_await explain_logged(pool, *connection, how);
  };
  const Explained explained = reactor.block_on(work(connection_string, options));
  if (json)
    out << explained_json(explained) << "\n";
  else
    print_explained(explained, out);
  return 0;
}

}  // namespace cairn::tuner
