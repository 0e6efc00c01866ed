#include "tuner/advise/what_if.h"

#include <simdjson.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "tuner/sql/parameter_types.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Query;
using db::Rows;
using db::Statement;

// So that a profile can tell the tuner's own statements from the users'.
constexpr std::string_view kMark = "/* cairn tune */ ";

// Planning only, and never in anybody's way. A generic plan needs no values of the placeholders.
constexpr const char* kSettings[] = {
    "/* cairn tune */ SET default_transaction_read_only = on",
    "/* cairn tune */ SET lock_timeout = '1s'",
    "/* cairn tune */ SET statement_timeout = '30s'",
    "/* cairn tune */ SET plan_cache_mode = force_generic_plan",
    "/* cairn tune */ SET application_name = 'cairn tune'",
};

// The mark in a statement's text does as well as the first. Without the second a server whose auto_explain writes down
// everything (log_min_duration = 0) stumbles over indexes that are not there.
constexpr const char* kSuperuserSettings[] = {
    "/* cairn tune */ SET pg_stat_statements.track = 'none'",
    "/* cairn tune */ SET auto_explain.log_min_duration = -1",
};

constexpr double kPercent = 100;
constexpr std::chrono::milliseconds kLeastPause{5};  // shorter ones add up to one

constexpr const char* kCreateExtension = "/* cairn tune */ CREATE EXTENSION hypopg";

bool is_lost(const db::DbError& error) {
  return error.sqlstate().starts_with("08") || error.sqlstate().starts_with("57P");
}

// Calls visit(node) for every node of the plan.
template <class F>
void for_each_node(simdjson::dom::element node, const F& visit) {
  visit(node);
  simdjson::dom::array children;
  if (node["Plans"].get(children) != simdjson::SUCCESS) return;
  for (const auto child : children) for_each_node(child, visit);
}

std::optional<std::string> text_of(simdjson::dom::element node, const char* name) {
  std::string_view text;
  if (node[name].get(text) != simdjson::SUCCESS) return std::nullopt;
  return std::string(text);
}

// The root node of what EXPLAIN (FORMAT JSON) printed, in a parser of its own: plans nest deeper than requests do.
class ExplainedPlan {
 public:
  explicit ExplainedPlan(const std::string& json) : root_(parser_.parse(json).at(0)["Plan"].value()) {}
  simdjson::dom::element root() const { return root_; }
  double cost() const { return root_["Total Cost"].get_double().value(); }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

}  // namespace

WhatIf::WhatIf(Reactor& reactor, const WhatIfOptions& options)
    : reactor_(reactor), busy_percent_max_(options.busy_percent_max) {
  reactor_.block_on(connect(options));
}

WhatIf::~WhatIf() = default;

// All that may take the server's time goes through here, and waits afterwards until its share is small enough again.
// The time of the network is counted as the server's: too much rather than too little.
task<std::vector<Rows>> WhatIf::ask(std::vector<Query> queries) {
  const auto asked = std::chrono::steady_clock::now();
  std::exception_ptr failure;
  std::vector<Rows> results;
  try {
    results = co_await connection_->run(std::move(queries));
  } catch (...) {
    failure = std::current_exception();
  }
  const auto answered = std::chrono::steady_clock::now();
  busy_ += answered - asked;
  const auto wanted = std::chrono::duration_cast<std::chrono::nanoseconds>(busy_ * (kPercent / busy_percent_max_));
  const auto missing = wanted - (answered - begun_);
  if (missing > kLeastPause) co_await sleep_for(missing);
  if (failure) std::rethrow_exception(failure);
  co_return results;
}

double WhatIf::busy_percent() const {
  const auto all = std::chrono::steady_clock::now() - begun_;
  return kPercent * std::chrono::duration<double>(busy_) / std::chrono::duration<double>(all);
}

task<> WhatIf::run_text(std::string_view sql) {
  std::vector<Query> queries;
  queries.push_back({{"", sql}, {}});
  co_await ask(std::move(queries));
}

task<> WhatIf::connect(const WhatIfOptions& options) {
  connection_ = co_await db::Connection::connect(options.connection_string);
  co_await find_extension(options);
  for (const char* setting : kSettings) co_await run_text(setting);
  for (const char* setting : kSuperuserSettings) {
    try {
      co_await run_text(setting);
    } catch (const db::DbError&) {
      // Others than superusers may not.
    }
  }
  co_await read_partitions();
}

constexpr Statement kExtension{"tune_hypopg",
                               "/* cairn tune */ SELECT (SELECT n.nspname FROM pg_extension e "
                               "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'), "
                               "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hypopg')"};

