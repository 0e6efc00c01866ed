#include "tuner/sql/expression.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "db/statement.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

struct Function {
  std::string_view name;
  std::string_view type;  // of its result
};

// Functions that are immutable whatever their arguments; those for which it depends follow in `call`.
constexpr Function kImmutable[] = {
    {"abs", "numeric"},
    {"array_length", "int4"},
    {"array_upper", "int4"},
    {"btrim", "text"},
    {"cardinality", "int4"},
    {"ceil", "numeric"},
    {"ceiling", "numeric"},
    {"char_length", "int4"},
    {"floor", "numeric"},
    {"initcap", "text"},
    {"json_array_length", "int4"},
    {"jsonb_array_length", "int4"},
    {"jsonb_extract_path", "jsonb"},
    {"jsonb_extract_path_text", "text"},
    {"jsonb_typeof", "text"},
    {"left", "text"},
    {"length", "int4"},
    {"lower", "text"},
    {"lpad", "text"},
    {"ltrim", "text"},
    {"md5", "text"},
    {"mod", "int8"},
    {"octet_length", "int4"},
    {"regexp_replace", "text"},
    {"replace", "text"},
    {"reverse", "text"},
    {"right", "text"},
    {"round", "numeric"},
    {"rpad", "text"},
    {"rtrim", "text"},
    {"split_part", "text"},
    {"substr", "text"},
    {"substring", "text"},
    {"translate", "text"},
    {"trunc", "numeric"},
    {"upper", "text"},
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> all) {
  return std::ranges::find(all, text) != all.end();
}

bool is_text(std::string_view type) { return is_one_of(type, {"text", "varchar", "bpchar", "name", "unknown"}); }
bool is_number(std::string_view type) {
  return is_one_of(type, {"int2", "int4", "int8", "float4", "float8", "numeric"});
}
bool is_json(std::string_view type) { return is_one_of(type, {"json", "jsonb"}); }

char category_of(std::string_view type) {
  if (is_text(type)) return 'S';
  if (is_number(type)) return 'N';
  if (is_one_of(type, {"date", "timestamp", "timestamptz", "time"})) return 'D';
  return type == "bool" ? 'B' : 'U';
}

// A type's name without pg_catalog; empty for one with a schema, modifiers or array bounds.
std::string type_name(const Node& node) {
  const auto name = field(node, "typeName");
  if (!name || field(*name, "typmods") || field(*name, "arrayBounds") || field(*name, "setof")) return {};
  std::vector<std::string> parts = strings(*name, "names");
  if (parts.size() == 2 && parts[0] == "pg_catalog") parts.erase(parts.begin());
  return parts.size() == 1 ? parts[0] : std::string();
}

// Prints one expression; throws nothing: what cannot be held gives nothing.
class Printer {
 public:
  explicit Printer(const FindColumn& find) : find_(find) {}

  std::optional<Expression> print(const Node& node) {
    if (const auto reference = as(node, "ColumnRef")) return column(*reference);
    if (as(node, "A_Const")) return constant(node);
    if (const auto cast_node = as(node, "TypeCast")) return cast(*cast_node);
    if (const auto function = as(node, "FuncCall")) return call(*function);
    if (const auto expression = as(node, "A_Expr")) return operation(*expression);
    if (const auto coalesce = as(node, "CoalesceExpr")) {
      auto arguments = all(list_field(*coalesce, "args"));
      if (!arguments || arguments->empty()) return std::nullopt;
      return made("COALESCE(" + joined(*arguments) + ")", arguments->front().type);
    }
    return std::nullopt;
  }

  const std::vector<std::string>& columns() const { return columns_; }

 private:
  static Expression made(std::string sql, std::string type) {
    const char category = category_of(type);
    return {.sql = std::move(sql), .type = std::move(type), .category = category};
  }

  static std::string joined(std::span<const Expression> parts) {
    std::string text;
    for (const Expression& part : parts) text += (text.empty() ? "" : ", ") + part.sql;
    return text;
  }

  std::optional<std::vector<Expression>> all(const std::vector<Node>& nodes) {
    std::vector<Expression> printed;
    for (const Node& node : nodes) {
      auto one = print(node);
      if (!one) return std::nullopt;
      printed.push_back(std::move(*one));
    }
    return printed;
  }

  std::optional<Expression> column(const Node& reference) {
    const Column* found = find_(reference);
    if (found == nullptr) return std::nullopt;
    if (std::ranges::find(columns_, found->name) == columns_.end()) columns_.push_back(found->name);
    Expression expression = made(db::quote_identifier(found->name), found->type);
    expression.category = found->category;
    return expression;
  }

  static std::optional<Expression> constant(const Node& node) {
    const auto value = literal(node);
    if (!value || value->is_null) return std::nullopt;
    const bool quoted = value->sql.ends_with('\'');
    const bool logical = value->sql == "TRUE" || value->sql == "FALSE";
    const bool whole = value->sql.find_first_of(".eE") == std::string::npos;
    return made(value->sql, quoted ? "unknown" : logical ? "bool" : whole ? "int4" : "numeric");
  }

