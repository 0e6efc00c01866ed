// Tables for the terminal.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace cairn {

// Columns as wide as their widest cell, two spaces between them; the first row is the head. Cells longer than
// `most` characters are cut, with "…".
void print_table(std::ostream& out, const std::vector<std::vector<std::string>>& rows, size_t most = 48);

// One space for any white space, and nothing that would steer the terminal.
std::string on_one_line(const std::string& text);

}  // namespace cairn
