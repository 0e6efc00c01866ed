// One number of a text, by the rules of strtof.
#pragma once

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace cairn::core {

struct Number {
  float value;
  const char* end;    // where it began if there is none
  bool out_of_range;  // it was not infinity or zero that was written
};

// `text` ends with a NUL, at `text_end`. What is too large becomes infinity, what is too small zero.
inline Number parse_number(const char* text, const char* text_end) {
  float value = 0;
  const std::from_chars_result fast = std::from_chars(text, text_end, value);
  // A zero may be the 0 of 0x1, or have been too small; infinity and NaN have more spellings in strtof.
  if (fast.ec == std::errc() && value != 0 && std::isfinite(value)) return {value, fast.ptr, false};
  if (text[0] == '0' && (text[1] == ',' || text[1] == ']')) return {0, text + 1, false};
  char* end = nullptr;
  errno = 0;
  value = std::strtof(text, &end);
  return {value, end, errno == ERANGE && (value == 0 || std::isinf(value))};
}

inline const char* skip_spaces(const char* text) {
  while (*text == ' ' || (*text >= '\t' && *text <= '\r')) text++;
  return text;
}

}  // namespace cairn::core
