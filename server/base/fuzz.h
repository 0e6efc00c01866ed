// For *_fuzz.cpp only: what they assert with, and what holds of every SQL text that is made from a caller's.
#pragma once

#include <cstdlib>
#include <set>
#include <string_view>

namespace cairn::fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

// Each of $1 … $count is used and no other; strings are closed, parentheses balanced, and there is one statement
// without comments.
inline void require_bound(std::string_view sql, size_t count) {
  std::set<size_t> used;
  int depth = 0;
  for (size_t i = 0; i < sql.size(); ++i) {
    const char c = sql[i];
    require(static_cast<unsigned char>(c) < 0x80 && c != ';' && c != '\0' && sql.substr(i, 2) != "--" &&
            sql.substr(i, 2) != "/*");
    if (c == '\'' || c == '"') {
      i = sql.find(c, i + 1);
      require(i != sql.npos);
    } else if (c == '$') {
      size_t number = 0;
      while (i + 1 < sql.size() && sql[i + 1] >= '0' && sql[i + 1] <= '9')
        number = number * 10 + size_t(sql[++i] - '0');
      require(number >= 1 && number <= count);
      used.insert(number);
    } else if (c == '(') {
      ++depth;
    } else if (c == ')') {
      require(--depth >= 0);
    }
  }
  require(depth == 0 && used.size() == count);
}

}  // namespace cairn::fuzz
