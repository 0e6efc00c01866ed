#include "tuner/sql/select_text.h"

#include <algorithm>
#include <string_view>

namespace cairn::tuner {
namespace {

enum class Kind { kWord, kQuoted, kString, kSymbol };

struct Token {
  Kind kind = Kind::kSymbol;
  size_t begin = 0;
  size_t end = 0;
  int depth = 0;  // of brackets and CASE around it; a bracket itself counts as outside
};

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Where what is quoted from `begin` on ends; npos: nowhere.
size_t quoted_end(std::string_view text, size_t begin, bool escapes) {
  const char quote = text[begin];
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (escapes && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (i + 1 < text.size() && text[i + 1] == quote)
        ++i;
      else
        return i + 1;
    }
  }
  return std::string_view::npos;
}

class Tokens {
 public:
  explicit Tokens(const std::string& text) : text_(text) { read(); }

  bool good() const { return good_; }
  size_t size() const { return tokens_.size(); }
  const Token& operator[](size_t i) const { return tokens_[i]; }
  std::string_view text(size_t i) const {
    if (i >= tokens_.size()) return {};
    return std::string_view(text_).substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin);
  }
  bool is(size_t i, std::string_view wanted) const {
    return i < tokens_.size() && tokens_[i].kind != Kind::kQuoted && tokens_[i].kind != Kind::kString &&
           text(i) == wanted;
  }
  bool is_outside(size_t i, std::string_view wanted) const { return is(i, wanted) && tokens_[i].depth == 0; }
  size_t at(size_t offset) const {
    const auto found = std::ranges::lower_bound(tokens_, offset, {}, &Token::begin);
    return static_cast<size_t>(found - tokens_.begin());
  }
  // The bracket that closes the one at `i`; size() when there is none.
  size_t closing(size_t i) const {
    for (size_t j = i + 1; j < tokens_.size(); ++j) {
      if (tokens_[j].depth == tokens_[i].depth && is(j, ")")) return j;
    }
    return tokens_.size();
  }

 private:
  void read() {
    int depth = 0;
    for (size_t i = 0; i < text_.size();) {
      const char c = text_[i];
      if (static_cast<unsigned char>(c) <= ' ') {
        ++i;
        continue;
      }
      Token token{.begin = i, .end = i + 1};
      if (c == '\'' || c == '"') {
        const bool escapes = c == '\'' && i > 0 && text_[i - 1] == 'E' && !tokens_.empty() && tokens_.back().end == i;
        token.kind = c == '"' ? Kind::kQuoted : Kind::kString;
        token.end = quoted_end(text_, i, escapes);
        if (token.end == std::string_view::npos) return;
      } else if (is_word_byte(c)) {
        token.kind = Kind::kWord;
        while (token.end < text_.size() && is_word_byte(text_[token.end])) ++token.end;
      }
      const std::string_view word = std::string_view(text_).substr(token.begin, token.end - token.begin);
      if (word == ")" || word == "]" || (token.kind == Kind::kWord && word == "END")) --depth;
      token.depth = depth;
      if (word == "(" || word == "[" || (token.kind == Kind::kWord && word == "CASE")) ++depth;
      tokens_.push_back(token);
      i = token.end;
    }
    good_ = depth == 0;
  }

  const std::string& text_;
  std::vector<Token> tokens_;
  bool good_ = false;
};

std::string between(const std::string& text, const Tokens& tokens, size_t begin, size_t end) {
  if (begin >= end) return {};
  return text.substr(tokens[begin].begin, tokens[end - 1].end - tokens[begin].begin);
}

// The pieces of [begin, end) between separators that stand outside of brackets.
std::vector<std::string> split(const std::string& text, const Tokens& tokens, Span range, std::string_view separator) {
  std::vector<std::string> pieces;
  size_t start = range.begin;
  bool between_and = false;
  for (size_t i = range.begin; i < range.end; ++i) {
    if (tokens.is_outside(i, "BETWEEN")) between_and = true;
    if (!tokens.is_outside(i, separator)) continue;
    if (separator == "AND" && between_and) {
      between_and = false;
      continue;
    }
    pieces.push_back(between(text, tokens, start, i));
    start = i + 1;
  }
  if (start < range.end) pieces.push_back(between(text, tokens, start, range.end));
  return pieces;
}

constexpr std::string_view kClauses[] = {"FROM", "WHERE", "GROUP", "HAVING", "ORDER"};
constexpr std::string_view kLast[] = {"LIMIT", "OFFSET", "FETCH"};
constexpr std::string_view kRefused[] = {"UNION", "INTERSECT", "EXCEPT", "WINDOW", "FOR", "INTO"};

bool is_one_of(const Tokens& tokens, size_t i, const auto& words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return tokens.is_outside(i, word); });
}

// Where a clause begins; `a IS DISTINCT FROM b` begins none.
bool begins_clause(const Tokens& tokens, size_t i) {
  const bool is_distinct =
      i >= 2 && tokens.is(i - 1, "DISTINCT") && (tokens.is(i - 2, "IS") || tokens.is(i - 2, "NOT"));
  return is_one_of(tokens, i, kLast) || (is_one_of(tokens, i, kClauses) && !(tokens.is(i, "FROM") && is_distinct));
}

}  // namespace

