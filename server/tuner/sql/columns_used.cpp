#include "tuner/sql/columns_used.h"

#include <algorithm>
#include <utility>

#include "tuner/sql/columns_reader.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner::reading {
namespace {

constexpr std::string_view kAggregates[] = {"count",     "sum",      "avg",       "min",      "max",
                                            "array_agg", "json_agg", "jsonb_agg", "bool_or",  "string_agg",
                                            "bool_and",  "every",    "stddev",    "variance", "percentile_cont"};

size_t count_references(const Node& node, std::string_view name) {
  size_t count = 0;
  if (node.is_array()) {
    for (const Node item : items(node)) count += count_references(item, name);
  } else if (node.is_object()) {
    if (text_field(node, "relname") == name && !field(node, "schemaname")) ++count;
    for (const auto& [key, value] : members(node)) count += count_references(value, name);
  }
  return count;
}

// Aggregates and window functions, not those of a subquery.
bool computes_over_rows(const Node& node) {
  if (node.is_array()) {
    for (const Node item : items(node))
      if (computes_over_rows(item)) return true;
    return false;
  }
  if (!node.is_object() || as(node, "SubLink")) return false;
  if (const auto function = as(node, "FuncCall")) {
    const std::vector<std::string> name = strings(*function, "funcname");
    if (field(*function, "over") || field(*function, "agg_star")) return true;
    if (!name.empty() && std::ranges::find(kAggregates, name.back()) != std::end(kAggregates)) return true;
  }
  for (const auto& [key, child] : members(node))
    if (computes_over_rows(child)) return true;
  return false;
}

bool is_star(const Node& reference) {
  const std::vector<Node> fields = list_field(reference, "fields");
  return !fields.empty() && as(fields.back(), "A_Star");
}

std::string alias_of(const Node& item) {
  const auto alias = field(item, "alias");
  return alias ? text_field(*alias, "aliasname") : std::string();
}

// FROM t AS x (a, b)
bool renames_columns(const Node& item) {
  const auto alias = field(item, "alias");
  return alias && field(*alias, "colnames");
}

Columns out_of_reach(Columns columns) {
  for (auto& [name, reference] : columns) reference.reset();
  return columns;
}

Expression expression_of(const Column& column) {
  return {.sql = column.name,
          .is_column = true,
          .type = column.type,
          .category = column.category,
          .columns = {column.name}};
}

std::optional<Reference> reference_of(const Source& source, const std::string& name) {
  if (source.table != nullptr && source.table->indexable()) {
    const Column* column = source.table->column(name);
    return column == nullptr ? std::nullopt : std::optional(Reference{source.use, column});
  }
  const auto found = source.columns.find(name);
  return found == source.columns.end() ? std::nullopt : found->second;
}

}  // namespace

