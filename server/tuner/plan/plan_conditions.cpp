#include "tuner/plan/plan_conditions.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace cairn::tuner {
namespace {

constexpr int kMaxNesting = 20;  // of brackets and alternatives that are looked into
constexpr std::string_view kOperatorCharacters = "+-*/<>=~!@#%^&|`?";

bool begins_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool in_word(char c) { return begins_word(c) || (c >= '0' && c <= '9') || c == '$'; }

// Past the quoted text that begins at `at`; quotes inside are doubled.
size_t after_quoted(std::string_view text, size_t at) {
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] != quote) continue;
    if (i + 1 >= text.size() || text[i + 1] != quote) return i + 1;
    ++i;
  }
  return text.size();
}

// Calls visit(position) at each character outside of quotes and brackets, until it gives true; brackets themselves are
// not visited. False when the brackets do not match.
bool for_each_at_top(std::string_view text, const std::function<bool(size_t)>& visit) {
  int depth = 0;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      if (depth == 0 && visit(i)) return true;
      i = after_quoted(text, i);
      continue;
    }
    if (c == ')' || c == ']') {
      if (--depth < 0) return false;
    } else if (c == '(' || c == '[') {
      ++depth;
    } else if (depth == 0 && visit(i)) {
      return true;
    }
    ++i;
  }
  return depth == 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string_view without_brackets(std::string_view text) {
  text = trimmed(text);
  while (text.size() >= 2 && text.front() == '(' && text.back() == ')') {
    const std::string_view inner = text.substr(1, text.size() - 2);
    if (!for_each_at_top(inner, [](size_t) { return false; })) break;
    text = trimmed(inner);
  }
  return text;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view word) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for_each_at_top(text, [&](size_t at) {
    if (at >= begin && text.substr(at).starts_with(word)) {
      parts.push_back(text.substr(begin, at - begin));
      begin = at + word.size();
    }
    return false;
  });
  parts.push_back(text.substr(begin));
  return parts;
}

// An identifier at `at`, without its quotes; `end` is set past it.
std::optional<std::string> identifier_at(std::string_view text, size_t at, size_t& end) {
  if (at >= text.size()) return std::nullopt;
  if (text[at] == '"') {
    end = after_quoted(text, at);
    if (end <= at + 2) return std::nullopt;
    std::string name;
    for (size_t i = at + 1; i + 1 < end; ++i) {
      name += text[i];
      if (text[i] == '"') ++i;
    }
    return name;
  }
  if (!begins_word(text[at])) return std::nullopt;
  for (end = at; end < text.size() && in_word(text[end]);) ++end;
  return std::string(text.substr(at, end - at));
}

// Calls visit(begin of the alias, begin of the column, end, name) for each "alias.column".
template <class F>
void for_each_column(std::string_view text, std::string_view alias, F&& visit) {
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\'') {
      i = after_quoted(text, i);
      continue;
    }
    size_t end = 0;
    const auto name = identifier_at(text, i, end);
    if (!name) {
      // The word of a number ("1e5"), of a parameter ("$1") is none.
      do ++i;
      while (i < text.size() && in_word(text[i - 1]) && in_word(text[i]));
      continue;
    }
    size_t column_end = 0;
    const auto column = *name == alias && end < text.size() && text[end] == '.'
                            ? identifier_at(text, end + 1, column_end)
                            : std::nullopt;
    if (column && (column_end >= text.size() || text[column_end] != '('))
      visit(i, end + 1, column_end, *column), i = column_end;
    else
      i = end;
  }
}

struct Comparison {
  std::string_view left, name, right;
};

std::optional<Comparison> comparison(std::string_view text) {
  std::optional<Comparison> found;
  for_each_at_top(text, [&](size_t at) {
    if (at == 0 || text[at - 1] != ' ') return false;
    size_t end = text.find(' ', at);
    if (end == text.npos) return false;
    const std::string_view word = text.substr(at, end - at);
    const bool symbols = word.find_first_not_of(kOperatorCharacters) == word.npos;
    if (!symbols && word != "IS" && !word.starts_with("OPERATOR(")) return false;
    found = {trimmed(text.substr(0, at)), word, trimmed(text.substr(end))};
    return true;
  });
  return found;
}

std::string mirrored(std::string_view name) {
  if (name == "<") return ">";
  if (name == "<=") return ">=";
  if (name == ">") return "<";
  if (name == ">=") return "<=";
  return std::string(name);
}

ConditionKind kind_of(std::string_view name, std::string_view value) {
  if (name == "IS") return value == "NULL" || value == "NOT NULL" ? ConditionKind::kTest : ConditionKind::kOther;
  if (name == "=") return value.starts_with("ALL ") ? ConditionKind::kOther : ConditionKind::kEquality;
  if (value.starts_with("ANY ") || value.starts_with("ALL ")) return ConditionKind::kOther;
  if (name == "<" || name == "<=" || name == ">" || name == ">=") return ConditionKind::kRange;
  for (const std::string_view pattern : {"~~", "~~*", "~", "~*"}) {
    if (name == pattern) return ConditionKind::kPattern;
  }
  for (const std::string_view contains : {"@>", "<@", "?", "?|", "?&", "&&", "@@", "@?"}) {
    if (name == contains) return ConditionKind::kContains;
  }
  return ConditionKind::kOther;
}

