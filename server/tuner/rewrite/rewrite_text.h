// A statement's text and its parse tree together: which part of the text a node of the tree is, and the text with such
// parts replaced. What is replaced keeps the rest as its author wrote it.
//
// A part is never guessed: it is taken only when, parsed for itself, it gives the node again.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tuner/sql/expression.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {

struct Span {
  size_t begin = 0;  // bytes
  size_t end = 0;

  auto operator<=>(const Span&) const = default;
};

struct Edit {
  Span span = {};
  std::string text = {};
};

class StatementText {
 public:
  // Nothing when it cannot be parsed or is not one statement.
  static std::optional<StatementText> read(const std::string& sql);

  Node body() const { return body_; }  // {"SelectStmt": {…}}
  Span whole() const;                  // without comments around and the semicolon
  std::string text(const Span& span) const { return sql_.substr(span.begin, span.end - span.begin); }

  // Of an expression, without brackets around it.
  std::optional<Span> expression(const Node& node) const;
  std::optional<std::string> expression_text(const Node& node) const;
  // The last bracketed part of an expression, with its brackets: of x IN (SELECT …) the subquery.
  std::optional<Span> last_brackets(const Span& span) const;
  // The token before or after, as it is written; empty where there is none.
  Span token_before(size_t offset) const;
  Span token_after(size_t offset) const;
  bool is_keyword(const Span& token, std::string_view lower) const;
  // An integer constant: the parser's JSON loses the negative ones.
  std::optional<int64_t> integer(const Node& node) const;

  // The text with the parts replaced; nothing when they overlap, or the result does not parse.
  std::optional<std::string> edited(std::vector<Edit> edits) const;

 private:
  StatementText(std::string sql, ParseTree tree) : sql_(std::move(sql)), tree_(std::move(tree)) {}
  size_t token_at(size_t offset) const;

  std::string sql_;
  ParseTree tree_;
  Node body_ = {};
  std::vector<Span> tokens_;  // without comments
};

// The tree as text, without locations: equal for what is written differently but means the same to the parser.
std::string shape_of(const Node& node);

// An identifier as it may stand in SQL: with quotes only where it needs them.
std::string identifier(const std::string& name);

}  // namespace cairn::tuner
