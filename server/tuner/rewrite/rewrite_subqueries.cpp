// Subqueries in conditions: counted where one row would tell, NOT IN where no row would tell, an extreme per row where
// one pass over the groups would do, several aggregates of the same rows.
#include <algorithm>
#include <map>

#include "tuner/rewrite/rewrite_rules.h"

namespace cairn::tuner {
namespace {

struct Subquery {
  Node select;
  Span brackets;  // with the brackets
};

std::optional<Node> select_of(const Node& link) {
  const auto body = field(link, "subselect");
  return body ? as(*body, "SelectStmt") : std::nullopt;
}

std::optional<Subquery> scalar_subquery(const RewriteContext& context, const Node& node) {
  const auto link = as(node, "SubLink");
  if (!link || text_field(*link, "subLinkType") != "EXPR_SUBLINK") return std::nullopt;
  const auto select = select_of(*link);
  const auto span = select ? context.text.expression(node) : std::nullopt;
  const auto brackets = span ? context.text.last_brackets(*span) : std::nullopt;
  if (!brackets || brackets->begin != span->begin) return std::nullopt;
  return Subquery{*select, *brackets};
}

// What the only target of a query is; nothing where it has a name, or there are more.
std::optional<Node> only_target(const Node& select) {
  const std::vector<Node> targets = list_field(select, "targetList");
  const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
  return target && !field(*target, "name") ? field(*target, "val") : std::nullopt;
}

// The parts of a query's text that rules put together anew.
struct QueryParts {
  std::string from = {};   // "FROM a JOIN b ON …"
  std::string where = {};  // without the keyword, in brackets where it needs them
};

std::optional<QueryParts> parts_of(const RewriteContext& context, const Subquery& subquery) {
  const StatementText& text = context.text;
  const auto target = only_target(subquery.select);
  const auto listed = target ? text.expression(*target) : std::nullopt;
  if (!listed) return std::nullopt;
  const Span from = text.token_after(listed->end);
  QueryParts parts;
  size_t end = subquery.brackets.end - 1;
  if (const auto where = field(subquery.select, "whereClause")) {
    const auto span = text.expression(*where);
    if (!span) return std::nullopt;
    // WHERE (a OR b): the brackets are not the expression's.
    Span before = text.token_before(span->begin);
    while (text.text(before) == "(") before = text.token_before(before.begin);
    if (!text.is_keyword(before, "where")) return std::nullopt;
    end = before.begin;
    parts.where = text.text(*span);
    const auto logic = as(*where, "BoolExpr");
    if (logic && text_field(*logic, "boolop") == "OR_EXPR") parts.where = "(" + parts.where + ")";
  }
  if (!text.is_keyword(from, "from") || from.begin >= end) return std::nullopt;
  parts.from = text.text({from.begin, end});
  parts.from.erase(parts.from.find_last_not_of(" \t\r\n") + 1);
  return parts;
}

// -- COUNT(*) > 0 ------------------------------------------------------------------------------------------------

// Whether `count op number` asks for some rows (true) or for none (false).
std::optional<bool> asks_for_some(const std::string& op, int64_t number) {
  if ((op == ">" && number == 0) || (op == ">=" && number == 1) || (op == "<>" && number == 0)) return true;
  if ((op == "=" && number == 0) || (op == "<=" && number == 0) || (op == "<" && number == 1)) return false;
  return std::nullopt;
}

// count(*), or of something that is not NULL in any row.
bool counts_rows(const RewriteContext& context, const Node& select, const Node& target, const NameScope& inner) {
  const auto name = plain_call(target);
  if (name != "count" || !has_only(select, {"targetList", "fromClause", "whereClause"})) return false;
  const Node call = *as(target, "FuncCall");
  if (field(call, "agg_star")) return true;
  const std::vector<Node> arguments = list_field(call, "args");
  if (arguments.size() != 1) return false;
  if (const auto constant = as(arguments[0], "A_Const")) return !field(*constant, "isnull");
  const auto column = context.names.column(arguments[0], inner);
  if (!column || column->depth != 0) return false;
  const auto where = field(select, "whereClause");
  return Names::is_never_null(*column) || (where && excludes_null(conjuncts(*where), *column, context.names, inner));
}

}  // namespace

void count_to_exists(RewriteContext& context, const Node& node, const NameScope& scope, Position position) {
  auto compared = operation(node);
  if (!compared || !is_comparison(compared->name)) return;
  if (!as(compared->left, "SubLink")) compared = Operation{mirrored(compared->name), compared->right, compared->left};
  const auto subquery = scalar_subquery(context, compared->left);
  const auto target = subquery ? only_target(subquery->select) : std::nullopt;
  const auto counted = target ? context.text.expression(*target) : std::nullopt;
  const auto span = counted ? context.text.expression(node) : std::nullopt;
  if (!span) return;
  const NameScope inner = context.names.scope_of(subquery->select, &scope);
  if (!counts_rows(context, subquery->select, *target, inner) || !field(subquery->select, "fromClause") ||
      !context.names.is_stable(subquery->select, inner))
    return;
  const auto number = context.text.integer(compared->right);
  const bool placeholder = as(compared->right, "ParamRef").has_value() && compared->name == ">";
  const auto some = number ? asks_for_some(compared->name, *number) : placeholder ? std::optional(true) : std::nullopt;
  if (!some) return;
  const Span brackets = subquery->brackets;
  std::string sql = "EXISTS " + context.text.text({brackets.begin, counted->begin}) + "1" +
                    context.text.text({counted->end, brackets.end});
  if (!*some) sql = position == Position::kValue ? "(NOT " + sql + ")" : "NOT " + sql;
  RewriteSite site{.rule = "count-to-exists",
                   .edits = {{*span, sql}},
                   .reason = "the first row tells whether there is one; counting reads them all"};
  if (number)
    site.guarantee = "a count without groups is never NULL, and nothing in its subquery is volatile";
  else
    site.caveat = "only where the placeholder is always 0";
  context.sites.push_back(std::move(site));
}

// -- NOT IN ------------------------------------------------------------------------------------------------------

namespace {

struct Exclusion {
  Node link;
  std::vector<NamedColumn> tested;   // of the query around
  std::vector<NamedColumn> against;  // of the subquery
};

// x NOT IN (SELECT y …), (a, b) NOT IN (SELECT c, d …), NOT x IN (…)
std::optional<Node> excluded_link(const Node& node) {
  const auto logic = as(node, "BoolExpr");
  const std::vector<Node> arguments = logic ? list_field(*logic, "args") : std::vector<Node>();
  if (!logic || text_field(*logic, "boolop") != "NOT_EXPR" || arguments.size() != 1) return std::nullopt;
  const auto link = as(arguments[0], "SubLink");
  if (!link || text_field(*link, "subLinkType") != "ANY_SUBLINK" || field(*link, "operName")) return std::nullopt;
  return link;
}

std::vector<Node> row_of(const Node& node) {
  const auto row = as(node, "RowExpr");
  return row ? list_field(*row, "args") : std::vector<Node>{node};
}

std::optional<Exclusion> exclusion(const RewriteContext& context, const Node& node, const NameScope& scope,
                                   const NameScope& inner) {
  const auto link = excluded_link(node);
  Exclusion made{.link = *link, .tested = {}, .against = {}};
  for (const Node& value : row_of(*field(*link, "testexpr"))) {
    const auto column = context.names.column(value, scope);
    if (!column || column->depth != 0) return std::nullopt;
    made.tested.push_back(*column);
  }
  for (const Node& item : list_field(*select_of(*link), "targetList")) {
    const auto target = as(item, "ResTarget");
    const auto value = target ? field(*target, "val") : std::nullopt;
    const auto column = value ? context.names.column(*value, inner) : std::nullopt;
    if (!column || column->depth != 0) return std::nullopt;
    made.against.push_back(*column);
  }
  return made.tested.size() == made.against.size() ? std::optional(made) : std::nullopt;
}

std::string equalities(const std::vector<NamedColumn>& left, const std::vector<std::string>& right) {
  std::string sql;
  for (size_t i = 0; i < left.size(); ++i) sql += (sql.empty() ? "" : " AND ") + left[i].sql() + " = " + right[i];
  return sql;
}

// A name that neither query uses.
std::string free_alias(const NameScope& scope, const NameScope& inner) {
  std::string alias = "excluded_rows";
  while (scope.has_alias(alias) || inner.has_alias(alias)) alias += "_";
  return alias;
}

std::optional<std::string> not_exists(const RewriteContext& context, const Exclusion& excluded, const Span& brackets,
                                      const NameScope& scope, const NameScope& inner) {
  const Node select = *select_of(excluded.link);
  const bool hidden = std::ranges::any_of(
      excluded.tested, [&](const NamedColumn& column) { return inner.has_alias(column.source->alias); });
  const bool simple = has_only(select, {"targetList", "fromClause", "whereClause"}) && !hidden;
  if (const auto parts = simple ? parts_of(context, {select, brackets}) : std::nullopt) {
    std::vector<std::string> right;
    for (const NamedColumn& column : excluded.against) right.push_back(column.sql());
    return "NOT EXISTS (SELECT 1 " + parts->from + " WHERE " + (parts->where.empty() ? "" : parts->where + " AND ") +
           equalities(excluded.tested, right) + ")";
  }
  const std::string alias = free_alias(scope, inner);
  std::vector<std::string> right;
  std::string names;
  for (size_t i = 0; i < excluded.tested.size(); ++i) {
    const std::string name = "value" + std::to_string(i + 1);
    names += (names.empty() ? "" : ", ") + name;
    right.push_back(alias + "." + name);
  }
  return "NOT EXISTS (SELECT 1 FROM " + context.text.text(brackets) + " AS " + alias + " (" + names + ") WHERE " +
         equalities(excluded.tested, right) + ")";
}

}  // namespace

void not_in_to_not_exists(RewriteContext& context, const Node& node, const NameScope& scope, Position position) {
  const auto link = excluded_link(node);
  const auto select = link ? select_of(*link) : std::nullopt;
  const auto span = select && field(*link, "testexpr") ? context.text.expression(node) : std::nullopt;
  // NOT (x IN (SELECT …)): the last brackets of all are not the subquery's.
  const auto inside = span ? context.text.expression(list_field(*as(node, "BoolExpr"), "args")[0]) : std::nullopt;
  const auto brackets = span ? context.text.last_brackets(inside.value_or(*span)) : std::nullopt;
  if (!brackets || field(*select, "limitCount") || field(*select, "limitOffset")) return;
  const NameScope inner = context.names.scope_of(*select, &scope);
  const auto excluded = exclusion(context, node, scope, inner);
  if (!excluded || !context.names.is_stable(*select, inner)) return;
  auto sql = not_exists(context, *excluded, *brackets, scope, inner);
  if (!sql) return;
  if (position == Position::kValue) sql = "(" + *sql + ")";

  const auto where = field(*select, "whereClause");
  const auto groups = field(*select, "groupClause");  // GROUPING SETS give NULLs
  const bool grouped = groups && shape_of(*groups).find("GroupingSet") != std::string::npos;
  std::string known, unknown;
  const auto note = [](std::string& all, const std::string& name) { all += (all.empty() ? "" : ", ") + name; };
  for (const NamedColumn& column : excluded->tested)
    note(Names::is_never_null(column) ? known : unknown, column.name());
  for (const NamedColumn& column : excluded->against) {
    const bool never = !grouped && (Names::is_never_null(column) ||
                                    (where && excludes_null(conjuncts(*where), column, context.names, inner)));
    note(never ? known : unknown, column.name());
  }
  RewriteSite site{.rule = "not-in-to-not-exists",
                   .edits = {{*span, *sql}},
                   .reason =
                       "NOT EXISTS is an anti-join, by hash or index; NOT IN keeps the subquery's rows in memory, "
                       "and reads them again for every row where they do not fit"};
  if (unknown.empty())
    site.guarantee = "never NULL: " + known + "; and nothing in the subquery is volatile";
  else
    site.caveat = "may be NULL: " + unknown +
                  "; where the subquery has a NULL, NOT IN gives no rows at all, while this gives those without a "
                  "match, and rows whose own value is NULL";
  context.sites.push_back(std::move(site));
}

// -- x = (SELECT max(x) … WHERE y = outer.y) ---------------------------------------------------------------------

namespace {

struct Correlation {
  NamedColumn inner, outer;
  std::string outer_sql, inner_sql;
};

std::optional<Correlation> correlation(const RewriteContext& context, const Node& condition, const NameScope& inner) {
  const auto compared = operation(condition);
  if (!compared || compared->name != "=") return std::nullopt;
  for (const auto& [ours, theirs] :
       {std::pair{compared->left, compared->right}, std::pair{compared->right, compared->left}}) {
    const auto in = context.names.column(ours, inner), out = context.names.column(theirs, inner);
    if (!in || !out || in->depth != 0 || out->depth != 1) continue;
    // Groups are by the inner column's equality, which must be the one that compares.
    const bool same = in->column->name == out->column->name && in->source->table == out->source->table;
    const bool plain = in->column->type == out->column->type && in->column->ordered && in->column->category != 'S';
    const auto inner_sql = context.text.expression_text(ours), outer_sql = context.text.expression_text(theirs);
    if ((same || plain) && in->column->ordered && inner_sql && outer_sql)
      return Correlation{*in, *out, *outer_sql, *inner_sql};
  }
  return std::nullopt;
}

struct GroupedQuery {
  std::vector<Correlation> keys = {};
  std::string rest = {};  // conditions on the groups' rows
};

std::optional<GroupedQuery> grouped(const RewriteContext& context, const Node& select, const NameScope& inner) {
  const auto where = field(select, "whereClause");
  if (!where) return std::nullopt;
  GroupedQuery query;
  for (const Node& condition : conjuncts(*where)) {
    if (auto key = correlation(context, condition, inner)) {
      query.keys.push_back(std::move(*key));
      continue;
    }
    const auto columns = context.names.columns_in(condition, inner);
    const auto sql = columns ? context.text.expression_text(condition) : std::nullopt;
    if (!sql || std::ranges::any_of(*columns, [](const NamedColumn& column) { return column.depth != 0; }))
      return std::nullopt;
    const auto logic = as(condition, "BoolExpr");
    const bool either = logic && text_field(*logic, "boolop") == "OR_EXPR";
    query.rest += (query.rest.empty() ? "" : " AND ") + (either ? "(" + *sql + ")" : *sql);
  }
  return query.keys.empty() ? std::nullopt : std::optional(query);
}

bool is_extreme(const RewriteContext& context, const Node& target, const NameScope& inner) {
  const auto name = plain_call(target);
  if (name != "max" && name != "min") return false;
  const std::vector<Node> arguments = list_field(*as(target, "FuncCall"), "args");
  const auto column = arguments.size() == 1 ? context.names.column(arguments[0], inner) : std::nullopt;
  return column && column->depth == 0;
}

}  // namespace

void correlated_extreme(RewriteContext& context, const Node& node, const NameScope& scope) {
  auto compared = operation(node);
  if (!compared || compared->name != "=") return;
  if (!as(compared->right, "SubLink")) std::swap(compared->left, compared->right);
  const auto column = context.names.column(compared->left, scope);
  const auto subquery = column ? scalar_subquery(context, compared->right) : std::nullopt;
  const auto target = subquery ? only_target(subquery->select) : std::nullopt;
  if (!target || !has_only(subquery->select, {"targetList", "fromClause", "whereClause"})) return;
  const NameScope inner = context.names.scope_of(subquery->select, &scope);
  const std::vector<Node> from = list_field(subquery->select, "fromClause");
  if (from.size() != 1 || !as(from[0], "RangeVar") || !is_extreme(context, *target, inner)) return;
  const auto query = grouped(context, subquery->select, inner);
  const auto parts = query ? parts_of(context, *subquery) : std::nullopt;
  const auto span = parts ? context.text.expression(node) : std::nullopt;
  const auto extreme = span ? context.text.expression_text(*target) : std::nullopt;
  const auto value = extreme ? context.text.expression_text(compared->left) : std::nullopt;
  if (!value || !context.names.is_stable(subquery->select, inner)) return;
  std::string outer, keys;
  for (const Correlation& key : query->keys) {
    outer += key.outer_sql + ", ";
    keys += (keys.empty() ? "" : ", ") + key.inner_sql;
  }
  context.sites.push_back(
      {.rule = "correlated-extreme",
       .edits = {{*span, "(" + outer + *value + ") IN (SELECT " + keys + ", " + *extreme + " " + parts->from +
                             (query->rest.empty() ? "" : " WHERE " + query->rest) + " GROUP BY " + keys + ")"}},
       .reason = "all groups' extremes are found in one pass, where the subquery is run for every row",
       .guarantee = "each group has one extreme, a row of no group has none in either text, and as a condition NULL is "
                    "as good as false"});
}

// -- SELECT (SELECT max(x) … WHERE k = outer.k), (SELECT count(*) … WHERE k = outer.k) ----------------------------

namespace {

// Aggregates whose only row comes whatever is found, and that do not fail for a value.
constexpr std::string_view kAggregates[] = {"max", "min", "count", "sum", "avg"};

struct Aggregated {
  Subquery subquery;
  Span span;
  std::string sql;     // of the aggregate
  std::string column;  // the name that it has in the result; empty where it is a part of an expression
};

std::optional<Aggregated> aggregated(const RewriteContext& context, const Node& node, const NameScope& scope) {
  const auto subquery = scalar_subquery(context, node);
  const auto target = subquery ? only_target(subquery->select) : std::nullopt;
  const auto name = target ? plain_call(*target) : std::nullopt;
  if (!name || std::ranges::find(kAggregates, *name) == std::end(kAggregates) ||
      !has_only(subquery->select, {"targetList", "fromClause", "whereClause"}) ||
      !field(subquery->select, "fromClause"))
    return std::nullopt;
  const NameScope inner = context.names.scope_of(subquery->select, &scope);
  for (const Node& argument : list_field(*as(*target, "FuncCall"), "args")) {
    const auto column = context.names.column(argument, inner);
    if (!column || column->depth != 0) return std::nullopt;
  }
  const auto span = context.text.expression(node);
  const auto sql = context.text.expression_text(*target);
  if (!span || !sql || !context.names.is_stable(subquery->select, inner)) return std::nullopt;
  return Aggregated{*subquery, *span, *sql, ""};
}

void collect_aggregated(const RewriteContext& context, const Node& node, const NameScope& scope,
                        std::vector<Aggregated>& found) {
  if (node.is_array()) {
    for (const Node item : items(node)) collect_aggregated(context, item, scope, found);
  } else if (as(node, "SubLink")) {
    if (auto one = aggregated(context, node, scope)) found.push_back(std::move(*one));
  } else if (node.is_object()) {
    for (const auto& [key, value] : members(node)) collect_aggregated(context, value, scope, found);
  }
}

// Of a SELECT's targets; nothing where they would see what is added to FROM.
std::optional<std::vector<Aggregated>> aggregated_targets(const RewriteContext& context, const Node& select,
                                                          const NameScope& scope) {
  std::vector<Aggregated> found;
  for (const Node& item : list_field(select, "targetList")) {
    const auto target = as(item, "ResTarget");
    const auto value = target ? field(*target, "val") : std::nullopt;
    if (!value || context.names.computes_over_rows(*value)) return std::nullopt;
    const auto reference = as(*value, "ColumnRef");
    if (reference && list_field(*reference, "fields").size() == 1 && as(list_field(*reference, "fields")[0], "A_Star"))
      return std::nullopt;
    const size_t before = found.size();
    collect_aggregated(context, *value, scope, found);
    if (found.size() > before && as(*value, "SubLink") && !field(*target, "name"))
      found.back().column = *plain_call(*only_target(found.back().subquery.select));
  }
  return found;
}

// Where FROM ends.
std::optional<size_t> end_of_from(const RewriteContext& context, const Node& select) {
  const StatementText& text = context.text;
  const auto where = field(select, "whereClause");
  const std::vector<Node> order = list_field(select, "sortClause");
  const auto sorted = order.empty() ? std::nullopt : as(order[0], "SortBy");
  const auto next = where ? where : sorted ? field(*sorted, "node") : std::nullopt;
  if (!next)
    return field(select, "limitCount") || field(select, "limitOffset") ? std::nullopt : std::optional(text.whole().end);
  const auto span = text.expression(*next);
  if (!span) return std::nullopt;
  Span before = text.token_before(span->begin);
  while (text.text(before) == "(") before = text.token_before(before.begin);
  if (!where && text.is_keyword(before, "by")) before = text.token_before(before.begin);
  if (!text.is_keyword(before, where ? "where" : "order")) return std::nullopt;
  return text.token_before(before.begin).end;
}

}  // namespace

void subqueries_to_lateral(RewriteContext& context, const Node& select, const NameScope& scope) {
  if (!has_only(select, {"targetList", "fromClause", "whereClause", "sortClause", "limitCount", "limitOffset"}) ||
      !field(select, "fromClause"))
    return;
  const auto found = aggregated_targets(context, select, scope);
  const auto end = found && found->size() > 1 ? end_of_from(context, select) : std::nullopt;
  if (!end) return;
  // By the rows that they read.
  std::map<std::string, std::vector<const Aggregated*>> groups;
  for (const Aggregated& one : *found) {
    const auto where = field(one.subquery.select, "whereClause");
    groups[shape_of(*field(one.subquery.select, "fromClause")) + (where ? shape_of(*where) : "")].push_back(&one);
  }
  std::string alias = "per_row";  // nobody's name, not even of a column
  while (context.text.text(context.text.whole()).find(alias) != std::string::npos) alias += "_";
  RewriteSite site{.rule = "subqueries-to-lateral"};
  std::string added;
  int number = 0;
  for (const auto& [rows, members] : groups) {
    const auto parts = members.size() > 1 ? parts_of(context, members[0]->subquery) : std::nullopt;
    if (!parts) continue;
    const std::string source = alias + std::to_string(++number);
    std::string values;
    for (size_t i = 0; i < members.size(); ++i) {
      const std::string name = source + "_" + std::to_string(i + 1);
      values += (i == 0 ? "" : ", ") + members[i]->sql + " AS " + name;
      site.edits.push_back(
          {members[i]->span,
           source + "." + name + (members[i]->column.empty() ? "" : " AS " + identifier(members[i]->column))});
    }
    added += ", LATERAL (SELECT " + values + " " + parts->from +
             (parts->where.empty() ? "" : " WHERE " + parts->where) + ") AS " + source;
  }
  if (added.empty()) return;
  site.edits.push_back({{*end, *end}, added});
  site.reason = "subqueries that read the same rows one after the other become one, which reads them once";
  site.guarantee = "an aggregate without groups gives one row, whatever it finds, and nothing in them is volatile";
  context.sites.push_back(std::move(site));
}

}  // namespace cairn::tuner
