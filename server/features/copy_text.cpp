#include "features/copy_text.h"

#include <fmt/format.h>

#include <iterator>

namespace cairn::features {

void CopyText::separate() {
  if (!first_) text_ += '\t';
  first_ = false;
}

CopyText& CopyText::integer(int64_t value) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

CopyText& CopyText::null() {
  separate();
  text_ += "\\N";
  return *this;
}

CopyText& CopyText::text(std::string_view value) {
  separate();
  for (const char c : value) {
    if (c == '\\')
      text_ += "\\\\";
    else if (c == '\t')
      text_ += "\\t";
    else if (c == '\n')
      text_ += "\\n";
    else if (c == '\r')
      text_ += "\\r";
    else
      text_ += c;
  }
  return *this;
}

}  // namespace cairn::features
