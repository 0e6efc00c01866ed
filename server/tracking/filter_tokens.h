// Splits a filter string or an order_by clause into tokens. Pure; never throws but for memory.
#pragma once

#include <string_view>
#include <vector>

namespace cairn::tracking {

enum class TokenKind {
  kIdentifier,  // name, entity.key, entity.`key`
  kOperation,   // a/b, a-b: not an identifier unless it is quoted
  kNumber,
  kString,       // '…' or "…", quotes and all
  kComparator,   // = == != <> < <= > >=
  kPunctuation,  // ( ) , ;
  kOther,        // an unterminated quote, a comment, anything else
};

struct Token {
  TokenKind kind;
  std::string_view text;
  size_t begin;  // offset in the whole text
};

std::vector<Token> tokenize(std::string_view text);

}  // namespace cairn::tracking
