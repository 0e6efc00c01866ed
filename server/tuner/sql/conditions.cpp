// Names and conditions: which column a reference means, and what WHERE and ON ask of it.
#include <algorithm>
#include <utility>

#include "tuner/sql/columns_reader.h"

namespace cairn::tuner::reading {
namespace {

constexpr std::string_view kCommuted[][2] = {{"<", ">"},   {"<=", ">="}, {">", "<"},   {">=", "<="}, {"@>", "<@"},
                                             {"<@", "@>"}, {"=", "="},   {"&&", "&&"}, {"%", "%"},   {"@@", "@@"}};

std::string commuted(const std::string& op) {
  for (const auto& [from, to] : kCommuted)
    if (from == op) return std::string(to);
  return {};
}

bool is_volatile(std::string_view function) {
  constexpr std::string_view kVolatile[] = {"random", "clock_timestamp", "nextval", "gen_random_uuid", "timeofday"};
  return std::ranges::find(kVolatile, function) != std::end(kVolatile);
}

std::optional<Test> test_of(const std::string& op, const Expression& operand) {
  if (op == "=") return Test::kEqual;
  if (op == "<" || op == "<=" || op == ">" || op == ">=") return Test::kRange;
  if (op == "@>" || op == "@?" || (op == "@@" && operand.type == "jsonb")) return Test::kContains;
  if (op == "<@") return Test::kContained;
  if (op == "&&") return Test::kOverlap;
  if (op == "@@" && operand.type == "tsvector") return Test::kTextSearch;
  if (op == "?" || op == "?|" || op == "?&") return Test::kHasKey;
  if (op == "~" || op == "~*" || (op == "%" && operand.category == 'S')) return Test::kPattern;
  return std::nullopt;
}

}  // namespace

// Takes the node as written in a query: the column of the scope's tables, then of the scopes around.
Resolved Reader::resolve(const Node& reference, const Scope& scope) const {
  const std::vector<std::string> parts = strings(reference, "fields");
  if (parts.empty() || parts.size() != list_field(reference, "fields").size()) return {};
  const std::string& name = parts.back();
  for (const Scope* level = &scope; level != nullptr; level = level->outer) {
    Resolved found{.outer = level != &scope};
    bool opaque = false;
    for (const Source& source : level->sources) {
      const std::string& alias = source.alias;
      if (parts.size() >= 2 && parts[parts.size() - 2] != alias) continue;
      if (source.table != nullptr && source.table->indexable()) {
        if (const Column* column = source.table->column(name); column != nullptr && found.owner == Owner::kNobody)
          found.owner = Owner::kUse, found.reference = {source.use, column};
      } else if (const auto column = source.columns.find(name); column != source.columns.end()) {
        if (found.owner != Owner::kNobody) continue;
        found.owner = column->second ? Owner::kUse : Owner::kOther;
        if (column->second) found.reference = *column->second;
      } else {
        opaque = true;
      }
    }
    if (found.owner != Owner::kNobody) return found;
    if (opaque) return {.owner = Owner::kOther, .outer = level != &scope};
  }
  return {};
}

std::optional<std::pair<size_t, Expression>> Reader::operand(const Node& node, const Scope& scope) const {
  std::optional<size_t> use;
  bool mixed = false;
  const FindColumn find = [&](const Node& reference) -> const Column* {
    const Resolved found = resolve(reference, scope);
    if (found.owner != Owner::kUse || found.outer) return nullptr;
    if (use && *use != found.reference.use) mixed = true;
    use = found.reference.use;
    return found.reference.column;
  };
  auto expression = indexable(node, find);
  if (!expression || mixed || !use) return std::nullopt;
  return std::pair{*use, std::move(*expression)};
}

std::optional<bool> Reader::value(const Node& node, size_t use, const Scope& scope) const {
  if (node.is_array()) {
    bool join = false;
    for (const Node item : items(node)) {
      const auto part = value(item, use, scope);
      if (!part) return std::nullopt;
      join = join || *part;
    }
    return join;
  }
  if (!node.is_object()) return false;
  if (const auto reference = as(node, "ColumnRef")) {
    const Resolved found = resolve(*reference, scope);
    if (found.owner == Owner::kUse && !found.outer && found.reference.use == use) return std::nullopt;
    return true;
  }
  if (as(node, "SubLink")) return false;  // a scalar, computed once or for each row of the others
  if (const auto function = as(node, "FuncCall")) {
    const std::vector<std::string> name = strings(*function, "funcname");
    if (!name.empty() && is_volatile(name.back())) return std::nullopt;
  }
  bool join = false;
  for (const auto& [key, child] : members(node)) {
    const auto part = value(child, use, scope);
    if (!part) return std::nullopt;
    join = join || *part;
  }
  return join;
}

void Reader::add(size_t use, Predicate predicate) {
  if (arm_ != nullptr)
    (*arm_)[use].push_back(std::move(predicate));
  else
    uses_[use].predicates.push_back(std::move(predicate));
}

// Columns that are read anywhere, subqueries and windows, whatever the expression around them is.
void Reader::visit(const Node& node, const Scope& scope) {
  if (node.is_array()) {
    for (const Node item : items(node)) visit(item, scope);
    return;
  }
  if (!node.is_object()) return;
  if (const auto reference = as(node, "ColumnRef")) {
    const Resolved found = resolve(*reference, scope);
    if (found.owner == Owner::kUse) {
      uses_[found.reference.use].columns.insert(found.reference.column->name);
      return;
    }
    const std::vector<std::string> parts = strings(*reference, "fields");
    for (const Source& source : scope.sources)  // SELECT t FROM t
      if (parts.size() == 1 && source.table != nullptr && source.table->indexable() && source.alias == parts[0])
        uses_[source.use].whole_row = true;
    return;
  }
  if (const auto link = as(node, "SubLink")) return sublink(*link, scope);
  if (const auto function = as(node, "FuncCall"))
    if (const auto over = field(*function, "over")) window(*over, scope);
  for (const auto& [key, child] : members(node)) visit(child, scope);
}

void Reader::sublink(const Node& link, const Scope& scope) {
  const auto test = field(link, "testexpr");
  if (test) visit(*test, scope);
  const auto subquery = field(link, "subselect");
  const auto select = subquery ? as(*subquery, "SelectStmt") : std::nullopt;
  if (!select) return;
  const size_t before = uses_.size();
  query(*select, &scope, false);
  if (text_field(link, "subLinkType") == "EXISTS_SUBLINK" && uses_.size() > before) uses_[before].limited = true;
  // x IN (SELECT y …): each may be looked up by the other.
  const std::vector<Node> targets = list_field(*select, "targetList");
  const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
  const auto inner = target ? field(*target, "val") : std::nullopt;
  const auto reference = inner ? as(*inner, "ColumnRef") : std::nullopt;
  if (!test || !reference || text_field(link, "subLinkType") != "ANY_SUBLINK" || field(link, "operName")) return;
  const std::vector<std::string> parts = strings(*reference, "fields");
  for (size_t use = before; use < uses_.size() && !parts.empty(); ++use)
    if (const Column* column = uses_[use].table->column(parts.back())) {
      Expression expression{column->name, true, column->type, column->category, {column->name}};
      uses_[use].predicates.push_back({.operand = std::move(expression), .test = Test::kEqual, .join = true});
      break;
    }
}

void Reader::condition(const Node& node, const Scope& scope) {
  if (const auto logic = as(node, "BoolExpr")) {
    const std::vector<Node> arguments = list_field(*logic, "args");
    const std::string op = text_field(*logic, "boolop");
    if (op == "AND_EXPR")
      for (const Node& argument : arguments) condition(argument, scope);
    else if (op == "OR_EXPR")
      either(arguments, scope);
    else if (arguments.size() == 1)
      boolean(arguments[0], false, scope);
  } else if (const auto expression = as(node, "A_Expr")) {
    comparison(*expression, scope);
  } else if (const auto test = as(node, "NullTest")) {
    const auto argument = field(*test, "arg");
    if (const auto tested = argument ? operand(*argument, scope) : std::nullopt)
      add(tested->first, {.operand = tested->second,
                          .test = text_field(*test, "nulltesttype") == "IS_NULL" ? Test::kNull : Test::kNotNull});
  } else if (const auto truth = as(node, "BooleanTest")) {
    const std::string kind = text_field(*truth, "booltesttype");
    const auto argument = field(*truth, "arg");
    if (argument && (kind == "IS_TRUE" || kind == "IS_FALSE")) boolean(*argument, kind == "IS_TRUE", scope);
  } else if (const auto link = as(node, "SubLink")) {
    const auto test = field(*link, "testexpr");
    const auto tested = test && !field(*link, "operName") ? operand(*test, scope) : std::nullopt;
    if (tested && text_field(*link, "subLinkType") == "ANY_SUBLINK")
      add(tested->first, {.operand = tested->second, .test = Test::kEqual, .join = true});
  } else {
    boolean(node, true, scope);
  }
}

// WHERE active, WHERE NOT active.
void Reader::boolean(const Node& node, bool truth, const Scope& scope) {
  const auto tested = operand(node, scope);
  if (!tested || tested->second.type != "bool") return;
  add(tested->first, {.operand = tested->second,
                      .test = Test::kEqual,
                      .constant = Literal{.sql = truth ? "TRUE" : "FALSE", .text = truth ? "t" : "f"}});
}

// An OR over one operand is an IN; else each arm may be looked up for itself, if every arm can be.
void Reader::either(const std::vector<Node>& arms, const Scope& scope) {
  std::vector<std::map<size_t, std::vector<Predicate>>> parts;
  auto* const around = arm_;
  for (const Node& arm : arms) {
    parts.emplace_back();
    arm_ = &parts.back();
    condition(arm, scope);
    arm_ = around;
    if (parts.back().empty()) return;
  }
  const auto first = parts.front().begin();
  const auto same = [&](const auto& part) {
    return part.size() == 1 && part.begin()->first == first->first && part.begin()->second.size() == 1 &&
           part.begin()->second[0].operand.sql == first->second[0].operand.sql &&
           (part.begin()->second[0].test == Test::kEqual || part.begin()->second[0].test == Test::kIn);
  };
  if (std::ranges::all_of(parts, same)) {
    add(first->first, {.operand = first->second[0].operand, .test = Test::kIn});
    return;
  }
  if (around != nullptr) return;
  for (auto& part : parts)
    for (auto& [use, predicates] : part)
      arms_.push_back({use, {.table = uses_[use].table, .predicates = std::move(predicates)}});
}

void Reader::comparison(const Node& node, const Scope& scope) {
  const auto left = field(node, "lexpr"), right = field(node, "rexpr");
  const std::vector<std::string> names = strings(node, "name");
  if (!left || !right || names.empty()) return;
  const std::string kind = text_field(node, "kind");
  const std::string& op = names.back();
  if (kind == "AEXPR_LIKE" || kind == "AEXPR_ILIKE") return like(node, scope);
  if (kind == "AEXPR_OP" && (op == "~~" || op == "~~*")) return like(node, scope);
  if (kind == "AEXPR_OP") {
    if (as(*left, "RowExpr") && as(*right, "RowExpr")) return rows(*left, op, *right, scope);
    compare(*left, op, *right, scope);
    const std::string other = commuted(op);
    if (!other.empty()) compare(*right, other, *left, scope);
    return;
  }
  const auto tested = operand(*left, scope);
  const auto known = tested ? value(*right, tested->first, scope) : std::nullopt;
  if (!known) return;
  if (kind == "AEXPR_BETWEEN") {
    add(tested->first, {.operand = tested->second, .test = Test::kRange, .join = *known});
  } else if (op == "=" && kind == "AEXPR_OP_ANY") {
    add(tested->first, {.operand = tested->second, .test = Test::kIn, .join = *known});
  } else if (op == "=" && kind == "AEXPR_IN") {
    const auto list = as(*right, "List");
    const std::vector<Node> items = list ? list_field(*list, "items") : std::vector<Node>();
    if (items.size() == 1)
      add(tested->first,
          {.operand = tested->second, .test = Test::kEqual, .join = *known, .constant = literal(items[0])});
    else
      add(tested->first, {.operand = tested->second, .test = Test::kIn, .join = *known});
  }
}

void Reader::compare(const Node& left, const std::string& op, const Node& right, const Scope& scope) {
  const auto tested = operand(left, scope);
  const auto test = tested ? test_of(op, tested->second) : std::nullopt;
  const auto known = test ? value(right, tested->first, scope) : std::nullopt;
  if (!known) return;
  auto constant = literal(right);
  if (constant && constant->is_null) return;
  add(tested->first, {.operand = tested->second, .test = *test, .join = *known, .constant = std::move(constant)});
}

// (a, b) = ($1, $2) is two equalities, (a, b) < ($1, $2) a range of a.
void Reader::rows(const Node& left, const std::string& op, const Node& right, const Scope& scope) {
  const std::vector<Node> ours = list_field(*as(left, "RowExpr"), "args");
  const std::vector<Node> theirs = list_field(*as(right, "RowExpr"), "args");
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    compare(ours[i], op, theirs[i], scope);
    if (op != "=") break;
  }
}

void Reader::like(const Node& node, const Scope& scope) {
  const auto left = field(node, "lexpr"), right = field(node, "rexpr");
  const std::string op = strings(node, "name").back();
  if (op != "~~" && op != "~~*") return;  // NOT LIKE
  const auto tested = operand(*left, scope);
  const auto known = tested ? value(*right, tested->first, scope) : std::nullopt;
  if (!known || tested->second.category != 'S') return;
  const auto pattern = literal(*right);
  Predicate predicate{.operand = tested->second, .test = Test::kPattern, .join = *known};
  if (op == "~~") {
    const size_t wildcard = pattern ? pattern->text.find_first_of("%_\\") : 1;
    if (wildcard == std::string::npos) {
      predicate.test = Test::kEqual;
      predicate.constant = pattern;
    } else if (wildcard > 0) {
      predicate.test = Test::kPrefix;
    }
  }
  add(tested->first, std::move(predicate));
}

}  // namespace cairn::tuner::reading