task<> WhatIf::find_extension(const WhatIfOptions& options) {
  Rows found = co_await connection_->query(kExtension);
  if (found.is_null(0, 0) && found.boolean(0, 1) && options.allow_extension) {
    try {
      co_await run_text(kCreateExtension);
    } catch (const db::DbError& error) {
      if (is_lost(error)) throw;
      missing_ = std::string("the extension hypopg could not be made: ") + error.what() +
                 "; let a superuser run CREATE EXTENSION hypopg in this database";
      co_return;
    }
    found = co_await connection_->query(kExtension);
  }
  if (found.is_null(0, 0)) {
    missing_ = found.boolean(0, 1)
                   ? "the extension hypopg is not in this database, so what an index would gain is not known: let a "
                     "superuser run CREATE EXTENSION hypopg, or give --allow-extension"
                   : "hypopg is not installed on the database's machine, so what an index would gain is not known: "
                     "install it (Debian: postgresql-15-hypopg, by the server's version), then CREATE EXTENSION hypopg";
    co_return;
  }
  const std::string schema = db::quote_identifier(found.text(0, 0)) + ".";
  create_sql_ = std::string(kMark) + "SELECT indexrelid::int8, indexname, " + schema +
                "hypopg_relation_size(indexrelid) FROM " + schema + "hypopg_create_index($1)";
  drop_sql_ = std::string(kMark) + "SELECT " + schema + "hypopg_drop_index($1::int8::oid)";
  reset_sql_ = std::string(kMark) + "SELECT " + schema + "hypopg_reset()";
}

constexpr Statement kPartitions{
    "tune_partitions",
    "/* cairn tune */ SELECT n.nspname, c.relname, pn.nspname, p.relname FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL pg_partition_ancestors(c.oid) a(relid) "
    "JOIN pg_class p ON p.oid = a.relid AND p.oid <> c.oid JOIN pg_namespace pn ON pn.oid = p.relnamespace "
    "WHERE c.relispartition"};

task<> WhatIf::read_partitions() {
  const Rows rows = co_await connection_->query(kPartitions);
  for (int i = 0; i < rows.size(); ++i)
    parents_[{rows.text(i, 0), rows.text(i, 1)}].push_back({rows.text(i, 2), rows.text(i, 3)});
}

// Errors of one statement are an answer; without a connection there are no more answers.
void WhatIf::check_connection(const db::DbError& error) const {
  if (is_lost(error) || connection_->broken()) throw error;
}

std::optional<size_t> WhatIf::add(const std::string& sql, std::string& refusal) {
  try {
    return reactor_.block_on(add_prepared(sql));
  } catch (const db::DbError& error) {
    check_connection(error);
    refusal = error.what();
    return std::nullopt;
  }
}

// PREPARE takes one statement that can be planned; what would be more than that is an error of the protocol.
task<> WhatIf::prepare(const std::string& name, const std::string& sql) {
  for (ParameterTypes types;;) {
    const std::string text = std::string(kMark) + "PREPARE " + name + types.sql() + " AS " + sql;
    std::optional<db::DbError> refusal;
    try {
      co_await run_text(text);
      co_return;
    } catch (const db::DbError& error) {
      refusal = error;
    }
    if (!types.learn(*refusal)) throw *refusal;
  }
}

constexpr Statement kPlaceholders{
    "tune_placeholders",
    "/* cairn tune */ SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1"};

task<size_t> WhatIf::add_prepared(const std::string& sql) {
  const std::string name = "cairn_tune_" + std::to_string(++prepared_);
  std::optional<db::DbError> refused;
  try {
    co_await prepare(name, sql);
  } catch (const db::DbError& error) {
    // A syntax error, or a column that is not grouped by, may come of the normalising alone.
    if (error.sqlstate() != "42601" && error.sqlstate() != "42803") throw;
    refused = error;
  }
  if (refused) {
    const auto text = preparable_statement(sql);
    if (!text) throw *refused;
    co_await prepare(name, *text);
  }
  Params params = Params::of(name);
  const Rows counted = co_await connection_->query(kPlaceholders, std::move(params));
  Prepared prepared{.explain = "EXECUTE " + name};
  for (int64_t i = 0; i < counted.integer(0, 0); ++i) prepared.explain += i == 0 ? "(NULL" : ", NULL";
  if (counted.integer(0, 0) > 0) prepared.explain += ")";

  const std::vector<IndexDefinition> none;
  const std::string verbose = std::string(kMark) + "EXPLAIN (FORMAT JSON, VERBOSE) " + prepared.explain;
  const std::string json = co_await explained(verbose, none);
  const ExplainedPlan plan(json);
  prepared.cost = plan.cost();
  for_each_node(plan.root(), [&](simdjson::dom::element node) {
    const auto relation = text_of(node, "Relation Name");
    const auto schema = text_of(node, "Schema");
    if (!relation || !schema) return;
    const TableName table{*schema, *relation};
    prepared.tables.insert(table);
    const auto parents = parents_.find(table);
    if (parents != parents_.end()) prepared.tables.insert(parents->second.begin(), parents->second.end());
  });
  prepared.explain = std::string(kMark) + "EXPLAIN (FORMAT JSON) " + prepared.explain;
  statements_.push_back(std::move(prepared));
  co_return statements_.size() - 1;
}

