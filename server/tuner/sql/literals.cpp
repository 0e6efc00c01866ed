#include <algorithm>

#include "tuner/profile/statements.h"

namespace cairn::tuner {
namespace {

constexpr std::string_view kMasked = "'…'";
constexpr size_t npos = std::string_view::npos;

// A piece of SQL; `end` is npos where it is not certain that it ends.
struct Piece {
  size_t end;
  bool literal = false;
};

bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return isalnum(byte) || c == '_' || byte >= 0x80;
}

size_t end_of_word(std::string_view sql, size_t from) {
  while (from < sql.size() && (is_word(sql[from]) || sql[from] == '$')) ++from;
  return from;
}

size_t end_of_comment(std::string_view sql, size_t from) {
  int depth = 0;  // they nest
  for (size_t i = from; i + 1 < sql.size(); ++i) {
    const std::string_view two = sql.substr(i, 2);
    if (two == "/*") ++depth, ++i;
    if (two == "*/" && (++i, --depth == 0)) return i + 1;
  }
  return npos;
}

// Between two characters like the one at `from`; a doubled one inside does not end it.
size_t end_of_quoted(std::string_view sql, size_t from, bool backslash_escapes) {
  for (size_t i = from + 1; i < sql.size(); ++i) {
    if (sql[i] == '\\' && backslash_escapes) {
      ++i;
    } else if (sql[i] == sql[from]) {
      if (i + 1 == sql.size() || sql[i + 1] != sql[from]) return i + 1;
      ++i;
    }
  }
  return npos;
}

Piece quoted_literal(std::string_view sql, size_t from, bool backslash_escapes) {
  size_t end = end_of_quoted(sql, from, backslash_escapes);
  // Whether a backslash escapes elsewhere is a setting of the session that ran it: standard_conforming_strings.
  if (end != npos && !backslash_escapes && sql.substr(from, end - from).find("\\'") != npos) end = npos;
  return {end, true};
}

// $tag$…$tag$, or a placeholder.
Piece after_dollar(std::string_view sql, size_t from) {
  size_t close = from + 1;
  while (close < sql.size() && is_word(sql[close])) ++close;
  const bool placeholder = from + 1 < sql.size() && isdigit(static_cast<unsigned char>(sql[from + 1]));
  if (placeholder || close == sql.size() || sql[close] != '$') return {from + 1};
  const std::string_view tag = sql.substr(from, close + 1 - from);
  const size_t end = sql.find(tag, from + tag.size());
  return {end == npos ? npos : end + tag.size(), true};
}

Piece piece_at(std::string_view sql, size_t from) {
  const std::string_view two = sql.substr(from, 2);
  if (two == "--") return {std::min(sql.find('\n', from), sql.size())};
  if (two == "/*") return {end_of_comment(sql, from)};
  if (two == "e'" || two == "E'") return quoted_literal(sql, from + 1, true);
  if (sql[from] == '\'') return quoted_literal(sql, from, false);
  if (sql[from] == '"') return {end_of_quoted(sql, from, false)};
  if (sql[from] == '$') return after_dollar(sql, from);
  return {is_word(sql[from]) ? end_of_word(sql, from) : from + 1};
}

}  // namespace

std::string without_literals(std::string_view sql) {
  std::string out;
  for (size_t from = 0; from < sql.size();) {
    const Piece piece = piece_at(sql, from);
    if (piece.literal) out += kMasked;
    if (piece.end == npos) break;
    if (!piece.literal) out += sql.substr(from, piece.end - from);
    from = piece.end;
  }
  return out;
}

}  // namespace cairn::tuner
