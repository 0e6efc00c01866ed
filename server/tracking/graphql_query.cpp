#include "tracking/graphql_query.h"

#include <map>

#include "base/error.h"

namespace cairn::tracking {
namespace {

constexpr int kMaxDepth = 24;
constexpr int kMaxFields = 2000;

enum class Kind { kEnd, kPunctuation, kName, kNumber, kString, kBlockString };
struct Token {
  Kind kind = Kind::kEnd;
  std::string_view text;
};

Error syntax_error(std::string_view text, size_t at, const std::string& what) {
  size_t line = 1;
  for (const char c : text.substr(0, at)) line += c == '\n';
  return invalid("Syntax error in the GraphQL query, line " + std::to_string(line) + ": " + what);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token next() {
    skip_ignored();
    begin_ = at_;
    if (at_ == text_.size()) return {};
    const char c = text_[at_];
    if (is_name(c) && !is_digit(c)) return take(Kind::kName, [](char d) { return is_name(d); });
    if (is_digit(c) || c == '-') return take(Kind::kNumber, is_number);
    if (c == '"') return quoted();
    at_ += text_.substr(at_).starts_with("...") ? 3 : 1;
    return {Kind::kPunctuation, text_.substr(begin_, at_ - begin_)};
  }
  [[noreturn]] void fail(const std::string& what) const { throw syntax_error(text_, begin_, what); }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }
  static bool is_number(char c) { return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }

  void skip_ignored() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '#')
        at_ = std::min(text_.find('\n', at_), text_.size() - 1);
      else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != ',')
        return;
    }
  }
  template <class Belongs>
  Token take(Kind kind, Belongs belongs) {
    while (at_ < text_.size() && belongs(text_[at_])) ++at_;
    return {kind, text_.substr(begin_, at_ - begin_)};
  }
  Token quoted() {
    if (text_.substr(at_).starts_with("\"\"\"")) {
      const size_t end = text_.find("\"\"\"", at_ + 3);
      if (end == text_.npos) fail("a string does not end");
      at_ = end + 3;
      return {Kind::kBlockString, text_.substr(begin_ + 3, end - begin_ - 3)};
    }
    for (++at_; at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n'; ++at_) at_ += text_[at_] == '\\';
    if (at_ >= text_.size() || text_[at_] != '"') fail("a string does not end");
    ++at_;
    return {Kind::kString, text_.substr(begin_, at_ - begin_)};
  }

  std::string_view text_;
  size_t at_ = 0, begin_ = 0;
};

// A field, or fragments still to be put in its place.
struct Selection {
  GraphqlField field;
  std::string spread;             // the name of a fragment
  std::vector<Selection> within;  // of a field or of an inline fragment
};
using Selections = std::vector<Selection>;

class Parser {
 public:
  Parser(std::string_view text, const json::Fields* variables) : lexer_(text), variables_(variables) { advance(); }

  std::vector<GraphqlField> parse(std::string_view wanted) {
    int operations = 0;
    bool found = false;
    Selections chosen;
    while (token_.kind != Kind::kEnd) {
      std::string keyword = is("{") ? "query" : name();
      if (keyword == "fragment") {
        const std::string fragment = name();
        if (name() != "on") lexer_.fail("a fragment says on what");
        name();
        directives();
        fragments_[fragment] = selections();
        continue;
      }
      if (keyword != "query" && keyword != "mutation") lexer_.fail("expected an operation, found '" + keyword + "'");
      const std::string operation = token_.kind == Kind::kName ? name() : "";
      defaults_.clear();
      if (is("(")) variable_definitions();
      directives();
      Selections all = selections();
      ++operations;
      if (!wanted.empty() && operation != wanted) continue;
      found = true;
      chosen = std::move(all);
    }
    if (!found || (wanted.empty() && operations > 1))
      throw invalid("The GraphQL query has " + std::to_string(operations) +
                    " operations: operationName must name one of them.");
    std::vector<GraphqlField> fields;
    put_in(chosen, fields, 0);
    return fields;
  }

 private:
  bool is(std::string_view punctuation) const {
    return token_.kind == Kind::kPunctuation && token_.text == punctuation;
  }
  void advance() { token_ = lexer_.next(); }
  bool accept(std::string_view punctuation) {
    if (!is(punctuation)) return false;
    advance();
    return true;
  }
  void expect(std::string_view punctuation) {
    if (!accept(punctuation)) lexer_.fail("expected '" + std::string(punctuation) + "'" + found());
  }
  std::string found() const {
    return token_.kind == Kind::kEnd ? ", found the end" : ", found '" + std::string(token_.text.substr(0, 40)) + "'";
  }
  std::string name() {
    if (token_.kind != Kind::kName) lexer_.fail("expected a name" + found());
    std::string text(token_.text);
    advance();
    return text;
  }
  void enter(int depth) const {
    if (depth > kMaxDepth) lexer_.fail("it is nested more than " + std::to_string(kMaxDepth) + " deep");
  }

