// A step of the schema: a number, a name, the SQL that makes it and the SQL that takes it back.
//
// Files are named NNNN_module_change.up.sql and .down.sql; the number orders them and never changes. A line
// `-- cairn: no transaction` at the top of a file runs its statements one by one, outside a transaction (CREATE INDEX
// CONCURRENTLY).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn::schema {

struct Migration {
  int number = 0;
  std::string name;
  std::string up;
  std::string down;  // empty: there is no way back
};

// NNNN_name
std::string label(int number, std::string_view name);
// SHA-256 of the up script in hex. What takes the step back may be mended later.
std::string checksum(const Migration& migration);
bool runs_without_transaction(std::string_view sql);
// Cuts a script at the semicolons that end statements: not at those in quotes, dollar quotes and comments. Statements
// that hold no SQL are left out. A function body written as BEGIN ATOMIC … END is not understood.
std::vector<std::string> split_statements(std::string_view sql);

// In ascending order of their numbers.
std::vector<Migration> embedded();
// Throws Error(kInvalidParameterValue) when a file is named wrongly, a number is taken twice or an up script is
// missing.
std::vector<Migration> read_directory(const std::string& directory);
// Makes the next pair of files, named after the message. Returns their paths.
std::vector<std::string> create_revision(const std::string& directory, const std::string& message,
                                         const std::string& up = "", const std::string& down = "");

}  // namespace cairn::schema
