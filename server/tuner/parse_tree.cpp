#include "tuner/parse_tree.h"

#include <pg_query.h>

namespace cairn::tuner {
namespace {

// A level of SQL takes several of JSON. PostgreSQL's own limit, max_stack_depth, lets more through; such statements are
// nobody's work of a hand, and reading them would need as deep a recursion of whoever walks over the tree.
constexpr size_t kDepthMax = 1024;

std::optional<std::string> fingerprint_of_all(const std::string& sql) {
  const PgQueryFingerprintResult result = pg_query_fingerprint(sql.c_str());
  const std::unique_ptr<const PgQueryFingerprintResult, void (*)(const PgQueryFingerprintResult*)> owner(
      &result, [](const PgQueryFingerprintResult* owned) { pg_query_free_fingerprint_result(*owned); });
  if (result.error != nullptr || result.fingerprint_str == nullptr) return std::nullopt;
  return result.fingerprint_str;
}

}  // namespace

std::optional<std::string> fingerprint(const std::string& sql) {
  static const std::optional<std::string> of_no_statement = fingerprint_of_all("");
  const std::optional<std::string> found = fingerprint_of_all(sql);
  return found == of_no_statement ? std::nullopt : found;
}

std::optional<ParseTree> ParseTree::parse(const std::string& sql) {
  const PgQueryParseResult result = pg_query_parse(sql.c_str());
  const std::unique_ptr<const PgQueryParseResult, void (*)(const PgQueryParseResult*)> owner(
      &result, [](const PgQueryParseResult* owned) { pg_query_free_parse_result(*owned); });
  if (result.error != nullptr || result.parse_tree == nullptr) return std::nullopt;

  const std::string_view json = result.parse_tree;
  ParseTree tree;
  tree.parser_ = std::make_unique<simdjson::dom::parser>();
  if (tree.parser_->allocate(json.size() + 1, kDepthMax) != simdjson::SUCCESS) return std::nullopt;
  simdjson::dom::element root;
  if (tree.parser_->parse(json.data(), json.size()).get(root) != simdjson::SUCCESS) return std::nullopt;
  if (root["stmts"].get(tree.statements_) != simdjson::SUCCESS) return std::nullopt;
  if (tree.statements_.size() == 0) return std::nullopt;
  return tree;
}

}  // namespace cairn::tuner