// Makes the session's hypothetical indexes these, and plans. One round trip.
task<std::string> WhatIf::explained(const std::string& explain, const std::vector<IndexDefinition>& indexes) {
  std::vector<Query> queries;
  std::map<IndexDefinition, Live> next;
  for (const auto& [definition, live] : live_) {
    if (std::find(indexes.begin(), indexes.end(), definition) != indexes.end())
      next[definition] = live;
    else
      queries.push_back({{"tune_drop", drop_sql_}, Params::of(live.oid)});
  }
  const size_t dropped = queries.size();
  std::vector<const IndexDefinition*> made;
  for (const IndexDefinition& index : indexes) {
    if (next.contains(index)) continue;
    queries.push_back({{"tune_create", create_sql_}, Params::of(create_statement(index, std::nullopt, false))});
    made.push_back(&index);
  }
  // A generic plan that is kept knows nothing of what was made since.
  if (plans_are_old_ || !queries.empty()) queries.push_back({{"", "/* cairn tune */ DISCARD PLANS"}, {}});
  queries.push_back({{"", explain}, {}});
  ++calls_;
  const std::vector<Rows> results = co_await ask(std::move(queries));
  for (size_t i = 0; i < made.size(); ++i) {
    const Rows& row = results[dropped + i];
    next[*made[i]] = {row.integer(0, 0), row.text(0, 1)};
  }
  live_ = std::move(next);
  plans_are_old_ = false;
  co_return results.back().text(0, 0);
}

// After an error nobody knows what the session holds.
task<> WhatIf::forget_indexes() {
  live_.clear();
  plans_are_old_ = true;
  if (!reset_sql_.empty()) co_await run_text(reset_sql_);
}

Estimate WhatIf::estimate(size_t statement, const std::vector<IndexDefinition>& indexes) {
  const Prepared& prepared = statements_.at(statement);
  if (indexes.empty()) return {.cost = prepared.cost, .used = {}};
  if (!missing_.empty()) throw Error(ErrorCode::kInvalidState, missing_);
  try {
    const ExplainedPlan plan(reactor_.block_on(explained(prepared.explain, indexes)));
    Estimate estimate{.cost = plan.cost(), .used = {}};
    std::set<std::string> used;
    for_each_node(plan.root(), [&](simdjson::dom::element node) {
      if (const auto name = text_of(node, "Index Name")) used.insert(*name);
    });
    for (const auto& [definition, live] : live_) {
      if (used.contains(live.name)) estimate.used.push_back(definition);
    }
    return estimate;
  } catch (const db::DbError& error) {
    check_connection(error);
    log::warn("tune: a statement could not be planned: {}", error.what());
    reactor_.block_on(forget_indexes());
    return {.cost = prepared.cost, .used = {}};
  }
}

task<WhatIf::Hypothetical> WhatIf::try_index(const IndexDefinition& index) {
  Hypothetical known;
  Params params = Params::of(create_statement(index, std::nullopt, false));
  std::vector<Query> queries;
  queries.push_back({{"tune_create", create_sql_}, std::move(params)});
  const std::vector<Rows> results = co_await ask(std::move(queries));
  const Rows& made = results.at(0);
  if (made.empty()) {
    known.refusal = "hypopg made no index of it";
    co_return known;
  }
  plans_are_old_ = true;
  known.bytes = made.integer(0, 2);
  live_[index] = {made.integer(0, 0), made.text(0, 1)};
  co_return known;
}

const WhatIf::Hypothetical& WhatIf::look_up(const IndexDefinition& index) {
  if (const auto found = known_.find(index); found != known_.end()) return found->second;
  Hypothetical known;
  if (!missing_.empty()) {
    known.refusal = missing_;
  } else {
    try {
      known = reactor_.block_on(try_index(index));
    } catch (const db::DbError& error) {
      check_connection(error);
      known.refusal = error.what();
      reactor_.block_on(forget_indexes());
    }
  }
  return known_[index] = std::move(known);
}

std::optional<int64_t> WhatIf::bytes(const IndexDefinition& index) { return look_up(index).bytes; }

}  // namespace cairn::tuner