  // Casts whose result hangs on no setting. A cast that changes nothing is left out: PostgreSQL prints lower(name) over
  // varchar as lower((name)::text), and 'x' as 'x'::text.
  std::optional<Expression> cast(const Node& node) {
    const auto argument = field(node, "arg");
    const std::string type = type_name(node);
    if (!argument || type.empty()) return std::nullopt;
    auto inner = print(*argument);
    if (!inner) return std::nullopt;
    const bool same = is_one_of(inner->type, {"text", "varchar"}) && is_one_of(type, {"text", "varchar"});
    if (same || (inner->type == "unknown" && is_one_of(type, {"text", "varchar", "regconfig"}))) return inner;
    if (inner->type == type) return inner;
    const auto plain = [](std::string_view name) {
      return is_text(name) || is_number(name) || is_json(name) || name == "bool" || name == "uuid";
    };
    const auto days = [](std::string_view name) { return name == "date" || name == "timestamp"; };
    if (!(plain(inner->type) && plain(type)) && !(days(inner->type) && days(type))) return std::nullopt;
    return made(inner->sql + "::" + db::quote_identifier(type), type);
  }

  std::optional<Expression> call(const Node& node) {
    for (const char* special : {"agg_star", "agg_distinct", "agg_order", "agg_filter", "over", "func_variadic"})
      if (field(node, special)) return std::nullopt;
    std::vector<std::string> parts = strings(node, "funcname");
    if (parts.size() == 2 && parts[0] == "pg_catalog") parts.erase(parts.begin());
    auto arguments = all(list_field(node, "args"));
    if (parts.size() != 1 || !arguments || arguments->empty()) return std::nullopt;
    const std::string& name = parts[0];
    const std::string& last = arguments->back().type;
    const bool local = last == "timestamp" || last == "date";
    const bool named = arguments->size() == 2 && arguments->front().type == "unknown";
    const std::string sql = name + "(" + joined(*arguments) + ")";
    if (const auto known = std::ranges::find(kImmutable, name, &Function::name); known != std::end(kImmutable))
      return made(sql, std::string(known->type));
    if (name == "date" && arguments->size() == 1 && local) return made(sql, "date");
    if (!named) return std::nullopt;
    if (name == "date_trunc" && last == "timestamp") return made(sql, "timestamp");
    if (name == "timezone" && last == "timestamptz") return made(sql, "timestamp");
    if (name == "timezone" && last == "timestamp") return made(sql, "timestamptz");
    if (name == "date_part" && local) return made(sql, "float8");
    if (name == "extract" && local) return made("pg_catalog.\"extract\"(" + joined(*arguments) + ")", "numeric");
    if (name == "to_tsvector" && is_text(last)) return made(sql, "tsvector");
    return std::nullopt;
  }

  std::optional<Expression> operation(const Node& node) {
    const std::vector<std::string> names = strings(node, "name");
    const auto left = field(node, "lexpr"), right = field(node, "rexpr");
    if (text_field(node, "kind") != "AEXPR_OP" || names.size() != 1 || !left || !right) return std::nullopt;
    auto first = print(*left);
    auto second = first ? print(*right) : std::nullopt;
    if (!second) return std::nullopt;
    const std::string& op = names[0];
    const std::string sql = "(" + first->sql + " " + op + " " + second->sql + ")";
    if (is_json(first->type) && is_one_of(op, {"->", "#>"})) return made(sql, first->type);
    if (is_json(first->type) && is_one_of(op, {"->>", "#>>"})) return made(sql, "text");
    if (is_number(first->type) && is_number(second->type) && is_one_of(op, {"+", "-", "*", "/", "%"}))
      return made(sql, "numeric");
    if (is_text(first->type) && is_text(second->type) && op == "||") return made(sql, "text");
    return std::nullopt;
  }

  const FindColumn& find_;
  std::vector<std::string> columns_;
};

// The only expression of SELECT expression.
std::optional<Node> only_target(const ParseTree& tree) {
  for (const Node statement : tree.statements()) {
    const auto body = field(statement, "stmt");
    const auto select = body ? as(*body, "SelectStmt") : std::nullopt;
    if (!select) return std::nullopt;
    const std::vector<Node> targets = list_field(*select, "targetList");
    const auto target = targets.size() == 1 ? as(targets[0], "ResTarget") : std::nullopt;
    return target ? field(*target, "val") : std::nullopt;
  }
  return std::nullopt;
}

