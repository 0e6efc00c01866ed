#include "tuner/sql/placeholders.h"

#include <algorithm>
#include <map>
#include <optional>

#include "tuner/sql/expression.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

struct Source {
  std::string alias;
  const Table* table = nullptr;
};

// A column in an expression, and what is around it.
struct Found {
  int use = 0;
  const Table* table = nullptr;
  std::string column = {};
  std::string function = {};
  std::optional<Node> key = {};  // column ->> key
  bool cast = false;             // (column ->> key)::float
};

bool is_number(std::string_view type) {
  constexpr std::string_view kNumbers[] = {"int2", "int4", "int8", "float4", "float8", "numeric"};
  return std::ranges::find(kNumbers, type) != std::end(kNumbers);
}

std::string last_of(const Node& node, std::string_view name) {
  const std::vector<std::string> parts = strings(node, name);
  return parts.empty() ? std::string() : parts.back();
}

std::optional<int> parameter(const Node& node) {
  if (const auto cast = as(node, "TypeCast")) {
    const auto argument = field(*cast, "arg");
    return argument ? parameter(*argument) : std::nullopt;
  }
  const auto reference = as(node, "ParamRef");
  if (!reference) return std::nullopt;
  const auto number = field(*reference, "number");
  int64_t value = 0;
  return number && number->get(value) == simdjson::SUCCESS ? std::optional(static_cast<int>(value)) : std::nullopt;
}

class Reader {
 public:
  Reader(const Catalog& catalog, std::map<int, Placeholder>& found) : catalog_(catalog), found_(found) {}

  void collect_sources(const Node& node) {
    if (node.is_array()) {
      for (const Node item : items(node)) collect_sources(item);
    } else if (node.is_object()) {
      if (const std::string name = text_field(node, "relname"); !name.empty()) {
        const auto alias = field(node, "alias");
        const std::string called = alias ? text_field(*alias, "aliasname") : std::string();
        if (const Table* table = catalog_.find(text_field(node, "schemaname"), name))
          sources_.push_back({called.empty() ? name : called, table});
      }
      for (const auto& [key, value] : members(node)) collect_sources(value);
    }
  }

  void visit(const Node& node) {
    if (node.is_array()) {
      for (const Node item : items(node)) visit(item);
      return;
    }
    if (!node.is_object()) return;
    for (const auto& [key, value] : members(node)) {
      if (key == "SubLink") limited_to_one(value);
      if (key == "limitCount") assign_all(value, {.role = Role::kLimit});
      if (key == "limitOffset") assign_all(value, {.role = Role::kOffset});
      if (key == "A_Expr") expression(value);
      if (key == "InsertStmt") inserted(value);
      if (key == "UpdateStmt") updated(value);
      if (key == "FuncCall") call(value);
      if (key == "ParamRef") assign_all(node, {});
      visit(value);
    }
  }

 private:
  std::optional<Found> resolve(const Node& reference) const {
    const std::vector<std::string> parts = strings(reference, "fields");
    if (parts.empty()) return std::nullopt;
    const auto find = [&](const std::string* alias) -> std::optional<Found> {
      for (size_t i = 0; i < sources_.size(); ++i)
        if ((alias == nullptr || sources_[i].alias == *alias) && sources_[i].table->column(parts.back()) != nullptr)
          return Found{.use = static_cast<int>(i + 1), .table = sources_[i].table, .column = parts.back()};
      return std::nullopt;
    };
    if (parts.size() >= 2)
      if (const auto named = find(&parts[parts.size() - 2])) return named;
    return find(nullptr);
  }

  // The first column in an expression, not in a subquery of it.
  std::optional<Found> column_in(const Node& node) const {
    if (node.is_array()) {
      for (const Node item : items(node))
        if (auto found = column_in(item)) return found;
      return std::nullopt;
    }
    if (!node.is_object() || as(node, "SubLink")) return std::nullopt;
    if (const auto reference = as(node, "ColumnRef")) return resolve(*reference);
    if (const auto operation = as(node, "A_Expr")) {
      const std::string op = last_of(*operation, "name");
      const auto left = field(*operation, "lexpr"), right = field(*operation, "rexpr");
      if ((op == "->" || op == "->>") && left && right)
        if (auto found = column_in(*left)) {
          if (!found->key) found->key = *right;
          return found;
        }
    }
    for (const auto& [key, value] : members(node)) {
      auto found = column_in(value);
      if (!found) continue;
      if (key == "TypeCast") found->cast = true;
      if (key == "FuncCall") {
        const std::string function = last_of(value, "funcname");
        if (function == "lower" || function == "upper") found->function = function;
      }
      return found;
    }
    return std::nullopt;
  }

