// Rewrites of a SELECT as a whole: OR over several columns, pages by OFFSET, SELECT *.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "tuner/rewrite/rewrite_rules.h"

namespace cairn::tuner {
namespace {

constexpr size_t kArmsMax = 5;
constexpr size_t kWideColumns = 6;
constexpr int kWideBytes = 200;

struct SortItem {
  Node node;  // what is sorted by
  bool descending = false;
  bool nulls_first = false;
};

std::optional<std::vector<SortItem>> sort_items(const Node& select) {
  std::vector<SortItem> sort;
  for (const Node& item : list_field(select, "sortClause")) {
    const auto by = as(item, "SortBy");
    const auto node = by ? field(*by, "node") : std::nullopt;
    if (!node || text_field(*by, "sortby_dir") == "SORTBY_USING") return std::nullopt;
    const bool descending = text_field(*by, "sortby_dir") == "SORTBY_DESC";
    const std::string nulls = text_field(*by, "sortby_nulls");
    sort.push_back({*node, descending, nulls == "SORTBY_NULLS_FIRST" || (descending && nulls != "SORTBY_NULLS_LAST")});
  }
  return sort;
}

bool has_parameter(const Node& node) {
  if (node.is_array()) {
    for (const Node item : items(node))
      if (has_parameter(item)) return true;
  } else if (node.is_object()) {
    for (const auto& [key, value] : members(node))
      if (key == "ParamRef" || has_parameter(value)) return true;
  }
  return false;
}

int highest_parameter(const Node& node) {
  int highest = 0;
  if (node.is_array()) {
    for (const Node item : items(node)) highest = std::max(highest, highest_parameter(item));
  } else if (node.is_object()) {
    for (const auto& [key, value] : members(node)) {
      int64_t number = 0;
      if (key == "number" && value.get(number) == simdjson::SUCCESS && number < 65536)
        highest = std::max(highest, static_cast<int>(number));
      highest = std::max(highest, highest_parameter(value));
    }
  }
  return highest;
}

int uses_of_parameter(const Node& node, int64_t wanted) {
  int uses = 0;
  if (node.is_array()) {
    for (const Node item : items(node)) uses += uses_of_parameter(item, wanted);
  } else if (node.is_object()) {
    if (const auto parameter = as(node, "ParamRef")) {
      int64_t number = 0;
      const auto found = field(*parameter, "number");
      return found && found->get(number) == simdjson::SUCCESS && number == wanted ? 1 : 0;
    }
    for (const auto& [key, value] : members(node)) uses += uses_of_parameter(value, wanted);
  }
  return uses;
}

bool is_star(const Node& value) {
  const auto reference = as(value, "ColumnRef");
  const std::vector<Node> fields = reference ? list_field(*reference, "fields") : std::vector<Node>();
  return !fields.empty() && as(fields.back(), "A_Star");
}

// Of a target, where it is written or a column's.
std::string name_of(const Node& target) {
  const std::string name = text_field(target, "name");
  const auto value = field(target, "val");
  const auto reference = value ? as(*value, "ColumnRef") : std::nullopt;
  const std::vector<std::string> parts = reference ? strings(*reference, "fields") : std::vector<std::string>();
  return name.empty() && !parts.empty() ? parts.back() : name;
}

// The query's own column that a sort key is. An output's name comes before a column's.
std::optional<NamedColumn> sorted_column(const RewriteContext& context, const Node& key, const Node& select,
                                         const NameScope& scope) {
  const auto column = context.names.column(key, scope);
  if (!column || column->depth != 0) return std::nullopt;
  const std::vector<std::string> parts = strings(*as(key, "ColumnRef"), "fields");
  for (const Node& item : list_field(select, "targetList")) {
    const auto target = as(item, "ResTarget");
    if (!target || parts.size() != 1 || name_of(*target) != parts[0]) continue;
    const auto output = context.names.column(*field(*target, "val"), scope);
    if (!output || *output != *column) return std::nullopt;
  }
  return column;
}

// -- OR to UNION ALL ---------------------------------------------------------------------------------------------

// The name under which a UNION's ORDER BY can speak of what this sorts by.
std::optional<std::string> output_name(const RewriteContext& context, const Node& key, const Node& select,
                                       const NameScope& scope) {
  const auto column = sorted_column(context, key, select, scope);
  if (!column) return std::nullopt;
  std::vector<std::string> names;
  std::optional<std::string> found;
  for (const Node& item : list_field(select, "targetList")) {
    const auto target = as(item, "ResTarget");
    const auto value = target ? field(*target, "val") : std::nullopt;
    if (!value) return std::nullopt;
    if (is_star(*value)) {
      if (scope.sources.size() != 1 || list_field(select, "targetList").size() != 1) return std::nullopt;
      return column->column->name;
    }
    names.push_back(name_of(*target));
    if (names.back().empty()) return std::nullopt;  // PostgreSQL chooses one, perhaps the same
    const auto output = context.names.column(*value, scope);
    if (output && *output == *column && !found) found = names.back();
  }
  return found && std::ranges::count(names, *found) == 1 ? found : std::nullopt;
}

// The ORDER BY as a UNION's; nothing where that cannot be said. `total`: no two rows tie in it.
std::optional<std::vector<Edit>> union_order(const RewriteContext& context, const Node& select, const NameScope& scope,
                                             bool& total) {
  const auto sort = sort_items(select);
  if (!sort) return std::nullopt;
  std::vector<Edit> edits;
  std::set<std::string> columns;
  for (const SortItem& item : *sort) {
    const auto name = output_name(context, item.node, select, scope);
    const auto span = name ? context.text.expression(item.node) : std::nullopt;
    if (!span) return std::nullopt;
    columns.insert(sorted_column(context, item.node, select, scope)->column->name);
    edits.push_back({*span, identifier(*name)});
  }
  total = false;
  if (scope.sources.size() == 1) {
    const std::vector<std::string> key = key_of(scope.sources[0]);
    total = !key.empty() && std::ranges::all_of(key, [&](const std::string& name) { return columns.contains(name); });
  }
  return edits;
}

// The arms of an OR that no single index could serve: comparisons of different columns.
std::vector<Node> separate_arms(const RewriteContext& context, const Node& condition, const NameScope& scope) {
  const auto logic = as(condition, "BoolExpr");
  if (!logic || text_field(*logic, "boolop") != "OR_EXPR") return {};
  const std::vector<Node> arms = list_field(*logic, "args");
  std::set<std::set<std::string>> different;
  for (const Node& arm : arms) {
    const auto columns = context.names.columns_in(arm, scope);
    if (!columns || columns->empty()) return {};
    std::set<std::string> names;
    for (const NamedColumn& column : *columns) names.insert(column.sql());
    different.insert(names);
  }
  return arms.size() <= kArmsMax && different.size() > 1 ? arms : std::vector<Node>();
}

std::optional<std::string> union_of(const StatementText& text, const Span& body, const Span& either,
                                    const std::vector<Node>& arms) {
  std::vector<std::string> conditions;
  for (const Node& arm : arms) {
    const auto sql = text.expression_text(arm);
    if (!sql) return std::nullopt;
    conditions.push_back("(" + *sql + ")");
  }
  std::string all;
  for (size_t i = 0; i < conditions.size(); ++i) {
    std::string condition = conditions[i];
    for (size_t before = 0; before < i; ++before) condition += " AND " + conditions[before] + " IS NOT TRUE";
    all += (all.empty() ? "" : "\nUNION ALL\n") + text.text({body.begin, either.begin}) + condition +
           text.text({either.end, body.end});
  }
  return all;
}

}  // namespace

void or_to_union(RewriteContext& context, const Node& select, const NameScope& scope) {
  const auto where = field(select, "whereClause");
  if (!where ||
      !has_only(select, {"targetList", "fromClause", "whereClause", "sortClause", "limitCount", "limitOffset"}))
    return;
  std::vector<Node> arms;
  std::optional<Node> either;
  for (const Node& condition : conjuncts(*where)) {
    arms = separate_arms(context, condition, scope);
    either = condition;
    if (!arms.empty()) break;
  }
  const auto targets = field(select, "targetList");
  if (arms.empty() || !targets || has_parameter(*targets) || context.names.computes_over_rows(*targets) ||
      !context.names.is_stable(select, scope))
    return;
  const auto either_span = context.text.expression(*either), where_span = context.text.expression(*where);
  bool total = false;
  const auto order = union_order(context, select, scope, total);
  const bool limited = field(select, "limitCount") || field(select, "limitOffset");
  if (!either_span || !where_span || !order || (limited && !total)) return;
  // WHERE (a OR b): with the brackets, whose sense would change with what follows.
  Span body{context.text.whole().begin, where_span->end};
  while (context.text.text(context.text.token_after(body.end)) == ")")
    body.end = context.text.token_after(body.end).end;
  const auto arms_sql = union_of(context.text, body, *either_span, arms);
  if (!arms_sql) return;
  RewriteSite site{.rule = "or-to-union",
                   .edits = {{body, *arms_sql}},
                   .reason = "each arm has conditions on columns of its own and may use its own index",
                   .guarantee =
                       "each row is in exactly one arm: of the first condition that is true for it; nothing in "
                       "the statement is volatile"};
  if (!order->empty())
    site.guarantee += limited ? "; the order has no ties" : "; rows that tie may come in another order";
  site.edits.insert(site.edits.end(), order->begin(), order->end());
  context.sites.push_back(std::move(site));
}

// -- OFFSET to keyset --------------------------------------------------------------------------------------------

namespace {

struct PageKey {
  std::string sql = {};
  const Column* column = nullptr;
  bool descending = false;
  std::string nulls = {};  // where they are not in their usual place
  std::string parameter = {};
};

// (a, b) < ($1, $2), or where directions differ a < $1 OR (a = $1 AND b > $2), bounded by the first key.
std::string after_page(const std::vector<PageKey>& keys) {
  const bool same = std::ranges::all_of(keys, [&](const PageKey& key) { return key.descending == keys[0].descending; });
  const auto compared = [](const PageKey& key, const char* more) {
    return key.sql + (key.descending ? " <" : " >") + more + " " + key.parameter;
  };
  if (keys.size() == 1) return compared(keys[0], "");
  std::string sql, values;
  if (same) {
    for (const PageKey& key : keys) {
      sql += (sql.empty() ? "(" : ", ") + key.sql;
      values += (values.empty() ? "(" : ", ") + key.parameter;
    }
    return sql + ") " + (keys[0].descending ? "<" : ">") + " " + values + ")";
  }
  std::string equal;
  for (const PageKey& key : keys) {
    sql += (sql.empty() ? "" : " OR ") + (equal.empty() ? compared(key, "") : "(" + equal + compared(key, "") + ")");
    equal += key.sql + " = " + key.parameter + " AND ";
  }
  return compared(keys[0], "=") + " AND (" + sql + ")";
}

// The sort keys and what of the table's key is not among them.
std::optional<std::vector<PageKey>> page_keys(const RewriteContext& context, const Node& select,
                                              const NameScope& scope) {
  const auto sort = sort_items(select);
  const std::vector<std::string> unique = key_of(scope.sources[0]);
  if (!sort || sort->empty() || unique.empty()) return std::nullopt;
  std::vector<PageKey> keys;
  for (const SortItem& item : *sort) {
    const auto column = sorted_column(context, item.node, select, scope);
    const auto sql = column ? context.text.expression_text(item.node) : std::nullopt;
    if (!sql) return std::nullopt;
    const bool usual = item.nulls_first == item.descending;
    keys.push_back({.sql = *sql,
                    .column = column->column,
                    .descending = item.descending,
                    .nulls = usual              ? ""
                             : item.nulls_first ? " NULLS FIRST"
                                                : " NULLS LAST"});
  }
  const bool qualified = keys[0].sql.find('.') != std::string::npos;
  for (const std::string& name : unique) {
    const auto is_it = [&](const PageKey& key) { return key.column->name == name; };
    if (std::ranges::any_of(keys, is_it)) continue;
    keys.push_back({.sql = (qualified ? identifier(scope.sources[0].alias) + "." : "") + identifier(name),
                    .column = scope.sources[0].table->column(name),
                    .descending = keys[0].descending});
  }
  return keys;
}

// A placeholder that OFFSET alone had is free for a key.
void number_parameters(std::vector<PageKey>& keys, const Node& offset, const Node& body) {
  int next = highest_parameter(body);
  int64_t freed = 0;
  if (const auto parameter = as(offset, "ParamRef")) {
    const auto number = field(*parameter, "number");
    if (number && number->get(freed) == simdjson::SUCCESS && uses_of_parameter(body, freed) != 1) freed = 0;
  }
  for (PageKey& key : keys) {
    key.parameter = "$" + (freed > 0 ? std::to_string(freed) : std::to_string(++next));
    freed = 0;
  }
}

std::string page_caveat(const std::vector<PageKey>& keys, const Node& select, const RewriteContext& context,
                        const NameScope& scope) {
  std::string columns, values, nullable, missing;
  const auto note = [](std::string& all, const std::string& one) { all += (all.empty() ? "" : ", ") + one; };
  for (const PageKey& key : keys) {
    note(columns, key.column->name);
    note(values, key.parameter);
    if (!key.column->not_null) note(nullable, key.column->name);
    bool returned = false;
    for (const Node& item : list_field(select, "targetList"))
      if (const auto target = as(item, "ResTarget"))
        if (const auto value = field(*target, "val")) {
          const auto output = context.names.column(*value, scope);
          returned |= is_star(*value) || (output && output->column == key.column);
        }
    if (!returned) note(missing, key.column->name);
  }
  std::string caveat = "the caller changes: it gives " + columns + " of the last row of the page before as " + values +
                       " (the first page has no such condition), and can go on to the next page only";
  if (!missing.empty()) caveat += "; the page must return " + missing + " too";
  if (!nullable.empty()) caveat += "; rows where " + nullable + " is NULL are on no page";
  return caveat;
}

}  // namespace

void offset_to_keyset(RewriteContext& context, const Node& select, const NameScope& scope) {
  const auto offset = field(select, "limitOffset"), limit = field(select, "limitCount");
  const StatementText& text = context.text;
  if (!offset || !limit || scope.sources.size() != 1 || scope.sources[0].table == nullptr ||
      !has_only(select, {"targetList", "fromClause", "whereClause", "sortClause", "limitCount", "limitOffset"}))
    return;
  const auto whole_number = text.integer(*offset);
  const auto offset_span = text.expression(*offset);
  auto keys = page_keys(context, select, scope);
  const std::vector<Node> sort = list_field(select, "sortClause");
  if (!keys || !offset_span || (whole_number && *whole_number <= 0)) return;
  number_parameters(*keys, *offset, text.body());
  // ORDER BY … up to the last key's direction, and OFFSET n [ROWS].
  const auto first = text.expression(*field(*as(sort.front(), "SortBy"), "node"));
  if (!first) return;
  Span by = text.token_before(first->begin);
  const Span order = text.token_before(by.begin);
  Span before = text.token_before(offset_span->begin);
  Span removed{before.begin, offset_span->end};
  const Span rows = text.token_after(offset_span->end);
  if (text.is_keyword(rows, "row") || text.is_keyword(rows, "rows")) removed.end = rows.end;
  if (!text.is_keyword(by, "by") || !text.is_keyword(order, "order") || !text.is_keyword(before, "offset")) return;

  std::vector<Edit> edits{{removed, ""}};
  std::string condition = after_page(*keys);
  if (const auto where = field(select, "whereClause")) {
    const auto span = text.expression(*where);
    if (!span) return;
    const auto logic = as(*where, "BoolExpr");
    const bool either =
        logic && text_field(*logic, "boolop") == "OR_EXPR" && text.text(text.token_before(span->begin)) != "(";
    edits.push_back({*span, (either ? "(" : "") + text.text(*span) + (either ? ")" : "") + " AND " + condition});
    if (logic && text_field(*logic, "boolop") == "OR_EXPR" && !either)
      return;  // inside of brackets it would be an arm's
  } else {
    edits.push_back({{order.begin, order.begin}, "WHERE " + condition + " "});
  }
  std::string ordering;
  for (const PageKey& key : *keys)
    ordering += (ordering.empty() ? "" : ", ") + key.sql + (key.descending ? " DESC" : "") + key.nulls;
  // After the last key: LIMIT, OFFSET or FETCH, whichever comes first.
  const auto limit_span = text.expression(*limit);
  if (!limit_span) return;
  const Span limit_word = text.token_before(limit_span->begin);
  const bool plain_limit = text.is_keyword(limit_word, "limit");
  if (!plain_limit) return;
  const size_t end = std::min(limit_word.begin, removed.begin);
  edits.push_back({{order.begin, end}, "ORDER BY " + ordering + (removed.begin < limit_word.begin ? "" : " ")});
  context.sites.push_back(
      {.rule = "offset-to-keyset",
       .edits = std::move(edits),
       .reason =
           "OFFSET reads and throws away all rows of the pages before; from the last row on, an index finds the next",
       .caveat = page_caveat(*keys, select, context, scope)});
}

// -- SELECT * ----------------------------------------------------------------------------------------------------

void star_to_columns(RewriteContext& context, const Node& select, const NameScope& scope) {
  const std::vector<Node> targets = list_field(select, "targetList");
  const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
  const auto value = target ? field(*target, "val") : std::nullopt;
  if (!value || !is_star(*value) || scope.sources.size() != 1 || scope.sources[0].table == nullptr ||
      !has_only(select, {"targetList", "fromClause", "whereClause", "sortClause", "limitCount", "limitOffset"}))
    return;
  const Table& table = *scope.sources[0].table;
  int width = 0;
  for (const Column& column : table.columns) width += column.width;
  if (table.columns.size() < kWideColumns && width < kWideBytes) return;
  std::set<std::string> used;
  for (const char* clause : {"whereClause", "sortClause"})
    if (const auto part = field(select, clause)) {
      const auto columns = context.names.columns_in(*part, scope);
      if (!columns) return;
      for (const NamedColumn& column : *columns) used.insert(column.column->name);
    }
  const auto span = context.text.expression(*value);
  if (used.empty() || !span) return;
  for (const Index& index : table.indexes) {
    std::vector<std::string> held = index.definition.include;
    for (const IndexKey& key : index.definition.keys) held.push_back(key.is_expression ? std::string() : key.text);
    const auto holds = [&](const std::string& name) { return std::ranges::find(held, name) != held.end(); };
    if (index.definition.method != "btree" || !index.valid || !index.definition.predicate.empty() ||
        held.size() >= table.columns.size() || !std::ranges::all_of(used, holds))
      continue;
    std::string names;
    for (const Column& column : table.columns)
      if (holds(column.name)) names += (names.empty() ? "" : ", ") + identifier(column.name);
    context.sites.push_back(
        {.rule = "star-to-columns",
         .edits = {{*span, names}},
         .reason = "the index " + identifier(index.name) +
                   " holds these columns: they are read from it alone, without " + "the table",
         .caveat = "an example, with the columns of that index: only for a caller that needs no others"});
    return;
  }
}

}  // namespace cairn::tuner
