// From bytes to text, and from text to chunks. Pure functions, linear in their input.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::search {

// No document's text is larger: it, its chunks and their vectors are in memory together.
inline constexpr size_t kMaxDocument = 16u << 20;

enum class Format { kText, kMarkdown, kHtml };

// By the name's ending; text where it says nothing.
Format format_of(std::string_view name);

struct Extracted {
  std::string title;
  std::string content;
};

// Markdown stays as it is written; its title is its first heading. Of HTML the text without its markup, a line for each
// block; scripts and styles are left out. Throws Error(kInvalidParameterValue) for what is no UTF-8, holds NUL, or is
// too large, with `name` in the message.
Extracted extract(Format format, std::string_view bytes, const std::string& name);

// Throws Error(kInvalidParameterValue) unless it is UTF-8 without NUL.
void require_text(std::string_view bytes, const std::string& name);

// Pieces of at most `size` characters, each but the first beginning with at most `overlap` characters of the one
// before. They end where sentences, lines or at least words end, where that is possible. Views into `text`, none empty.
std::vector<std::string_view> chunks_of(std::string_view text, size_t size, size_t overlap);

}  // namespace cairn::search
