#include "tracking/filter_tokens.h"

namespace cairn::tracking {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool is_word(char c) { return is_word_start(c) || is_digit(c) || c == '$' || c == '#' || c == '@'; }

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    for (;;) {
      while (at_ < text_.size() && is_space(text_[at_])) ++at_;
      if (at_ == text_.size()) return tokens;
      const size_t begin = at_;
      const TokenKind kind = next();
      tokens.push_back({kind, text_.substr(begin, at_ - begin), begin});
    }
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  TokenKind next() {
    const char c = peek();
    if (is_word_start(c) || c == '`') return identifier();
    if (c == '\'' || c == '"') return quoted() ? TokenKind::kString : TokenKind::kOther;
    const char after_sign = c == '-' ? peek(1) : c;
    if (is_digit(after_sign) || (after_sign == '.' && is_digit(peek(c == '-' ? 2 : 1)))) return number();
    if (c == '(' || c == ')' || c == ',' || c == ';') return ++at_, TokenKind::kPunctuation;
    if (c == '=' || c == '<' || c == '>' || (c == '!' && peek(1) == '=')) {
      ++at_;
      if (peek() == '=' || (c == '<' && peek() == '>')) ++at_;
      return TokenKind::kComparator;
    }
    if ((c == '-' && peek(1) == '-') || (c == '/' && peek(1) == '*')) return comment();
    ++at_;
    return TokenKind::kOther;
  }

  // A quote within quotes is doubled, and stays so. An unterminated quote is one token of one byte.
  bool quoted() {
    const char quote = peek();
    for (size_t end = at_ + 1; (end = text_.find(quote, end)) != std::string_view::npos; end += 2) {
      if (end + 1 < text_.size() && text_[end + 1] == quote) continue;
      at_ = end + 1;
      return true;
    }
    ++at_;
    return false;
  }

  TokenKind identifier() {
    bool operation = false;
    while (at_ < text_.size()) {
      const char c = peek();
      if (is_word(c) || c == '.') {
        ++at_;
      } else if (c == '`' || (c == '"' && at_ > 0 && text_[at_ - 1] == '.')) {
        if (!quoted()) return TokenKind::kOther;
      } else if ((c == '/' || c == '-' || c == '+' || c == '*' || c == '%' || c == ':') && is_word(peek(1))) {
        operation = true;
        ++at_;
      } else {
        break;
      }
    }
    return operation ? TokenKind::kOperation : TokenKind::kIdentifier;
  }

  TokenKind number() {
    if (peek() == '-') ++at_;
    while (is_digit(peek())) ++at_;
    if (peek() == '.') ++at_;
    while (is_digit(peek())) ++at_;
    const bool sign = peek(1) == '+' || peek(1) == '-';
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign ? 2 : 1))) {
      at_ += sign ? 2 : 1;
      while (is_digit(peek())) ++at_;
    }
    if (!is_word(peek())) return TokenKind::kNumber;
    while (is_word(peek())) ++at_;
    return TokenKind::kOther;
  }

  TokenKind comment() {
    const bool block = peek() == '/';
    const size_t end = text_.find(block ? "*/" : "\n", at_ + 2);
    at_ = end == std::string_view::npos ? text_.size() : end + (block ? 2 : 0);
    return TokenKind::kOther;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text) { return Tokenizer(text).run(); }

}  // namespace cairn::tracking