  void variable_definitions() {
    expect("(");
    while (!accept(")")) {
      expect("$");
      const std::string variable = name();
      expect(":");
      while (accept("[") || accept("]") || accept("!") || token_.kind == Kind::kName) {
        if (token_.kind == Kind::kName) advance();
      }
      if (accept("=")) defaults_[variable] = value(0);
      directives();
    }
  }

  // False when @skip or @include says that what they stand at is left out.
  bool directives() {
    bool included = true;
    while (accept("@")) {
      const std::string directive = name();
      for (const auto& [argument, given] : arguments()) {
        if (argument != "if") continue;
        if (directive == "skip" && given == "true") included = false;
        if (directive == "include" && given == "false") included = false;
      }
    }
    return included;
  }

  std::vector<std::pair<std::string, std::string>> arguments() {
    std::vector<std::pair<std::string, std::string>> out;
    if (!accept("(")) return out;
    while (!accept(")")) {
      std::string argument = name();
      expect(":");
      out.emplace_back(std::move(argument), value(0));
    }
    return out;
  }

  // A value as JSON. Strings and numbers are written the same way in both; who reads the JSON finds what is not.
  std::string value(int depth) {
    enter(depth);
    if (accept("$")) return variable(name());
    if (accept("[")) {
      std::string out;
      while (!accept("]")) out += (out.empty() ? "[" : ",") + value(depth + 1);
      return out.empty() ? "[]" : out + "]";
    }
    if (accept("{")) {
      std::string out;
      while (!accept("}")) {
        const std::string key = name();
        expect(":");
        out += (out.empty() ? "{\"" : ",\"") + key + "\":" + value(depth + 1);
      }
      return out.empty() ? "{}" : out + "}";
    }
    const Token token = token_;
    if (token.kind == Kind::kEnd || token.kind == Kind::kPunctuation) lexer_.fail("expected a value" + found());
    advance();
    const bool is_enum =
        token.kind == Kind::kName && token.text != "true" && token.text != "false" && token.text != "null";
    return is_enum || token.kind == Kind::kBlockString ? json::quote(token.text) : std::string(token.text);
  }

  std::string variable(const std::string& name) const {
    const auto given = variables_ == nullptr ? std::nullopt : variables_->raw(name);
    if (given) return *given;
    const auto value = defaults_.find(name);
    return value == defaults_.end() ? "null" : value->second;
  }

  Selections selections() {
    expect("{");
    enter(++depth_);
    Selections out;
    while (!accept("}")) {
      Selection selection;
      if (accept("...")) {
        if (token_.kind == Kind::kName && token_.text != "on") {
          selection.spread = name();
        } else if (token_.kind == Kind::kName) {
          advance();
          name();
        }
        const bool included = directives();
        if (selection.spread.empty()) selection.within = selections();
        if (included) out.push_back(std::move(selection));
        continue;
      }
      GraphqlField& field = selection.field;
      field.alias = field.name = name();
      if (accept(":")) field.name = name();
      field.arguments = arguments();
      const bool included = directives();
      field.has_selection = is("{");
      if (field.has_selection) selection.within = selections();
      if (included) out.push_back(std::move(selection));
    }
    --depth_;
    return out;
  }

  // Appends the fields that the selections stand for; those of one alias become one.
  void put_in(const Selections& selections, std::vector<GraphqlField>& out, int depth) {
    enter(depth);
    for (const Selection& selection : selections) {
      if (++count_ > kMaxFields) throw invalid("The GraphQL query asks for more than 2000 fields.");
      if (!selection.spread.empty()) {
        const auto fragment = fragments_.find(selection.spread);
        if (fragment == fragments_.end()) throw invalid("Unknown fragment '" + selection.spread + "'.");
        put_in(fragment->second, out, depth + 1);
      } else if (selection.field.name.empty()) {
        put_in(selection.within, out, depth + 1);
      } else {
        GraphqlField* field = nullptr;
        for (GraphqlField& known : out) {
          if (known.alias == selection.field.alias) field = &known;
        }
        if (field == nullptr) field = &out.emplace_back(selection.field);
        if (field->name != selection.field.name || field->arguments != selection.field.arguments)
          throw invalid("Fields '" + field->alias + "' conflict: give one of them another alias.");
        put_in(selection.within, field->fields, depth + 1);
      }
    }
  }

  Lexer lexer_;
  const json::Fields* variables_;
  Token token_;
  int depth_ = 0;
  int count_ = 0;
  std::map<std::string, Selections> fragments_;
  std::map<std::string, std::string> defaults_;
};

}  // namespace

std::vector<GraphqlField> parse_graphql(std::string_view text, std::string_view operation,
                                        const json::Fields* variables) {
  return Parser(text, variables).parse(operation);
}

}  // namespace cairn::tracking
