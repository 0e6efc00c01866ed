#include "tuner/report/markdown.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kMsPerS = 1000;

// The longest run of backticks.
size_t backticks(const std::string& text) {
  size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

}  // namespace

std::string markdown_table(const std::vector<std::vector<std::string>>& rows) {
  std::string table;
  for (size_t i = 0; i < rows.size(); ++i) {
    table += "|";
    for (const std::string& cell : rows[i]) {
      table += " ";
      for (const char c : cell) table += c == '|' ? "\\|" : std::string(1, c == '\n' || c == '\r' ? ' ' : c);
      table += " |";
    }
    table += "\n";
    if (i > 0) continue;
    table += "|";
    for (size_t column = 0; column < rows[i].size(); ++column) table += "---|";
    table += "\n";
  }
  return table;
}

std::string markdown_code(const std::string& text) {
  const std::string fence(backticks(text) + 1, '`');
  const bool pad = text.starts_with('`') || text.ends_with('`');
  return fence + (pad ? " " : "") + text + (pad ? " " : "") + fence;
}

std::string markdown_block(const std::string& text, const std::string& language) {
  const std::string fence(std::max<size_t>(3, backticks(text) + 1), '`');
  return fence + language + "\n" + text + (text.ends_with('\n') ? "" : "\n") + fence + "\n";
}

std::string utc_date(int64_t ms) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<time_t>(ms / static_cast<int64_t>(kMsPerS))));
}

std::string utc_time(int64_t ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<time_t>(ms / static_cast<int64_t>(kMsPerS))));
}

std::string in_ms(double ms) {
  const double size = std::abs(ms);
  if (size >= 10 * kMsPerS) return fmt::format("{:.1f} s", ms / kMsPerS);
  return fmt::format("{:.{}f} ms", ms, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

std::string in_megabytes(int64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / kMiB); }

std::string in_percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

}  // namespace cairn::tuner