  void limited_to_one(const Node& link) {
    if (text_field(link, "subLinkType") != "EXPR_SUBLINK") return;
    const auto query = field(link, "subselect");
    const auto select = query ? as(*query, "SelectStmt") : std::nullopt;
    const auto limit = select ? field(*select, "limitCount") : std::nullopt;
    if (limit) assign_all(*limit, {.role = Role::kLimitOfOne});
  }

  // Every placeholder in the node that is not known yet, but those of subqueries and of keys within.
  void assign_all(const Node& node, const Placeholder& what) {
    if (node.is_array()) {
      for (const Node item : items(node)) assign_all(item, what);
      return;
    }
    if (!node.is_object() || as(node, "SubLink")) return;
    if (as(node, "ParamRef")) {
      Placeholder& known = found_[*parameter(node)];
      if (known.role != Role::kUnknown) return;
      const int number = *parameter(node);
      known = what;
      known.number = number;
      return;
    }
    for (const auto& [key, value] : members(node)) assign_all(value, what);
  }

  static Placeholder placeholder(Role role, const Found& column) {
    return {
        .role = role, .table = column.table, .column = column.column, .use = column.use, .function = column.function};
  }

  static Role role_of(const std::string& op, bool column_is_left, const Column& column) {
    const bool document = column.type == "jsonb" || column.type == "json";
    if (op == "<" || op == "<=") return column_is_left ? Role::kHigh : Role::kLow;
    if (op == ">" || op == ">=") return column_is_left ? Role::kLow : Role::kHigh;
    if (op == "~~" || op == "~~*" || op == "!~~" || op == "!~~*") return Role::kPattern;
    if (op == "~" || op == "~*" || op == "@@") return Role::kWord;
    if (op == "?" || op == "?|" || op == "?&" || op == "->" || op == "->>") return Role::kKey;
    if (op == "@>" || op == "<@" || op == "&&")
      return document ? Role::kDocument : column.category == 'A' ? Role::kElement : Role::kValue;
    if (op == "+" || op == "-" || op == "*" || op == "/" || op == "||") return Role::kUnknown;
    return Role::kValue;
  }

  void expression(const Node& node) {
    const auto left = field(node, "lexpr"), right = field(node, "rexpr");
    if (!left || !right) return;
    const std::string kind = text_field(node, "kind"), op = last_of(node, "name");
    const auto in_left = column_in(*left), in_right = column_in(*right);
    // Row by row: (a, b) < ($1, $2).
    const auto our_row = as(*left, "RowExpr"), their_row = as(*right, "RowExpr");
    if (our_row && their_row) return rows(list_field(*our_row, "args"), list_field(*their_row, "args"), op);
    if (kind == "AEXPR_BETWEEN" && in_left) {
      const auto bounds = as(*right, "List");
      const std::vector<Node> both = bounds ? list_field(*bounds, "items") : std::vector<Node>();
      for (size_t i = 0; i < both.size(); ++i)
        assign_all(both[i], placeholder(i == 0 ? Role::kLow : Role::kHigh, *in_left));
      return;
    }
    if (in_left) compare(*in_left, op, kind, *right, true);
    if (in_right) compare(*in_right, op, kind, *left, false);
  }

