#include "tuner/statement_shape.h"

#include <pg_query.h>
#include <simdjson.h>

#include <algorithm>
#include <memory>
#include <regex>

namespace cairn::tuner {
namespace {

using simdjson::dom::element;

constexpr size_t kMaxDepth = 2000;  // of a parse tree

void look_into(const element& tree, StatementShape& shape) {
  simdjson::dom::object object;
  simdjson::dom::array array;
  if (!tree.get(array)) {
    for (const element item : array) look_into(item, shape);
    return;
  }
  if (tree.get(object)) return;
  for (const auto [key, value] : object) {
    if (key == "InsertStmt" || key == "UpdateStmt" || key == "DeleteStmt" || key == "MergeStmt" || key == "intoClause")
      shape.writes = true;
    if (key == "lockingClause") shape.locks_rows = true;
    int64_t number = 0;
    if (key == "ParamRef" && !value["number"].get(number))
      shape.parameters = std::max(shape.parameters, static_cast<int>(std::min<int64_t>(number, 65535)));
    look_into(value, shape);
  }
}

// False when it nests too deep.
bool read_tree(std::string_view text, StatementShape& shape) {
  simdjson::dom::parser parser;
  element root;
  simdjson::dom::array statements;
  if (parser.allocate(text.size() + 1, kMaxDepth) || parser.parse(text.data(), text.size()).get(root)) return false;
  if (root["stmts"].get(statements)) return true;
  shape.statements = static_cast<int>(statements.size());
  for (const element statement : statements) {
    simdjson::dom::object tree;
    if (statement["stmt"].get(tree) || tree.size() == 0) continue;
    const std::string kind((*tree.begin()).key);
    if (shape.kind.empty()) shape.kind = kind;
    if (kind != "SelectStmt") shape.writes = true;
    look_into(statement, shape);
  }
  return true;
}

}  // namespace

StatementShape statement_shape(const std::string& statement) {
  const std::unique_ptr<PgQueryParseResult, void (*)(PgQueryParseResult*)> parsed(
      new PgQueryParseResult(pg_query_parse(statement.c_str())), [](PgQueryParseResult* result) {
        pg_query_free_parse_result(*result);
        delete result;
      });
  StatementShape shape;
  if (parsed->error != nullptr) {
    shape.error = parsed->error->message;
    return shape;
  }
  if (!read_tree(parsed->parse_tree, shape)) shape.error = "it nests too deep";
  return shape;
}

std::optional<std::string> readable_statement(const std::string& statement) {
  const PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(statement.c_str());
  std::optional<std::string> text;
  if (parsed.error == nullptr) {
    const PgQueryDeparseResult written = pg_query_deparse_protobuf(parsed.parse_tree);
    if (written.error == nullptr) text = written.query;
    pg_query_free_deparse_result(written);
  }
  pg_query_free_protobuf_parse_result(parsed);
  if (!text) return text;
  static const std::regex kExtract(R"re(\b(pg_catalog\.)?extract\s*\(\s*(\$[0-9]+)\s+FROM\s)re", std::regex::icase);
  return std::regex_replace(*text, kExtract, "date_part($2, ");
}

}  // namespace cairn::tuner
