#include <algorithm>

#include "search/text.h"

namespace cairn::search {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// What is never cut while it fits a chunk: a sentence or a line.
struct Piece {
  size_t begin = 0;
  size_t end = 0;
  size_t characters = 0;
};

// Behind the text's next sentence or line, with the white space that follows it.
size_t sentence_end(std::string_view text, size_t at) {
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') return at + 1;
    if (c != '.' && c != '!' && c != '?') continue;
    size_t behind = at + 1;
    while (behind < text.size() && (text[behind] == '"' || text[behind] == '\'' || text[behind] == ')')) ++behind;
    if (behind == text.size() || is_space(text[behind])) return std::min(behind + 1, text.size());
  }
  return at;
}

// The piece cut into such of at most `size` characters, behind white space where there is some in its last half.
void cut(std::string_view text, Piece piece, size_t size, std::vector<Piece>& pieces) {
  size_t begin = piece.begin, characters = 0, space = 0, characters_at_space = 0;
  for (size_t at = piece.begin; at < piece.end; ++at) {
    if (begins_character(text[at]) && characters == size) {
      const bool at_word = space > begin && characters_at_space * 2 > size;
      const size_t end = at_word ? space : at;
      pieces.push_back({begin, end, at_word ? characters_at_space : characters});
      characters -= at_word ? characters_at_space : characters;
      begin = end;
    }
    characters += begins_character(text[at]);
    if (is_space(text[at])) {
      space = at + 1;
      characters_at_space = characters;
    }
  }
  if (begin < piece.end) pieces.push_back({begin, piece.end, characters});
}

std::vector<Piece> pieces_of(std::string_view text, size_t size) {
  std::vector<Piece> pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = sentence_end(text, begin);
    const size_t characters = std::count_if(text.begin() + begin, text.begin() + end, begins_character);
    if (characters > size)
      cut(text, {begin, end, characters}, size, pieces);
    else
      pieces.push_back({begin, end, characters});
    begin = end;
  }
  return pieces;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<std::string_view> chunks_of(std::string_view text, size_t size, size_t overlap) {
  const std::vector<Piece> pieces = pieces_of(text, size);
  std::vector<std::string_view> chunks;
  for (size_t first = 0; first < pieces.size();) {
    size_t last = first, characters = 0;
    while (last < pieces.size() && characters + pieces[last].characters <= size)
      characters += pieces[last++].characters;
    const auto chunk = trimmed(text.substr(pieces[first].begin, pieces[last - 1].end - pieces[first].begin));
    if (!chunk.empty()) chunks.push_back(chunk);
    if (last == pieces.size()) break;
    // The next begins with the last pieces of this one, as many as the overlap and what follows them leave room for.
    size_t next = last, shared = 0;
    while (next > first + 1 && shared + pieces[next - 1].characters <= overlap &&
           shared + pieces[next - 1].characters + pieces[last].characters <= size)
      shared += pieces[--next].characters;
    first = next;
  }
  return chunks;
}

}  // namespace cairn::search
