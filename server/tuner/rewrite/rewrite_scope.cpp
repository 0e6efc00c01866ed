#include "tuner/rewrite/rewrite_scope.h"

#include <algorithm>

#include "tuner/rewrite/rewrite_text.h"

namespace cairn::tuner {
namespace {

constexpr std::string_view kComparisons[][2] = {{"=", "="}, {"<>", "<>"}, {"<", ">"},
                                                {">", "<"}, {"<=", ">="}, {">=", "<="}};

// NOT NULL and keys of a table that others inherit from say nothing of the rows of those.
bool speaks_for_all_rows(const ScopeSource& source) {
  return source.table != nullptr && (source.only || !source.table->has_children);
}

std::string alias_of(const Node& item) {
  const auto alias = field(item, "alias");
  return alias ? text_field(*alias, "aliasname") : std::string();
}

bool is_aggregate_or_set(const Node& call, const Catalog& catalog) {
  if (field(call, "over") || field(call, "agg_star") || field(call, "agg_filter")) return true;
  const std::vector<std::string> name = strings(call, "funcname");
  const auto known = name.empty() ? catalog.functions.end() : catalog.functions.find(name.back());
  return known == catalog.functions.end() || known->second.aggregate || known->second.returns_set;
}

}  // namespace

bool NameScope::has_alias(std::string_view alias) const {
  return std::ranges::find(sources, alias, &ScopeSource::alias) != sources.end();
}

bool NameScope::is_cte(const std::string& name) const {
  return with.contains(name) || (outer != nullptr && outer->is_cte(name));
}

std::string NamedColumn::sql() const { return identifier(source->alias) + "." + identifier(column->name); }

void Names::add_with(const Node& statement, NameScope& scope) const {
  const auto clause = field(statement, "withClause");
  if (!clause) return;
  for (const Node& item : list_field(*clause, "ctes"))
    if (const auto cte = as(item, "CommonTableExpr")) scope.with.insert(text_field(*cte, "ctename"));
}

void Names::add_source(const Node& item, bool nullable, NameScope& scope) const {
  if (const auto join = as(item, "JoinExpr")) {
    const std::string kind = text_field(*join, "jointype");
    const size_t before = scope.sources.size();
    if (const auto left = field(*join, "larg"))
      add_source(*left, nullable || kind == "JOIN_RIGHT" || kind == "JOIN_FULL", scope);
    if (const auto right = field(*join, "rarg"))
      add_source(*right, nullable || kind == "JOIN_LEFT" || kind == "JOIN_FULL", scope);
    if (!alias_of(*join).empty()) {  // hides what is inside
      scope.sources.resize(before);
      scope.sources.push_back({.alias = alias_of(*join)});
    }
    return;
  }
  const auto range = as(item, "RangeVar");
  if (!range) {
    for (const auto& [kind, body] : members(item)) scope.sources.push_back({.alias = alias_of(body)});
    return;
  }
  const std::string schema = text_field(*range, "schemaname"), name = text_field(*range, "relname");
  ScopeSource source{.alias = alias_of(*range), .only = !field(*range, "inh"), .nullable = nullable};
  if (source.alias.empty()) source.alias = name;
  const auto alias = field(*range, "alias");
  const bool renamed = alias && field(*alias, "colnames");
  const bool elsewhere = schema.empty() && (scope.is_cte(name) || name.starts_with("pg_"));
  if (!renamed && !elsewhere) {
    const Table* table = catalog_.find(schema, name);
    if (table != nullptr && table->indexable()) source.table = table;
  }
  scope.sources.push_back(std::move(source));
}

NameScope Names::scope_of(const Node& select, const NameScope* outer) const {
  NameScope scope{.outer = outer};
  add_with(select, scope);
  for (const Node& item : list_field(select, "fromClause")) add_source(item, false, scope);
  return scope;
}

std::optional<NamedColumn> Names::column(const Node& expression, const NameScope& scope) const {
  const auto reference = as(expression, "ColumnRef");
  if (!reference) return std::nullopt;
  const std::vector<std::string> parts = strings(*reference, "fields");
  if (parts.empty() || parts.size() > 2 || parts.size() != list_field(*reference, "fields").size()) return std::nullopt;
  NamedColumn found;
  for (const NameScope* level = &scope; level != nullptr; level = level->outer, ++found.depth) {
    int matches = 0;
    for (const ScopeSource& source : level->sources) {
      if (parts.size() == 2 && source.alias != parts[0]) continue;
      if (source.table == nullptr) return std::nullopt;
      const Column* column = source.table->column(parts.back());
      if (parts.size() == 2 && column == nullptr) return std::nullopt;
      if (column == nullptr) continue;
      found.source = &source;
      found.column = column;
      ++matches;
    }
    if (matches == 1) return found;
    if (matches > 1) return std::nullopt;
  }
  return std::nullopt;
}

bool Names::is_never_null(const NamedColumn& column) {
  return column.column->not_null && !column.source->nullable && speaks_for_all_rows(*column.source);
}

bool Names::is_stable(const Node& node, const NameScope& scope) const {
  if (node.is_array()) {
    for (const Node item : items(node))
      if (!is_stable(item, scope)) return false;
    return true;
  }
  if (!node.is_object()) return true;
  for (const char* write :
       {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "lockingClause", "intoClause", "RangeTableSample"})
    if (field(node, write)) return false;
  for (const char* list : {"funcname", "name", "operName"}) {
    const std::vector<std::string> name = strings(node, list);
    if (name.empty()) continue;
    const auto known = catalog_.functions.find(name.back());
    if (known != catalog_.functions.end() ? known->second.is_volatile : std::string_view(list) == "funcname")
      return false;
  }
  if (const auto range = as(node, "RangeVar")) {
    const std::string schema = text_field(*range, "schemaname"), name = text_field(*range, "relname");
    if (schema.empty() && scope.is_cte(name)) return true;
    const Table* table = catalog_.find(schema, name);
    if (table == nullptr || !table->indexable()) return false;  // a view may hide anything
  }
  for (const auto& [key, value] : members(node))
    if (!is_stable(value, scope)) return false;
  return true;
}

bool Names::computes_over_rows(const Node& node) const {
  if (node.is_array()) {
    for (const Node item : items(node))
      if (computes_over_rows(item)) return true;
    return false;
  }
  if (!node.is_object() || as(node, "SubLink")) return false;
  if (const auto call = as(node, "FuncCall"))
    if (is_aggregate_or_set(*call, catalog_)) return true;
  for (const auto& [key, value] : members(node))
    if (computes_over_rows(value)) return true;
  return false;
}

bool Names::add_columns(const Node& node, const NameScope& scope, std::vector<NamedColumn>& columns) const {
  if (node.is_array()) {
    for (const Node item : items(node))
      if (!add_columns(item, scope, columns)) return false;
    return true;
  }
  if (!node.is_object()) return true;
  if (as(node, "ColumnRef")) {
    const auto found = column(node, scope);
    if (found) columns.push_back(*found);
    return found.has_value();
  }
  if (as(node, "SubLink")) return false;
  for (const auto& [key, value] : members(node))
    if (!add_columns(value, scope, columns)) return false;
  return true;
}

std::optional<std::vector<NamedColumn>> Names::columns_in(const Node& node, const NameScope& scope) const {
  std::vector<NamedColumn> columns;
  if (!add_columns(node, scope, columns)) return std::nullopt;
  return columns;
}

std::vector<Node> conjuncts(const Node& condition) {
  const auto logic = as(condition, "BoolExpr");
  if (!logic || text_field(*logic, "boolop") != "AND_EXPR") return {condition};
  std::vector<Node> all;
  for (const Node& argument : list_field(*logic, "args"))
    for (const Node& one : conjuncts(argument)) all.push_back(one);
  return all;
}

bool excludes_null(const std::vector<Node>& conditions, const NamedColumn& column, const Names& names,
                   const NameScope& scope) {
  const auto is_it = [&](const Node& node) {
    const auto found = names.column(node, scope);
    return found && *found == column;
  };
  return std::ranges::any_of(conditions, [&](const Node& condition) {
    if (const auto test = as(condition, "NullTest")) {
      const auto argument = field(*test, "arg");
      return argument && is_it(*argument) && text_field(*test, "nulltesttype") == "IS_NOT_NULL";
    }
    const auto compared = operation(condition);
    return compared && is_comparison(compared->name) && (is_it(compared->left) || is_it(compared->right));
  });
}

std::vector<std::string> key_of(const ScopeSource& source) {
  std::vector<std::string> best;
  if (!speaks_for_all_rows(source)) return best;
  for (const Index& index : source.table->indexes) {
    const IndexDefinition& definition = index.definition;
    const bool certain = definition.unique && index.valid && index.immediate && definition.predicate.empty();
    std::vector<std::string> columns;
    for (const IndexKey& key : definition.keys) {
      const Column* column = key.is_expression ? nullptr : source.table->column(key.text);
      if (column == nullptr || !column->not_null) break;
      columns.push_back(key.text);
    }
    if (!certain || columns.empty() || columns.size() != definition.keys.size()) continue;
    if (best.empty() || columns.size() < best.size()) best = columns;
  }
  return best;
}

bool has_only(const Node& select, std::initializer_list<std::string_view> clauses) {
  for (const auto& [key, value] : members(select)) {
    const bool always = key == "limitOption" || (key == "op" && text_field(select, "op") == "SETOP_NONE");
    if (!always && std::ranges::find(clauses, key) == clauses.end()) return false;
  }
  return true;
}

std::optional<std::string> plain_call(const Node& node) {
  const auto call = as(node, "FuncCall");
  if (!call) return std::nullopt;
  for (const char* special : {"agg_within_group", "agg_distinct", "agg_order", "agg_filter", "over", "func_variadic"})
    if (field(*call, special)) return std::nullopt;
  std::vector<std::string> parts = strings(*call, "funcname");
  if (parts.size() == 2 && parts[0] == "pg_catalog") parts.erase(parts.begin());
  return parts.size() == 1 ? std::optional(parts[0]) : std::nullopt;
}

std::optional<Operation> operation(const Node& node) {
  const auto expression = as(node, "A_Expr");
  if (!expression || text_field(*expression, "kind") != "AEXPR_OP") return std::nullopt;
  const std::vector<std::string> names = strings(*expression, "name");
  const auto left = field(*expression, "lexpr"), right = field(*expression, "rexpr");
  if (names.size() != 1 || !left || !right) return std::nullopt;
  return Operation{names[0], *left, *right};
}

bool is_comparison(std::string_view name) { return !mirrored(std::string(name)).empty(); }

std::string mirrored(const std::string& comparison) {
  for (const auto& [from, to] : kComparisons)
    if (from == comparison) return std::string(to);
  return {};
}

}  // namespace cairn::tuner
