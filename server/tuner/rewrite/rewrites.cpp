#include "tuner/rewrite/rewrites.h"

#include <algorithm>
#include <map>

#include "tuner/rewrite/rewrite_rules.h"

namespace cairn::tuner {
namespace {

// Shows every query and condition of a statement to the rules.
class Walk {
 public:
  explicit Walk(RewriteContext& context) : context_(context) {}

  void statement(const Node& body) {
    const NameScope nothing;
    if (const auto select = as(body, "SelectStmt")) {
      const NameScope scope = context_.names.scope_of(*select, nullptr);
      or_to_union(context_, *select, scope);
      offset_to_keyset(context_, *select, scope);
      star_to_columns(context_, *select, scope);
      subqueries_to_lateral(context_, *select, scope);
      query(*select, nullptr);
    } else if (const auto insert = as(body, "InsertStmt")) {
      with(*insert, nothing);
      const auto source = field(*insert, "selectStmt");
      const auto select = source ? as(*source, "SelectStmt") : std::nullopt;
      NameScope scope;
      context_.names.add_with(*insert, scope);
      if (select) query(*select, &scope);
    }
    for (const char* kind : {"UpdateStmt", "DeleteStmt"})
      if (const auto write = as(body, kind)) modification(*write);
  }

 private:
  void modification(const Node& write) {
    NameScope scope;
    context_.names.add_with(write, scope);
    with(write, scope);
    if (const auto target = field(write, "relation")) {
      // As in FROM it is {"RangeVar": {…}}.
      scope.sources.push_back(target_of(*target));
    }
    for (const char* clause : {"fromClause", "usingClause"})
      for (const Node& item : list_field(write, clause)) {
        context_.names.add_source(item, false, scope);
        source(item, scope, scope);
      }
    if (const auto where = field(write, "whereClause")) expression(*where, scope, Position::kCondition);
  }

  ScopeSource target_of(const Node& range) const {
    const std::string name = text_field(range, "relname");
    const auto alias = field(range, "alias");
    const Table* table = context_.names.catalog().find(text_field(range, "schemaname"), name);
    return {.alias = alias ? text_field(*alias, "aliasname") : name,
            .table = table != nullptr && table->indexable() ? table : nullptr,
            .only = !field(range, "inh")};
  }

  // The queries of its WITH, which see each other but not its FROM.
  void with(const Node& statement, const NameScope& scope) {
    const auto clause = field(statement, "withClause");
    if (!clause) return;
    NameScope apart{.outer = scope.outer, .sources = {}, .with = scope.with};
    context_.names.add_with(statement, apart);
    for (const Node& item : list_field(*clause, "ctes"))
      if (const auto cte = as(item, "CommonTableExpr"))
        if (const auto body = field(*cte, "ctequery"))
          if (const auto select = as(*body, "SelectStmt")) query(*select, &apart);
  }

  void query(const Node& select, const NameScope* outer) {
    const NameScope scope = context_.names.scope_of(select, outer);
    const NameScope apart{.outer = outer, .sources = {}, .with = scope.with};
    with(select, scope);
    const auto left = field(select, "larg"), right = field(select, "rarg");
    if (left && right) {
      query(*left, &apart);
      query(*right, &apart);
      return;
    }
    for (const Node& item : list_field(select, "fromClause")) source(item, scope, apart);
    for (const char* clause : {"whereClause", "havingClause"})
      if (const auto condition = field(select, clause)) expression(*condition, scope, Position::kCondition);
    if (field(select, "groupClause")) return;  // there the same expression may have to stand twice
    for (const Node& item : list_field(select, "targetList"))
      if (const auto target = as(item, "ResTarget"))
        if (const auto value = field(*target, "val")) expression(*value, scope, Position::kValue);
  }

  void source(const Node& item, const NameScope& scope, const NameScope& apart) {
    if (const auto join = as(item, "JoinExpr")) {
      for (const char* side : {"larg", "rarg"})
        if (const auto part = field(*join, side)) source(*part, scope, apart);
      if (const auto quals = field(*join, "quals")) expression(*quals, scope, Position::kCondition);
    } else if (const auto derived = as(item, "RangeSubselect")) {
      const auto subquery = field(*derived, "subquery");
      const auto select = subquery ? as(*subquery, "SelectStmt") : std::nullopt;
      if (select) query(*select, field(*derived, "lateral") ? &scope : &apart);
    }
  }

