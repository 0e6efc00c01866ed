// Bits of Markdown that hold any text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::tuner {

// A table; the first row is the head. Cells keep their Markdown, but for "|" and line ends.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);
// As code within a line.
std::string markdown_code(const std::string& text);
// As a block of code, whatever is in it.
std::string markdown_block(const std::string& text, const std::string& language);
// 2026-11-22, and with the time of day.
std::string utc_date(int64_t ms);
std::string utc_time(int64_t ms);
// "8.67 ms", "1.2 s"; "8.2 MB"; "45.2 %".
std::string in_ms(double ms);
std::string in_megabytes(int64_t bytes);
std::string in_percent(double ratio);

}  // namespace cairn::tuner
