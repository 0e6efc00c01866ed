// Rows for COPY, as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::features {

// Rows for COPY's text format, in which NULL is \N.
class CopyText {
 public:
  CopyText& integer(int64_t value);
  CopyText& text(std::string_view value);
  CopyText& null();
  void end_row() { text_ += '\n', first_ = true; }

  const std::string& bytes() const { return text_; }
  void clear() { text_.clear(); }

 private:
  void separate();
  std::string text_;
  bool first_ = true;
};

}  // namespace cairn::features