  void expression(const Node& node, const NameScope& scope, Position position) {
    if (node.is_array()) {
      for (const Node item : items(node)) expression(item, scope, Position::kValue);
      return;
    }
    if (!node.is_object()) return;
    if (const auto logic = as(node, "BoolExpr")) {
      not_in_to_not_exists(context_, node, scope, position);
      const bool all = text_field(*logic, "boolop") == "AND_EXPR" && position == Position::kCondition;
      for (const Node& argument : list_field(*logic, "args"))
        expression(argument, scope, all ? Position::kCondition : Position::kOperand);
      return;
    }
    if (const auto link = as(node, "SubLink")) {
      if (const auto test = field(*link, "testexpr")) expression(*test, scope, Position::kValue);
      const auto body = field(*link, "subselect");
      if (const auto select = body ? as(*body, "SelectStmt") : std::nullopt) query(*select, &scope);
      return;
    }
    if (as(node, "A_Expr")) {
      function_to_range(context_, node, scope, position);
      cast_on_column(context_, node, scope);
      count_to_exists(context_, node, scope, position);
      if (position == Position::kCondition) correlated_extreme(context_, node, scope);
    }
    for (const auto& [key, value] : members(node)) expression(value, scope, Position::kValue);
  }

  RewriteContext& context_;
};

double largest_table(const Node& node, const Catalog& catalog) {
  double rows = 0;
  if (node.is_array()) {
    for (const Node item : items(node)) rows = std::max(rows, largest_table(item, catalog));
  } else if (node.is_object()) {
    if (const std::string name = text_field(node, "relname"); !name.empty())
      if (const Table* table = catalog.find(text_field(node, "schemaname"), name)) rows = table->rows;
    for (const auto& [key, value] : members(node)) rows = std::max(rows, largest_table(value, catalog));
  }
  return rows;
}

void add_sentence(std::string& all, const std::string& sentence) {
  if (all.find(sentence) == std::string::npos) all += (all.empty() ? "" : "; ") + sentence;
}

// All places of one rule in one new text, as far as they do not overlap; those without a guarantee in one of their own.
std::vector<Rewrite> combined(const StatementText& text, const std::vector<RewriteSite>& sites) {
  std::map<std::pair<std::string, bool>, std::pair<std::vector<Edit>, Rewrite>> groups;
  for (const RewriteSite& site : sites) {
    auto& [edits, rewrite] = groups[{site.rule, site.guarantee.empty()}];
    std::vector<Edit> together = edits;
    together.insert(together.end(), site.edits.begin(), site.edits.end());
    const auto result = text.edited(together);
    if (!result) continue;
    edits = std::move(together);
    rewrite.rule = site.rule;
    rewrite.text = *result;
    add_sentence(rewrite.reason, site.reason);
    add_sentence(rewrite.guarantee, site.guarantee);
    add_sentence(rewrite.caveat, site.caveat);
  }
  std::vector<Rewrite> rewrites;
  for (auto& [key, group] : groups)
    if (!group.second.text.empty()) rewrites.push_back(std::move(group.second));
  return rewrites;
}

}  // namespace

std::vector<Rewrite> propose_rewrites(const Catalog& catalog, const std::string& statement, double rows_min) {
  const auto text = StatementText::read(statement);
  // Where the user's own functions come before PostgreSQL's, a name tells nothing.
  const auto builtin = std::ranges::find(catalog.search_path, "pg_catalog");
  const bool hidden = builtin != catalog.search_path.end() && builtin != catalog.search_path.begin();
  if (!text || hidden || largest_table(text->body(), catalog) < rows_min) return {};
  const Names names(catalog);
  std::vector<RewriteSite> sites;
  RewriteContext context{*text, names, sites};
  Walk(context).statement(text->body());
  return combined(*text, sites);
}

}  // namespace cairn::tuner
