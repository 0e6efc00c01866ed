#include "tuner/sql/statement_shape.h"

#include <pg_query.h>
#include <simdjson.h>

#include <algorithm>
#include <map>
#include <memory>
#include <regex>

#include "tuner/sql/parse_tree.h"

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

// The fields of EXTRACT, DATE_TRUNC and DATE_PART as constants, the placeholders that are left numbered anew:
// pg_stat_statements puts placeholders where the grammar takes none, and different ones into a column and the GROUP BY
// that means the same.
std::string with_constant_fields(const std::string& sql) {
  static const std::regex kExtract(R"(\bextract\s*\(\s*\$\d+\s+from\b)", std::regex::icase);
  static const std::regex kFunction(R"(\b(date_trunc|date_part)\s*\(\s*\$\d+)", std::regex::icase);
  static const std::regex kPlaceholder(R"(\$(\d+))");
  std::string text = std::regex_replace(sql, kExtract, "extract(day FROM");
  text = std::regex_replace(text, kFunction, "$1('day'");
  std::map<std::string, size_t> numbers;
  std::string renumbered;
  auto rest = text.cbegin();
  for (std::sregex_iterator match(text.begin(), text.end(), kPlaceholder), end; match != end; ++match) {
    const size_t number = numbers.try_emplace(match->str(1), numbers.size() + 1).first->second;
    renumbered.append(rest, (*match)[0].first).append("$" + std::to_string(number));
    rest = (*match)[0].second;
  }
  return renumbered.append(rest, text.cend());
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
  const std::optional<std::string> text = deparsed(statement);
  if (!text) return text;
  static const std::regex kExtract(R"re(\b(pg_catalog\.)?extract\s*\(\s*(\$[0-9]+)\s+FROM\s)re", std::regex::icase);
  return std::regex_replace(*text, kExtract, "date_part($2, ");
}

std::optional<std::string> preparable_statement(const std::string& statement) {
  return deparsed(with_constant_fields(statement));
}

}  // namespace cairn::tuner
