// An expression of a parse tree as an index may hold it: its text in one canonical form, so that equal expressions have
// equal texts, and its type as far as that is needed.
#pragma once

#include <simdjson.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tuner/catalog/catalog.h"

namespace cairn::tuner {

using Node = simdjson::dom::element;

// A field of a node, empty when it is absent.
std::optional<Node> field(const Node& node, std::string_view name);
std::string text_field(const Node& node, std::string_view name);
// The elements of a list and the members of an object: the node must be one.
inline simdjson::dom::array items(const Node& node) { return node.get_array().value(); }
inline simdjson::dom::object members(const Node& node) { return node.get_object().value(); }
// The elements of a field that is a list.
std::vector<Node> list_field(const Node& node, std::string_view name);
// What a node {"A_Expr": {…}} holds, when it is of that kind.
std::optional<Node> as(const Node& node, std::string_view kind);
// The strings of a list of String nodes: a column's or a function's name in its parts.
std::vector<std::string> strings(const Node& node, std::string_view name);

// A constant, with or without a cast.
struct Literal {
  std::string sql = {};
  std::string text = {};  // as its type prints it: pg_stats has it so
  bool is_null = false;
};
std::optional<Literal> literal(const Node& node);
// 'it''s', and with E where there are backslashes.
std::string quote_literal(std::string_view text);

struct Expression {
  std::string sql = {};  // a lone column: its bare name; else SQL, without outer brackets
  bool is_column = false;
  std::string type = {};  // as Column::type; "unknown" for a bare string constant
  char category = 'U';
  std::vector<std::string> columns = {};
};

using FindColumn = std::function<const Column*(const Node& column_reference)>;

// Nothing for an expression that is not surely immutable, is of no column that `find` knows, or holds a subquery, a
// placeholder or anything else that an index could not.
std::optional<Expression> indexable(const Node& node, const FindColumn& find);

// The canonical form of SQL text over one table, such as that of an index which exists; the text itself when it cannot
// be read.
std::string canonical(const std::string& sql, const Table& table);

}  // namespace cairn::tuner
