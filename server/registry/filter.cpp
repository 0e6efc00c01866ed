#include "registry/filter.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace cairn::registry {
namespace {

constexpr std::string_view kPromptTag = "mlflow.prompt.is_prompt";
constexpr int kMaxDepth = 64;
constexpr int kMaxConditions = 200;
constexpr size_t kMaxListed = 1000;

struct Token {
  enum Kind { kWord, kQuoted, kNumber, kSymbol, kEnd } kind = kEnd;
  std::string text;   // of a quoted token: without its quotes
  std::string upper;  // of a word: for comparing with keywords
  std::string raw;
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    if (at_ == text_.size()) return {};
    const size_t begin = at_;
    Token token;
    const char c = text_[at_];
    if (c == '\'' || c == '"') {
      token.kind = Token::kQuoted;
      token.text = quoted(c);
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-') {
      token.kind = Token::kNumber;
      while (++at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '.')) continue;
      token.text = text_.substr(begin, at_ - begin);
    } else if (is_word(c) || c == '`') {
      token.kind = Token::kWord;
      token.text = word();
    } else {
      token.kind = Token::kSymbol;
      const std::string_view pair = text_.substr(at_, 2);
      at_ += pair == "!=" || pair == ">=" || pair == "<=" || pair == "<>" ? 2 : 1;
      token.text = text_.substr(begin, at_ - begin);
    }
    token.raw = text_.substr(begin, at_ - begin);
    token.upper = token.kind == Token::kWord ? token.raw : std::string();
    std::ranges::transform(token.upper, token.upper.begin(), [](unsigned char u) { return std::toupper(u); });
    return token;
  }

 private:
  // A quote inside is doubled.
  std::string quoted(char quote) {
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) {
        ++at_;
        if (at_ == text_.size() || text_[at_] != quote) return value;
      }
      value += text_[at_];
    }
    throw invalid("Invalid filter string: " + std::string(text_) + " (a quote is not closed)");
  }
  // Dots join the parts of a key, each of which may be quoted.
  std::string word() {
    std::string value;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '`' || (c == '"' && value.ends_with('.')))
        value += quoted(c);
      else if (is_word(c) || c == '.' || c == '-' || c == '/')
        value += c, ++at_;
      else
        break;
    }
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Compiler {
 public:
  Compiler(std::string_view filter, const FilterTarget& target, db::Params& params)
      : lexer_(filter), target_(target), params_(params) {
    advance();
  }

  std::string compile() {
    std::string sql = token_.kind == Token::kEnd ? "TRUE" : disjunction(0);
    if (token_.kind != Token::kEnd) throw bad_clause(token_.raw);
    if (!asks_for_prompts_) sql = "(" + sql + ") AND NOT " + std::string(target_.is_prompt);
    return sql;
  }

 private:
  static Error bad_clause(const std::string& text) { return invalid("Invalid clause(s) in filter string: " + text); }
  void advance() { token_ = lexer_.next(); }
  bool take(std::string_view keyword) {
    if (token_.upper != keyword && !(token_.kind == Token::kSymbol && token_.text == keyword)) return false;
    advance();
    return true;
  }
  template <class T>
  std::string bind(const T& value) {
    params_.add(value);
    return "$" + std::to_string(params_.size());
  }

  std::string disjunction(int depth) {
    if (depth > kMaxDepth) throw invalid("The filter string is nested too deeply.");
    std::string sql = conjunction(depth);
    while (take("OR")) sql += " OR " + conjunction(depth);
    return sql;
  }
  std::string conjunction(int depth) {
    std::string sql = factor(depth);
    while (take("AND")) sql += " AND " + factor(depth);
    return sql;
  }
  std::string factor(int depth) {
    if (!take("(")) return clause();
    const std::string sql = "(" + disjunction(depth + 1) + ")";
    if (!take(")")) throw bad_clause("a parenthesis is not closed");
    return sql;
  }

  std::string clause() {
    if (++conditions_ > kMaxConditions)
      throw invalid("The filter string has more than " + std::to_string(kMaxConditions) + " conditions.");
    if (token_.kind != Token::kWord) throw bad_clause(token_.raw);
    const Token key = token_;
    advance();
    if (token_.kind == Token::kEnd || token_.upper == "AND" || token_.upper == "OR") throw bad_clause(key.raw);
    const size_t dot = key.text.find('.');
    const std::string entity = key.raw.starts_with('`') || dot == std::string::npos ? "" : key.text.substr(0, dot);
    const std::string name = entity.empty() ? key.text : key.text.substr(dot + 1);
    if (entity == "tag" || entity == "tags") return tag(name);
    if (!entity.empty() && entity != "attribute")
      throw invalid("Invalid entity type '" + entity + "'. Valid entity types are ('attribute', 'tag', 'tags')");
    for (const Attribute& attribute : target_.attributes)
      if (attribute.key == name) return attribute.numeric ? number(attribute) : text(attribute);
    throw invalid("Invalid attribute key '" + name + "' specified. Valid keys are '" + std::string(target_.valid_keys) +
                  "'");
  }

  // The comparator, in upper case, of those that are allowed.
  std::string comparator(std::initializer_list<std::string_view> allowed, const char* of) {
    std::string op = token_.kind == Token::kWord ? token_.upper : token_.text;
    if (op == "<>") op = "!=";
    if (std::ranges::find(allowed, op) == allowed.end())
      throw invalid(std::string("Invalid comparator for ") + of + ": " + op);
    advance();
    return op;
  }

  std::string tag(const std::string& name) {
    const auto value_of = [&] { return "(" + std::string(target_.tags) + " ->> " + bind(name) + ")"; };
    if (take("IS")) {
      const bool negated = take("NOT");
      if (!take("NULL")) throw bad_clause(name + " IS " + token_.raw);
      if (name == kPromptTag) asks_for_prompts_ = true;
      return value_of() + (negated ? " IS NOT NULL" : " IS NULL");
    }
    const std::string op = comparator({"=", "!=", "LIKE", "ILIKE"}, "tag");
    if (token_.kind != Token::kQuoted)
      throw invalid("Expected a quoted string value for tag (e.g. 'my-value'). Got value " + token_.raw);
    const std::string value = token_.text;
    if (op.ends_with("LIKE")) db::check_like_pattern(value);
    advance();
    if (name == kPromptTag) {
      asks_for_prompts_ = true;
      // What is no prompt has no such tag.
      if ((op == "=" && value == "false") || (op == "!=" && value == "true"))
        return "NOT " + std::string(target_.is_prompt);
    }
    return value_of() + " " + op + " " + bind(value);
  }

  std::string text(const Attribute& attribute) {
    const std::string column(attribute.column);
    const bool negated = take("NOT");
    if (negated || token_.upper == "IN") {
      if (!take("IN")) throw bad_clause(std::string(attribute.key) + " NOT " + token_.raw);
      if (!attribute.lists) throw no_lists();
      return column + (negated ? " <> ALL (" : " = ANY (") + bind(list()) + ")";
    }
    const std::string op = comparator({"=", "!=", "LIKE", "ILIKE"}, "attribute");
    if (token_.kind != Token::kQuoted)
      throw invalid("Parameter value is either not quoted or unidentified quote types used for string value " +
                    token_.raw + ". Use either single or double quotes.");
    const std::string value = token_.text;
    if (op.ends_with("LIKE")) db::check_like_pattern(value);
    advance();
    return column + " " + op + " " + bind(value);
  }

  std::string number(const Attribute& attribute) {
    if (token_.upper == "IN" || token_.upper == "NOT") throw no_lists();
    const std::string op = comparator({"=", "!=", ">", ">=", "<", "<="}, "attribute");
    int64_t value = 0;
    const std::string digits = token_.text;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
      throw invalid("Expected an integer value for " + std::string(attribute.key) + ". Got value " + token_.raw);
    advance();
    return std::string(attribute.column) + " " + op + " " + bind(value);
  }

  Error no_lists() const {
    std::string keys;
    for (const Attribute& attribute : target_.attributes)
      if (attribute.lists) keys += (keys.empty() ? "'" : ", '") + std::string(attribute.key) + "'";
    return invalid("Only [" + keys + "] attributes support comparison with a list of quoted string values.");
  }

  std::vector<std::string> list() {
    std::vector<std::string> values;
    if (!take("(")) throw bad_clause(token_.raw);
    while (token_.kind == Token::kQuoted) {
      if (values.size() == kMaxListed)
        throw invalid("A list in the filter string has more than " + std::to_string(kMaxListed) + " values.");
      values.push_back(token_.text);
      advance();
      if (!take(",")) break;
    }
    if (values.empty() && token_.text == ")")
      throw invalid(
          "While parsing a list in the query, expected a non-empty list of string values, but got empty list");
    if (!take(")"))
      throw invalid(
          "While parsing a list in the query, expected string value, punctuation, or whitespace, but got "
          "different type in list: " +
          token_.raw);
    return values;
  }

  Lexer lexer_;
  const FilterTarget& target_;
  db::Params& params_;
  Token token_;
  bool asks_for_prompts_ = false;
  int conditions_ = 0;
};

}  // namespace

std::string compile_filter(std::string_view filter, const FilterTarget& target, db::Params& params) {
  return Compiler(filter, target, params).compile();
}

}  // namespace cairn::registry
