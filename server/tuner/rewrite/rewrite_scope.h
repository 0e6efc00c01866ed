// What the rules of rewriting know of a name or an expression in a statement: which table's column it is, whether it
// may be NULL, whether evaluating it more or less often could be seen. From the parse tree and the catalog; where those
// do not tell for certain, the answer is the careful one.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tuner/sql/expression.h"

namespace cairn::tuner {

struct ScopeSource {
  std::string alias = {};
  const Table* table = nullptr;  // null: nothing is known of its columns
  bool only = false;
  bool nullable = false;  // on the side of an outer join that may have no row
};

// The names that a query's FROM gives, and those of the queries around.
struct NameScope {
  const NameScope* outer = nullptr;
  std::vector<ScopeSource> sources = {};
  std::set<std::string> with = {};  // CTEs

  bool has_alias(std::string_view alias) const;
  bool is_cte(const std::string& name) const;
};

struct NamedColumn {
  const ScopeSource* source = nullptr;
  const Column* column = nullptr;
  int depth = 0;  // 0: of the query itself, 1: of the one around

  // alias.column, with quotes where needed
  std::string sql() const;
  std::string name() const { return source->table->name.name + "." + column->name; }
  bool operator==(const NamedColumn&) const = default;
};

class Names {
 public:
  explicit Names(const Catalog& catalog) : catalog_(catalog) {}

  const Catalog& catalog() const { return catalog_; }
  // Of a SELECT; `outer` must outlive it.
  NameScope scope_of(const Node& select, const NameScope* outer) const;
  void add_with(const Node& statement, NameScope& scope) const;
  void add_source(const Node& item, bool nullable, NameScope& scope) const;

  // Nothing for what is no column reference or not certainly of one known table.
  std::optional<NamedColumn> column(const Node& expression, const NameScope& scope) const;
  // Whether a value read from the column is never NULL.
  static bool is_never_null(const NamedColumn& column);
  // Whether nothing in it is volatile or hidden: only tables, functions and operators that the catalog tells to be
  // stable, no writes.
  bool is_stable(const Node& node, const NameScope& scope) const;
  // Aggregates, window functions and functions that return sets, not those of a subquery.
  bool computes_over_rows(const Node& node) const;
  // Of every column reference in it, also in its subqueries. Nothing where one is not known for certain.
  std::optional<std::vector<NamedColumn>> columns_in(const Node& node, const NameScope& scope) const;

 private:
  bool add_columns(const Node& node, const NameScope& scope, std::vector<NamedColumn>& columns) const;
  const Catalog& catalog_;
};

// The operands of AND at the top of a condition.
std::vector<Node> conjuncts(const Node& condition);
// Whether a row for which the expression is NULL cannot fulfil one of the conditions.
bool excludes_null(const std::vector<Node>& conditions, const NamedColumn& column, const Names& names,
                   const NameScope& scope);
// The columns of an index that is unique for every row at any time, none of them NULL; the fewest. Nothing: no key.
std::vector<std::string> key_of(const ScopeSource& source);
// Whether a SELECT has no clauses but these.
bool has_only(const Node& select, std::initializer_list<std::string_view> clauses);
// A function's call without schema, or with pg_catalog's, with plain arguments.
std::optional<std::string> plain_call(const Node& node);
// An operator: its name and both sides.
struct Operation {
  std::string name;
  Node left, right;
};
std::optional<Operation> operation(const Node& node);
std::string mirrored(const std::string& comparison);
bool is_comparison(std::string_view name);

}  // namespace cairn::tuner
