#include "search/text.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "base/error.h"

namespace cairn::search {
namespace {

// The first heading of Markdown: `# Title`, or a line over ===.
std::string markdown_title(std::string_view text) {
  std::string_view before;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.starts_with("# ")) {
      line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
      while (!line.empty() && (line.back() == '#' || line.back() == ' ')) line.remove_suffix(1);
      return std::string(line);
    }
    if (line.size() > 2 && line.find_first_not_of('=') == line.npos && !before.empty()) return std::string(before);
    before = line;
  }
  return "";
}

}  // namespace

std::string html_text(std::string_view html, std::string& title);  // html.cpp

Format format_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  std::string ending(dot == name.npos ? "" : name.substr(dot + 1));
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
  if (ending == "md" || ending == "markdown") return Format::kMarkdown;
  if (ending == "html" || ending == "htm" || ending == "xhtml") return Format::kHtml;
  return Format::kText;
}

void require_text(std::string_view bytes, const std::string& name) {
  if (const size_t at = bytes.find('\0'); at != bytes.npos)
    throw invalid(fmt::format("{} holds a NUL at byte {}: that is no text", name, at));
  const auto checked = simdjson::validate_utf8(bytes.data(), bytes.size());
  if (!checked) throw invalid(name + " is not UTF-8: convert it first, for example with iconv -f latin1 -t utf8");
}

Extracted extract(Format format, std::string_view bytes, const std::string& name) {
  if (bytes.size() > kMaxDocument)
    throw invalid(
        fmt::format("{} has more than {} bytes, the most that a document may have: split it", name, kMaxDocument));
  if (bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);
  require_text(bytes, name);
  Extracted out;
  if (format == Format::kHtml)
    out.content = html_text(bytes, out.title);
  else
    out.content = bytes;
  if (format == Format::kMarkdown) out.title = markdown_title(bytes);
  if (out.title.empty()) {
    const size_t slash = name.rfind('/');
    out.title = slash == name.npos ? name : name.substr(slash + 1);
  }
  return out;
}

}  // namespace cairn::search
