// The clauses of a SELECT as pieces of its text, and expressions inside them found by the parser's locations: for a new
// statement that is put together from an old one's parts. Only for text as deparsed() writes it: without comments,
// keywords in capitals. Nothing here throws for a text.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace cairn::tuner {

struct SelectText {
  std::string with = {};  // WITH and its queries
  bool distinct = false;
  std::vector<std::string> targets = {};
  std::string from = {};
  std::vector<std::string> conditions = {};  // of WHERE, all of which must hold
  std::vector<std::string> grouping = {};
  std::string having = {};
  std::vector<std::string> order = {};
  std::string limit = {};  // LIMIT, OFFSET and what follows
};

// Nothing for what is no plain SELECT: set operations, windows, VALUES, FOR UPDATE.
std::optional<SelectText> split_select(const std::string& text);

// A piece of text, for replace().
struct Span {
  size_t begin = 0;
  size_t end = 0;
  std::string text = {};  // that takes its place

  bool overlaps(const Span& other) const { return begin < other.end && other.begin < end; }
};
std::string replace(const std::string& text, std::vector<Span> spans);

// Where the function call that begins at `begin` ends, with its FILTER and WITHIN GROUP.
std::optional<size_t> call_end(const std::string& text, size_t begin);
// Where the name of so many parts, a.b, that begins at `begin` ends.
std::optional<size_t> name_end(const std::string& text, size_t begin, size_t parts);
// Where `expression` stands in brackets of its own.
std::vector<Span> in_brackets(const std::string& text, const std::string& expression);
// Without a trailing ` AS alias`.
std::string without_alias(const std::string& target);
// Without ASC, DESC and NULLS FIRST or LAST; nothing with USING.
struct SortText {
  std::string expression = {};
  std::string direction = {};
};
std::optional<SortText> split_sort(const std::string& item);

}  // namespace cairn::tuner