std::optional<SelectText> split_select(const std::string& text) {
  const Tokens tokens(text);
  size_t at = 0;
  while (at < tokens.size() && !tokens.is_outside(at, "SELECT")) ++at;
  if (!tokens.good() || at == tokens.size() || (at > 0 && !tokens.is(0, "WITH"))) return std::nullopt;
  SelectText select{.with = between(text, tokens, 0, at)};
  ++at;
  if (tokens.is(at, "DISTINCT")) {
    select.distinct = true;
    if (tokens.is(++at, "ON")) return std::nullopt;
  }
  std::string clause = "SELECT";
  while (at <= tokens.size()) {
    size_t end = at;
    while (end < tokens.size() && !begins_clause(tokens, end)) {
      if (is_one_of(tokens, end, kRefused)) return std::nullopt;
      ++end;
    }
    const Span range{at, end, {}};
    if (clause == "SELECT") select.targets = split(text, tokens, range, ",");
    if (clause == "FROM") select.from = between(text, tokens, at, end);
    if (clause == "WHERE") {
      const bool either = split(text, tokens, range, "OR").size() > 1;
      select.conditions = either ? std::vector{between(text, tokens, at, end)} : split(text, tokens, range, "AND");
    }
    if (clause == "GROUP") select.grouping = split(text, tokens, {at + 1, end, {}}, ",");
    if (clause == "HAVING") select.having = between(text, tokens, at, end);
    if (clause == "ORDER") select.order = split(text, tokens, {at + 1, end, {}}, ",");
    if (end == tokens.size()) break;
    if (is_one_of(tokens, end, kLast)) {
      for (size_t i = end; i < tokens.size(); ++i)
        if (is_one_of(tokens, i, kRefused)) return std::nullopt;
      select.limit = between(text, tokens, end, tokens.size());
      break;
    }
    clause = tokens.text(end);
    if ((clause == "GROUP" || clause == "ORDER") && !tokens.is(end + 1, "BY")) return std::nullopt;
    at = end + 1;
  }
  return select;
}

std::string replace(const std::string& text, std::vector<Span> spans) {
  std::ranges::sort(spans, {}, &Span::begin);
  std::string result;
  size_t at = 0;
  for (const Span& span : spans) {
    result.append(text, at, span.begin - at).append(span.text);
    at = span.end;
  }
  return result.append(text, at);
}

std::optional<size_t> call_end(const std::string& text, size_t begin) {
  const Tokens tokens(text);
  size_t i = tokens.at(begin);
  const auto skip_brackets = [&](size_t open) { return tokens.closing(open) + 1; };
  while (i < tokens.size() && !tokens.is(i, "(")) ++i;
  size_t next = i < tokens.size() ? skip_brackets(i) : tokens.size() + 1;
  if (tokens.is(next, "WITHIN")) next = skip_brackets(next + 2);
  if (tokens.is(next, "FILTER")) next = skip_brackets(next + 1);
  if (!tokens.good() || next > tokens.size()) return std::nullopt;
  return tokens[next - 1].end;
}

std::optional<size_t> name_end(const std::string& text, size_t begin, size_t parts) {
  const Tokens tokens(text);
  const size_t last = tokens.at(begin) + 2 * parts - 2;
  if (parts == 0 || last >= tokens.size() || tokens[tokens.at(begin)].begin != begin) return std::nullopt;
  for (size_t i = 0; i < parts; ++i) {
    const Kind kind = tokens[last - 2 * i].kind;
    if (kind != Kind::kWord && kind != Kind::kQuoted) return std::nullopt;
    if (i + 1 < parts && !tokens.is(last - 2 * i - 1, ".")) return std::nullopt;
  }
  return tokens[last].end;
}

std::vector<Span> in_brackets(const std::string& text, const std::string& expression) {
  const Tokens tokens(text);
  std::vector<Span> found;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens.is(i, "(")) continue;
    const size_t close = tokens.closing(i);
    if (close < tokens.size() && between(text, tokens, i + 1, close) == expression)
      found.push_back({tokens[i].end, tokens[close].begin, {}});
  }
  return found;
}

std::string without_alias(const std::string& target) {
  const Tokens tokens(target);
  if (tokens.size() < 3 || !tokens.is_outside(tokens.size() - 2, "AS")) return target;
  return between(target, tokens, 0, tokens.size() - 2);
}

std::optional<SortText> split_sort(const std::string& item) {
  const Tokens tokens(item);
  size_t end = tokens.size();
  if (end >= 2 && tokens.is_outside(end - 2, "NULLS")) end -= 2;
  if (end >= 1 && (tokens.is_outside(end - 1, "ASC") || tokens.is_outside(end - 1, "DESC"))) --end;
  for (size_t i = 0; i < end; ++i)
    if (tokens.is_outside(i, "USING")) return std::nullopt;
  if (end == 0) return std::nullopt;
  return SortText{between(item, tokens, 0, end),
                  end == tokens.size() ? "" : " " + between(item, tokens, end, tokens.size())};
}

}  // namespace cairn::tuner