  void rows(const std::vector<Node>& ours, const std::vector<Node>& theirs, const std::string& op) {
    for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
      const auto left = column_in(ours[i]), right = column_in(theirs[i]);
      if (left) compare(*left, op, "", theirs[i], true);
      if (right) compare(*right, op, "", ours[i], false);
    }
  }

  void compare(const Found& found, const std::string& op, const std::string& kind, const Node& other, bool is_left) {
    const Column& column = *found.table->column(found.column);
    Role role = role_of(op, is_left, column);
    if (role == Role::kUnknown) return;
    if (kind == "AEXPR_OP_ANY" && !is_left && column.category == 'A') role = Role::kElement;
    Placeholder made = placeholder(role, found);
    if (found.key && role != Role::kKey) {
      made.role = Role::kKeyValue;
      made.numeric = found.cast;
      if (const auto number = parameter(*found.key)) {
        made.key_number = *number;
        Placeholder key = placeholder(Role::kKey, found);
        key.numeric = found.cast;
        assign_all(*found.key, key);
      } else if (const auto constant = literal(*found.key)) {
        made.key = constant->text;
      }
    }
    assign_all(other, made);
  }

  // An argument beside a column: similarity(name, $1), to_tsvector(…) @@ is an operator's.
  void call(const Node& node) {
    const auto arguments = field(node, "args");
    const auto found = arguments ? column_in(*arguments) : std::nullopt;
    if (!found) return;
    for (const Node& argument : list_field(node, "args"))
      if (parameter(argument) && last_of(node, "funcname") == "similarity")
        assign_all(argument, placeholder(Role::kValue, *found));
  }

  std::optional<std::pair<int, const Table*>> target(const Node& node) const {
    const auto relation = field(node, "relation");
    const Table* table =
        relation ? catalog_.find(text_field(*relation, "schemaname"), text_field(*relation, "relname")) : nullptr;
    if (table == nullptr) return std::nullopt;
    // Of no use that is read from: the new row is another one.
    return std::pair(static_cast<int>(-1), table);
  }

  void inserted(const Node& node) {
    const auto into = target(node);
    const auto select = field(node, "selectStmt");
    const auto values = select ? as(*select, "SelectStmt") : std::nullopt;
    if (!into || !values) return;
    std::vector<std::string> columns;
    for (const Node& column : list_field(node, "cols"))
      if (const auto named = as(column, "ResTarget")) columns.push_back(text_field(*named, "name"));
    if (columns.empty())
      for (const Column& column : into->second->columns) columns.push_back(column.name);
    int row = 0;
    for (const Node& list : list_field(*values, "valuesLists")) {
      const auto items_of = as(list, "List");
      const std::vector<Node> row_values = items_of ? list_field(*items_of, "items") : std::vector<Node>();
      --row;
      for (size_t i = 0; i < std::min(row_values.size(), columns.size()); ++i)
        if (into->second->column(columns[i]) != nullptr)
          assign_all(row_values[i], {.role = Role::kInserted, .table = into->second, .column = columns[i], .use = row});
    }
  }

  void updated(const Node& node) {
    const auto of = target(node);
    if (!of) return;
    for (const Node& item : list_field(node, "targetList")) {
      const auto set = as(item, "ResTarget");
      const auto value = set ? field(*set, "val") : std::nullopt;
      if (!value || !parameter(*value)) continue;
      const std::string column = text_field(*set, "name");
      if (of->second->column(column) != nullptr)
        assign_all(*value, {.role = Role::kUpdated, .table = of->second, .column = column, .use = of->first});
    }
  }

  const Catalog& catalog_;
  std::map<int, Placeholder>& found_;
  std::vector<Source> sources_;
};

}  // namespace

std::vector<Placeholder> placeholders_of(const Catalog& catalog, const std::string& statement) {
  const auto tree = ParseTree::parse(statement);
  if (!tree) return {};
  std::map<int, Placeholder> found;
  Reader reader(catalog, found);
  for (const Node node : tree->statements()) reader.collect_sources(node);
  for (const Node node : tree->statements()) reader.visit(node);
  std::vector<Placeholder> placeholders;
  for (auto& [number, placeholder] : found) {
    placeholder.number = number;
    const Column* column = placeholder.table == nullptr ? nullptr : placeholder.table->column(placeholder.column);
    if (column != nullptr && placeholder.role != Role::kKeyValue && placeholder.role != Role::kKey)
      placeholder.numeric = is_number(column->type);
    placeholders.push_back(placeholder);
  }
  return placeholders;
}

}  // namespace cairn::tuner