// The column of "(d.status)::text" and the type that it is cast to.
bool read_side(std::string_view side, std::string_view alias, Condition& condition) {
  condition.column = bare_column(side, alias);
  if (!condition.column.empty()) return true;
  const size_t cast = side.rfind("::");
  if (cast != side.npos && cast > 0 && side.substr(cast + 2).find_first_of("()'") == side.npos) {
    condition.column = bare_column(side.substr(0, cast), alias);
    condition.cast = condition.column.empty() ? "" : std::string(side.substr(cast + 2));
  }
  if (condition.column.empty() && columns_in(side, alias).empty()) return false;
  if (condition.column.empty() || !condition.cast.empty())
    condition.expression = without_alias(without_brackets(side), alias);
  return true;
}

Condition read_one(std::string_view text, std::string_view alias, int nesting);

std::vector<Condition> read_all(std::string_view text, std::string_view alias, int nesting) {
  std::vector<Condition> conditions;
  const std::string_view inner = without_brackets(text);
  if (inner.empty()) return conditions;
  const auto parts = split_at(inner, " AND ");
  for (const std::string_view part : parts) {
    const std::string_view one = without_brackets(part);
    if (parts.size() > 1 && nesting < kMaxNesting && split_at(one, " AND ").size() > 1) {
      for (Condition& condition : read_all(one, alias, nesting + 1)) conditions.push_back(std::move(condition));
    } else {
      conditions.push_back(read_one(one, alias, nesting + 1));
    }
  }
  return conditions;
}

Condition read_one(std::string_view text, std::string_view alias, int nesting) {
  Condition condition;
  condition.text = text;
  condition.columns = columns_in(text, alias);
  const auto alternatives = split_at(text, " OR ");
  if (alternatives.size() > 1) {
    condition.kind = ConditionKind::kOr;
    for (const std::string_view alternative : alternatives) {
      auto parts = nesting < kMaxNesting ? read_all(alternative, alias, nesting + 1) : std::vector<Condition>();
      if (!parts.empty()) condition.alternatives.push_back(std::move(parts.front()));
    }
    return condition;
  }
  if (const auto compared = comparison(text)) {
    condition.operator_name = compared->name;
    Condition other = condition;
    const bool left = read_side(compared->left, alias, condition);
    const bool right = read_side(compared->right, alias, other);
    if (left && right && !(condition.columns.empty() || other.columns.empty()) &&
        !columns_in(compared->left, alias).empty() && !columns_in(compared->right, alias).empty()) {
      condition.column.clear(), condition.cast.clear(), condition.expression.clear();
      return condition;  // two columns of one row: no index helps
    }
    const bool mirror = !left || (right && columns_in(compared->left, alias).empty());
    if (mirror && right) condition = other, condition.operator_name = mirrored(compared->name);
    if (!left && !right) return condition;
    condition.value = mirror ? compared->left : compared->right;
    condition.kind = kind_of(condition.operator_name, condition.value);
    return condition;
  }
  condition.column = bare_column(text.starts_with("NOT ") ? text.substr(4) : text, alias);
  if (!condition.column.empty())
    condition.kind = ConditionKind::kTest;
  else if (!condition.columns.empty())
    condition.expression = without_alias(text, alias);
  return condition;
}

}  // namespace

std::vector<Condition> read_conditions(std::string_view text, std::string_view alias) {
  return read_all(text, alias, 0);
}

std::vector<std::string> columns_in(std::string_view text, std::string_view alias) {
  std::vector<std::string> columns;
  for_each_column(text, alias, [&](size_t, size_t, size_t, const std::string& column) {
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
  });
  return columns;
}

std::string without_alias(std::string_view text, std::string_view alias) {
  std::string out;
  size_t copied = 0;
  for_each_column(text, alias, [&](size_t begin, size_t column, size_t end, const std::string&) {
    out += text.substr(copied, begin - copied);
    out += text.substr(column, end - column);
    copied = end;
  });
  return out.append(text.substr(copied));
}

std::string bare_column(std::string_view text, std::string_view alias) {
  text = without_brackets(text);
  size_t end = 0;
  const auto name = identifier_at(text, 0, end);
  if (!name) return "";
  if (end == text.size()) {
    for (const std::string_view word : {"true", "false", "NULL", "CURRENT_DATE", "CURRENT_USER", "CURRENT_TIMESTAMP",
                                        "CURRENT_ROLE", "SESSION_USER", "LOCALTIMESTAMP", "CURRENT_TIME"}) {
      if (text == word) return "";
    }
    return *name;
  }
  if (*name != alias || text[end] != '.') return "";
  const size_t begin = end + 1;
  const auto column = identifier_at(text, begin, end);
  return column && end == text.size() ? *column : "";
}

}  // namespace cairn::tuner