// A predicate in one form: conjuncts, comparisons and tests of nothing; else nothing.
std::optional<std::string> print_condition(const Node& node, Printer& printer) {
  if (const auto all = as(node, "BoolExpr")) {
    if (text_field(*all, "boolop") != "AND_EXPR") {
      const std::vector<Node> negated = list_field(*all, "args");
      if (text_field(*all, "boolop") != "NOT_EXPR" || negated.size() != 1) return std::nullopt;
      const auto inner = print_condition(negated[0], printer);
      return inner ? std::optional("NOT " + *inner) : std::nullopt;
    }
    std::set<std::string> parts;
    for (const Node& argument : list_field(*all, "args")) {
      const auto part = print_condition(argument, printer);
      if (!part) return std::nullopt;
      parts.insert(*part);
    }
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : " AND ") + part;
    return text;
  }
  if (const auto test = as(node, "NullTest")) {
    const auto argument = field(*test, "arg");
    const auto inner = argument ? printer.print(*argument) : std::nullopt;
    if (!inner) return std::nullopt;
    return inner->sql + (text_field(*test, "nulltesttype") == "IS_NULL" ? " IS NULL" : " IS NOT NULL");
  }
  if (const auto comparison = as(node, "A_Expr")) {
    const auto left = field(*comparison, "lexpr"), right = field(*comparison, "rexpr");
    const std::vector<std::string> names = strings(*comparison, "name");
    if (text_field(*comparison, "kind") != "AEXPR_OP" || names.size() != 1 || !left || !right) return std::nullopt;
    const auto first = printer.print(*left);
    const auto second = first ? printer.print(*right) : std::nullopt;
    if (!second) return std::nullopt;
    if (names[0] == "=" && second->sql == "TRUE") return first->sql;
    if (names[0] == "=" && second->sql == "FALSE") return "NOT " + first->sql;
    return first->sql + " " + names[0] + " " + second->sql;
  }
  const auto bare = printer.print(node);
  return bare ? std::optional(bare->sql) : std::nullopt;
}

}  // namespace

std::optional<Node> field(const Node& node, std::string_view name) {
  Node found;
  if (!node.is_object() || node.at_key(name).get(found) != simdjson::SUCCESS) return std::nullopt;
  return found;
}

std::string text_field(const Node& node, std::string_view name) {
  const auto found = field(node, name);
  return found && found->is_string() ? std::string(found->get_string().value()) : std::string();
}

std::vector<Node> list_field(const Node& node, std::string_view name) {
  std::vector<Node> all;
  const auto found = field(node, name);
  if (found && found->is_array())
    for (const Node item : items(*found)) all.push_back(item);
  return all;
}

std::optional<Node> as(const Node& node, std::string_view kind) { return field(node, kind); }

std::vector<std::string> strings(const Node& node, std::string_view name) {
  std::vector<std::string> all;
  for (const Node& item : list_field(node, name))
    if (const auto text = as(item, "String")) all.push_back(text_field(*text, "sval"));
  return all;
}

std::string quote_literal(std::string_view text) {
  std::string sql = text.find('\\') == std::string_view::npos ? "'" : "E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') sql += c;
    sql += c;
  }
  return sql + "'";
}

std::optional<Literal> literal(const Node& node) {
  if (const auto cast = as(node, "TypeCast")) {
    const auto argument = field(*cast, "arg");
    return argument && as(*argument, "A_Const") && !type_name(*cast).empty() ? literal(*argument) : std::nullopt;
  }
  const auto constant = as(node, "A_Const");
  if (!constant) return std::nullopt;
  if (field(*constant, "isnull")) return Literal{.sql = "NULL", .text = {}, .is_null = true};
  if (const auto value = field(*constant, "sval")) {
    const std::string text = text_field(*value, "sval");
    return Literal{.sql = quote_literal(text), .text = text};
  }
  if (const auto value = field(*constant, "boolval")) {
    const bool truth = field(*value, "boolval").has_value();
    return Literal{.sql = truth ? "TRUE" : "FALSE", .text = truth ? "t" : "f"};
  }
  if (const auto value = field(*constant, "fval")) {
    const std::string text = text_field(*value, "fval");
    return Literal{.sql = text, .text = text};
  }
  if (const auto value = field(*constant, "ival")) {
    const auto number = field(*value, "ival");
    const std::string text = number ? std::string(simdjson::minify(*number)) : "0";
    return Literal{.sql = text, .text = text};
  }
  return std::nullopt;
}

std::optional<Expression> indexable(const Node& node, const FindColumn& find) {
  Printer printer(find);
  auto expression = printer.print(node);
  if (!expression || printer.columns().empty()) return std::nullopt;
  expression->columns = printer.columns();
  expression->is_column = as(node, "ColumnRef").has_value();
  if (expression->is_column) expression->sql = expression->columns[0];
  std::string& sql = expression->sql;
  const auto second_or = as(node, "A_Expr");
  if (second_or && sql.starts_with('(') && sql.ends_with(')')) sql = sql.substr(1, sql.size() - 2);
  return expression;
}

std::string canonical(const std::string& sql, const Table& table) {
  const auto tree = ParseTree::parse("SELECT " + sql);
  const auto node = tree ? only_target(*tree) : std::nullopt;
  if (!node) return sql;
  const FindColumn find = [&](const Node& reference) -> const Column* {
    const std::vector<std::string> parts = strings(reference, "fields");
    return parts.size() == 1 ? table.column(parts[0]) : nullptr;
  };
  if (const auto expression = indexable(*node, find)) return expression->sql;
  Printer printer(find);
  return print_condition(*node, printer).value_or(sql);
}

}  // namespace cairn::tuner