void Reader::statement(const Node& node, const Scope* outer) {
  if (const auto select = as(node, "SelectStmt")) {
    query(*select, outer, true);
    return;
  }
  for (const char* kind : {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
    if (const auto found = as(node, kind)) return modification(*found, outer);
  // EXPLAIN, PREPARE, DECLARE, COPY (…), CREATE TABLE AS
  if (!node.is_object()) return;
  for (const auto& [kind, body] : members(node))
    if (const auto inner = field(body, "query")) statement(*inner, outer);
}

void Reader::modification(const Node& node, const Scope* outer) {
  Scope scope{.outer = outer};
  add_with(node, scope);
  if (const auto select = field(node, "selectStmt")) return statement(*select, &scope);
  std::vector<Node> all;
  if (const auto target = field(node, "relation")) {
    scope.sources.push_back(add_table(*target, scope));
    const Source& source = scope.sources.back();
    if (source.table != nullptr && source.table->indexable()) uses_[source.use].whole_row = true;
  }
  for (const char* items : {"fromClause", "usingClause"})
    for (const Node& item : list_field(node, items)) add_source(item, scope, all);
  if (const auto source = field(node, "sourceRelation")) add_source(*source, scope, all);
  for (const char* clause : {"whereClause", "joinCondition"})
    if (const auto condition = field(node, clause)) all.push_back(*condition);
  conditions(all, scope);
  for (const Node& target : list_field(node, "targetList")) visit(target, scope);
}

void Reader::conditions(const std::vector<Node>& all, const Scope& scope) {
  for (const Node& one : all) {
    visit(one, scope);
    condition(one, scope);
  }
}

Columns Reader::query(const Node& select, const Scope* outer, bool top) {
  Scope scope{.outer = outer};
  add_with(select, scope);
  const auto left = field(select, "larg"), right = field(select, "rarg");
  if (left && right) {
    Columns columns = query(*left, &scope, true);
    query(*right, &scope, true);
    return out_of_reach(std::move(columns));
  }
  std::vector<Node> all;
  for (const Node& item : list_field(select, "fromClause")) add_source(item, scope, all);
  if (const auto where = field(select, "whereClause")) all.push_back(*where);
  conditions(all, scope);

  const std::vector<Node> targets = list_field(select, "targetList");
  const bool aggregated = std::ranges::any_of(targets, computes_over_rows) || field(select, "havingClause");
  bool reachable = !aggregated;
  for (const char* barrier : {"groupClause", "distinctClause", "limitCount", "limitOffset", "windowClause"})
    if (field(select, barrier)) reachable = false;
  Columns columns = output(targets, scope, top || !reachable, reachable);
  for (const char* clause : {"havingClause", "valuesLists", "groupClause", "sortClause", "distinctClause"})
    if (const auto found = field(select, clause)) visit(*found, scope);
  for (const Node& definition : list_field(select, "windowClause"))
    if (const auto found = as(definition, "WindowDef")) {
      visit(*found, scope);
      window(*found, scope);
    }
  group_and_order(select, scope, aggregated);
  return columns;
}

// A CTE that is named once is merged into the query by PostgreSQL, so it is read there.
void Reader::add_with(const Node& statement_node, Scope& scope) {
  const auto clause = field(statement_node, "withClause");
  if (!clause) return;
  for (const Node& item : list_field(*clause, "ctes")) {
    const auto cte = as(item, "CommonTableExpr");
    const auto body = cte ? field(*cte, "ctequery") : std::nullopt;
    if (!body) continue;
    const std::string name = text_field(*cte, "ctename");
    const auto select = as(*body, "SelectStmt");
    const size_t inside = count_references(*body, name);
    const bool recursive = field(*clause, "recursive") && inside > 0;
    const bool once = count_references(statement_node, name) == inside + 1;
    const bool plain = !field(*cte, "aliascolnames") && text_field(*cte, "ctematerialized") != "CTEMaterializeAlways";
    if (select && once && plain && !recursive) {
      scope.with[name].query = *select;
      continue;
    }
    if (recursive) scope.with[name] = {};
    Columns columns;
    if (select)
      columns = out_of_reach(query(*select, &scope, true));
    else
      statement(*body, &scope);
    if (!plain) columns.clear();
    scope.with[name] = {.query = {}, .columns = std::move(columns)};
  }
}

std::optional<Source> Reader::find_cte(const std::string& name, const Scope& scope) {
  for (const Scope* level = &scope; level != nullptr; level = level->outer) {
    const auto found = level->with.find(name);
    if (found == level->with.end()) continue;
    if (!found->second.query) return Source{.columns = found->second.columns};
    Scope around = level->without_sources();
    around.with.erase(name);
    return Source{.columns = query(*found->second.query, &around, false)};
  }
  return std::nullopt;
}

Source Reader::add_table(const Node& range, Scope& scope) {
  const std::string schema = text_field(range, "schemaname"), name = text_field(range, "relname");
  Source source;
  if (auto cte = schema.empty() ? find_cte(name, scope) : std::nullopt) {
    source = std::move(*cte);
  } else if (const Table* table = catalog_.find(schema, name); table != nullptr) {
    source.table = table;
    source.use = uses_.size();
    if (table->indexable()) uses_.push_back({.table = table});
  }
  const std::string alias = alias_of(range);
  source.alias = alias.empty() ? name : alias;
  if (renames_columns(range)) source = {.alias = source.alias};
  return source;
}

void Reader::add_source(const Node& item, Scope& scope, std::vector<Node>& all) {
  if (const auto range = as(item, "RangeVar")) {
    scope.sources.push_back(add_table(*range, scope));
  } else if (const auto join = as(item, "JoinExpr")) {
    add_join(*join, scope, all);
  } else if (const auto derived = as(item, "RangeSubselect")) {
    const auto subquery = field(*derived, "subquery");
    const auto select = subquery ? as(*subquery, "SelectStmt") : std::nullopt;
    Source source{.alias = alias_of(*derived)};
    const Scope apart = scope.without_sources();
    if (select) source.columns = query(*select, field(*derived, "lateral") ? &scope : &apart, false);
    if (renames_columns(*derived)) source.columns.clear();
    scope.sources.push_back(std::move(source));
  } else if (item.is_object()) {
    visit(item, scope);
    for (const auto& [kind, body] : members(item)) scope.sources.push_back({.alias = alias_of(body)});
  }
}

void Reader::add_join(const Node& join, Scope& scope, std::vector<Node>& all) {
  const size_t start = scope.sources.size();
  if (const auto left = field(join, "larg")) add_source(*left, scope, all);
  const size_t middle = scope.sources.size();
  if (const auto right = field(join, "rarg")) add_source(*right, scope, all);
  if (const auto quals = field(join, "quals")) all.push_back(*quals);
  using_columns(join, scope, start, middle);
}

// USING (a, b) and NATURAL: the left side's sources are [left, right), the right side's the rest.
void Reader::using_columns(const Node& join, const Scope& scope, size_t left, size_t right) {
  std::vector<std::string> names = strings(join, "usingClause");
  if (field(join, "isNatural"))
    for (size_t i = right; i < scope.sources.size(); ++i)
      if (const Table* table = scope.sources[i].table)
        for (const Column& column : table->columns) names.push_back(column.name);
  const auto first_with = [&](const std::string& name, size_t from, size_t to) -> std::optional<Reference> {
    for (size_t i = from; i < to; ++i)
      if (const auto found = reference_of(scope.sources[i], name)) return found;
    return std::nullopt;
  };
  for (const std::string& name : names) {
    const auto ours = first_with(name, left, right), theirs = first_with(name, right, scope.sources.size());
    if (field(join, "isNatural") && (!ours || !theirs)) continue;
    for (const auto& side : {ours, theirs}) {
      if (!side) continue;
      uses_[side->use].columns.insert(side->column->name);
      add(side->use, {.operand = expression_of(*side->column), .test = Test::kEqual, .join = true});
    }
  }
}

Columns Reader::output(const std::vector<Node>& targets, const Scope& scope, bool whole, bool reachable) {
  Columns columns;
  for (const Node& item : targets) {
    const auto target = as(item, "ResTarget");
    const auto value_node = target ? field(*target, "val") : std::nullopt;
    if (!value_node) continue;
    const auto reference = as(*value_node, "ColumnRef");
    if (reference && is_star(*reference)) {
      star(*reference, scope, whole, columns);
      continue;
    }
    visit(*value_node, scope);
    std::string name = text_field(*target, "name");
    if (!reference) {
      if (!name.empty()) columns[name] = std::nullopt;
      continue;
    }
    const std::vector<std::string> parts = strings(*reference, "fields");
    if (name.empty() && !parts.empty()) name = parts.back();
    const Resolved found = resolve(*reference, scope);
    columns[name] = found.owner == Owner::kUse && !found.outer ? std::optional(found.reference) : std::nullopt;
  }
  return reachable ? columns : out_of_reach(std::move(columns));
}

// `whole`: its columns are read, and not only those that the query around asks for.
void Reader::star(const Node& reference, const Scope& scope, bool whole, Columns& columns) {
  const std::vector<std::string> parts = strings(reference, "fields");
  for (const Source& source : scope.sources) {
    if (!parts.empty() && source.alias != parts.back()) continue;
    if (source.table != nullptr && source.table->indexable()) {
      if (whole) uses_[source.use].whole_row = true;
      for (const Column& column : source.table->columns) columns[column.name] = Reference{source.use, &column};
    } else {
      for (const auto& [name, column] : source.columns) {
        if (whole && column) uses_[column->use].columns.insert(column->column->name);
        columns[name] = column;
      }
    }
  }
}

// A position or an output name in GROUP BY or ORDER BY stands for a target.
Node Reader::target_of(const Node& key, const std::vector<Node>& targets, const Scope& scope, bool alias_first) const {
  if (const auto position = literal(key)) {
    const size_t number = std::strtoul(position->sql.c_str(), nullptr, 10);
    const auto target = number >= 1 && number <= targets.size() ? as(targets[number - 1], "ResTarget") : std::nullopt;
    const auto found = target ? field(*target, "val") : std::nullopt;
    return found ? *found : key;
  }
  const auto reference = as(key, "ColumnRef");
  const std::vector<std::string> parts = reference ? strings(*reference, "fields") : std::vector<std::string>();
  if (parts.size() != 1) return key;
  if (!alias_first && resolve(*reference, scope).owner != Owner::kNobody) return key;
  for (const Node& item : targets) {
    const auto target = as(item, "ResTarget");
    const auto found = target ? field(*target, "val") : std::nullopt;
    if (found && text_field(*target, "name") == parts[0]) return *found;
  }
  return key;
}

void Reader::group_and_order(const Node& select, const Scope& scope, bool aggregated) {
  const std::vector<Node> targets = list_field(select, "targetList"), groups = list_field(select, "groupClause"),
                          distinct = list_field(select, "distinctClause"), sort = list_field(select, "sortClause");
  const auto limit = field(select, "limitCount");
  const auto bound = limit ? literal(*limit) : std::nullopt;
  const bool limited = limit && !(bound && bound->is_null);
  if (!groups.empty()) return grouping(groups, targets, scope);
  if (aggregated && !field(select, "windowClause")) extreme(targets, scope);
  if (!distinct.empty()) {
    std::vector<Node> keys;
    for (const Node& key : distinct)
      if (key.is_object() && members(key).size() > 0) keys.push_back(key);
    if (keys.empty())
      for (const Node& item : targets)
        if (const auto target = as(item, "ResTarget"))
          if (const auto found = field(*target, "val")) keys.push_back(*found);
    grouping(keys, targets, scope);
  }
  if (!sort.empty()) return order_by(sort, targets, scope, limited);
  for (const Source& source : scope.sources)
    if (limited && source.table != nullptr && source.table->indexable()) uses_[source.use].limited = true;
}

void Reader::order_by(const std::vector<Node>& keys, const std::vector<Node>& targets, const Scope& scope,
                      bool limited) {
  std::optional<size_t> use;
  std::vector<SortKey> order;
  for (const Node& item : keys) {
    const auto sort = as(item, "SortBy");
    const auto written = sort ? field(*sort, "node") : std::nullopt;
    if (!written) break;
    const Node key = target_of(*written, targets, scope, true);
    const bool descending = text_field(*sort, "sortby_dir") == "SORTBY_DESC";
    if (order.empty() && limited && !descending && distance(key, scope)) return;
    auto sorted = operand(key, scope);
    if (!sorted || (use && *use != sorted->first)) break;
    use = sorted->first;
    const std::string nulls = text_field(*sort, "sortby_nulls");
    const bool nulls_first = nulls == "SORTBY_NULLS_FIRST" || (descending && nulls != "SORTBY_NULLS_LAST");
    order.push_back({std::move(sorted->second), descending, nulls_first});
  }
  if (!use) return;
  uses_[*use].order = std::move(order);
  uses_[*use].limited = limited;
}

bool Reader::distance(const Node& key, const Scope& scope) {
  const auto expression = as(key, "A_Expr");
  const std::vector<std::string> name = expression ? strings(*expression, "name") : std::vector<std::string>();
  const auto left = expression ? field(*expression, "lexpr") : std::nullopt;
  const auto right = expression ? field(*expression, "rexpr") : std::nullopt;
  if (name.empty() || !left || !right) return false;
  constexpr std::string_view kDistances[] = {"<->", "<=>", "<#>", "<+>", "<~>", "<%>"};
  if (std::ranges::find(kDistances, name.back()) == std::end(kDistances)) return false;
  for (const auto& [ours, theirs] : {std::pair{*left, *right}, std::pair{*right, *left}}) {
    const auto measured = operand(ours, scope);
    if (!measured || !measured->second.is_column || !value(theirs, measured->first, scope)) continue;
    uses_[measured->first].distance = Distance{measured->second.sql, name.back()};
    uses_[measured->first].limited = true;
    return true;
  }
  return false;
}

void Reader::window(const Node& definition, const Scope& scope) {
  std::optional<size_t> use;
  std::vector<SortKey> order;
  for (const Node& key : list_field(definition, "partitionClause")) {
    auto part = operand(key, scope);
    if (!part || (use && *use != part->first)) return;
    use = part->first;
    order.push_back({.operand = std::move(part->second)});
  }
  for (const Node& item : list_field(definition, "orderClause")) {
    const auto sort = as(item, "SortBy");
    const auto key = sort ? field(*sort, "node") : std::nullopt;
    auto sorted = key ? operand(*key, scope) : std::nullopt;
    if (!sorted || (use && *use != sorted->first)) break;
    use = sorted->first;
    const bool descending = text_field(*sort, "sortby_dir") == "SORTBY_DESC";
    const std::string nulls = text_field(*sort, "sortby_nulls");
    const bool nulls_first = nulls == "SORTBY_NULLS_FIRST" || (descending && nulls != "SORTBY_NULLS_LAST");
    order.push_back({std::move(sorted->second), descending, nulls_first});
  }
  if (use && uses_[*use].order.empty()) uses_[*use].order = std::move(order);
}

// SELECT max(x): the first row of an index on x.
void Reader::extreme(const std::vector<Node>& targets, const Scope& scope) {
  const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
  const auto found = target ? field(*target, "val") : std::nullopt;
  const auto function = found ? as(*found, "FuncCall") : std::nullopt;
  const std::vector<std::string> name = function ? strings(*function, "funcname") : std::vector<std::string>();
  const std::vector<Node> arguments = function ? list_field(*function, "args") : std::vector<Node>();
  if (name.empty() || arguments.size() != 1 || (name.back() != "min" && name.back() != "max")) return;
  auto sorted = operand(arguments[0], scope);
  if (!sorted || field(*function, "over")) return;
  const bool last = name.back() == "max";
  uses_[sorted->first].order = {{std::move(sorted->second), last, last}};
  uses_[sorted->first].limited = true;
}

void Reader::grouping(const std::vector<Node>& keys, const std::vector<Node>& targets, const Scope& scope) {
  std::optional<size_t> use;
  std::vector<Expression> all;
  for (const Node& written : keys) {
    auto key = operand(target_of(written, targets, scope, false), scope);
    if (!key || (use && *use != key->first)) return;
    use = key->first;
    all.push_back(std::move(key->second));
  }
  if (use) uses_[*use].grouping = std::move(all);
}

std::vector<TableUse> Reader::take() {
  for (auto& [use, arm] : arms_) {
    const TableUse& whole = uses_[use];
    arm.predicates.insert(arm.predicates.begin(), whole.predicates.begin(), whole.predicates.end());
    arm.columns = whole.columns;
    arm.whole_row = whole.whole_row;
    uses_.push_back(std::move(arm));
  }
  return {std::make_move_iterator(uses_.begin()), std::make_move_iterator(uses_.end())};
}

}  // namespace cairn::tuner::reading

namespace cairn::tuner {

StatementUse columns_used(const Catalog& catalog, const std::string& statement) {
  const auto tree = ParseTree::parse(statement);
  if (!tree) return {};
  reading::Reader reader(catalog);
  for (const Node item : tree->statements())
    if (const auto body = field(item, "stmt")) reader.statement(*body, nullptr);
  return {.parsed = true, .tables = reader.take()};
}

}  // namespace cairn::tuner
