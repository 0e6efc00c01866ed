#include "schema/migration.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "base/bytes.h"
#include "base/error.h"
#include "schema/embedded_migrations.h"

namespace cairn::schema {
namespace {

namespace fs = std::filesystem;

bool is_identifier_char(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80); }

// Each takes the index of an opening and gives the index behind its end (or of the text's end).
size_t skip_quoted(std::string_view sql, size_t at, bool backslash_escapes) {
  const char quote = sql[at++];
  for (; at < sql.size(); ++at) {
    if (backslash_escapes && sql[at] == '\\') {
      ++at;
    } else if (sql[at] == quote) {
      if (at + 1 == sql.size() || sql[at + 1] != quote) return at + 1;
      ++at;
    }
  }
  return sql.size();
}

size_t skip_block_comment(std::string_view sql, size_t at) {
  int depth = 0;
  for (; at < sql.size(); ++at) {
    const std::string_view two = sql.substr(at, 2);
    if (two == "/*")
      ++depth, ++at;
    else if (two == "*/" && --depth == 0)
      return at + 2;
    else if (two == "*/")
      ++at;
  }
  return sql.size();
}

// At a '$': a dollar-quoted string's end, or one further where it is none ($1, a$b).
size_t skip_dollar_quoted(std::string_view sql, size_t at) {
  size_t tag_end = at + 1;
  while (tag_end < sql.size() && is_identifier_char(sql[tag_end])) ++tag_end;
  const bool opens = tag_end < sql.size() && sql[tag_end] == '$' && !isdigit(static_cast<unsigned char>(sql[at + 1])) &&
                     (at == 0 || !is_identifier_char(sql[at - 1]));
  if (!opens) return at + 1;
  const std::string_view tag = sql.substr(at, tag_end + 1 - at);
  const size_t close = sql.find(tag, tag_end + 1);
  return close == std::string_view::npos ? sql.size() : close + tag.size();
}

std::string slug(const std::string& message) {
  std::string name;
  for (const char c : message) {
    if (isalnum(static_cast<unsigned char>(c)))
      name += char(tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '_')
      name += '_';
  }
  while (name.ends_with('_')) name.pop_back();
  return name.substr(0, 60);
}

}  // namespace

std::string label(int number, std::string_view name) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%04d_", number);
  return digits + std::string(name);
}

std::string checksum(const Migration& migration) { return sha256_hex(migration.up); }

bool runs_without_transaction(std::string_view sql) {
  // Only in the comment at the top, so that no string inside the script can be taken for it.
  std::istringstream in{std::string(sql)};
  for (std::string line; std::getline(in, line) && (line.empty() || line.starts_with("--"));) {
    if (line.starts_with("-- cairn: no transaction")) return true;
  }
  return false;
}

std::vector<std::string> split_statements(std::string_view sql) {
  std::vector<std::string> statements;
  size_t begin = 0;
  bool holds_sql = false;
  auto cut = [&](size_t end) {
    if (holds_sql) {
      const size_t first = sql.find_first_not_of(" \t\r\n", begin);
      statements.emplace_back(sql.substr(first, end - first));
    }
    begin = end;
    holds_sql = false;
  };
  for (size_t at = 0; at < sql.size();) {
    const char c = sql[at];
    const std::string_view two = sql.substr(at, 2);
    if (two == "--") {
      at = std::min(sql.find('\n', at), sql.size());
      continue;
    }
    if (two == "/*") {
      at = skip_block_comment(sql, at);
      continue;
    }
    if (c == ';') {
      cut(at + 1);
      ++at;
      continue;
    }
    if (!isspace(static_cast<unsigned char>(c))) holds_sql = true;
    const bool escape_string = c == '\'' && at > 0 && (sql[at - 1] == 'E' || sql[at - 1] == 'e') &&
                               (at == 1 || !is_identifier_char(sql[at - 2]));
    if (c == '\'' || c == '"')
      at = skip_quoted(sql, at, escape_string);
    else if (c == '$')
      at = skip_dollar_quoted(sql, at);
    else
      ++at;
  }
  cut(sql.size());
  return statements;
}

std::vector<Migration> embedded() {
  std::vector<Migration> migrations;
  for (const EmbeddedMigration& entry : embedded_migrations()) {
    migrations.push_back({entry.number, std::string(entry.name), std::string(entry.up), std::string(entry.down)});
  }
  return migrations;
}

std::vector<Migration> read_directory(const std::string& directory) {
  if (!fs::is_directory(directory)) {
    throw invalid("there is no directory " + directory +
                  " with migrations: make the first one with `cairn migrate revision -m`");
  }
  static const std::regex pattern(R"((\d{4})_(\w+)\.(up|down)\.sql)");
  std::map<int, Migration> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string file = entry.path().filename();
    if (!file.ends_with(".sql")) continue;
    std::smatch match;
    if (!std::regex_match(file, match, pattern)) {
      throw invalid("the migration " + entry.path().string() + " must be named NNNN_name.up.sql or NNNN_name.down.sql");
    }
    Migration& migration = found[std::stoi(match[1])];
    if (migration.number != 0 && migration.name != match[2]) {
      throw invalid("the number " + match[1].str() + " is taken twice in " + directory + ": by " + migration.name +
                    " and " + match[2].str() + "; give the newer one the next number");
    }
    migration.number = std::stoi(match[1]);
    migration.name = match[2];
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    (match[3] == "up" ? migration.up : migration.down) = text.str();
  }
  std::vector<Migration> migrations;
  for (auto& [number, migration] : found) {
    if (migration.up.empty()) {
      throw invalid("the migration " + label(number, migration.name) + " in " + directory +
                    " has no up.sql, or an empty one");
    }
    migrations.push_back(std::move(migration));
  }
  return migrations;
}

std::vector<std::string> create_revision(const std::string& directory, const std::string& message,
                                         const std::string& up_script, const std::string& down_script) {
  const std::string name = slug(message);
  if (name.empty()) throw invalid("a revision needs a message: cairn migrate revision -m \"module: what changes\"");
  fs::create_directories(directory);
  const std::vector<Migration> present = read_directory(directory);
  const int number = present.empty() ? 1 : present.back().number + 1;
  if (number > 9999) throw invalid("the numbers of migrations end at 9999");
  std::vector<std::string> paths;
  for (const bool up : {true, false}) {
    const fs::path path = fs::path(directory) / (label(number, name) + (up ? ".up.sql" : ".down.sql"));
    std::ofstream out(path);
    out << "-- " << (up ? message : "Takes back: " + message) << "\n" << (up ? up_script : down_script);
    if (!out.flush()) throw Error(ErrorCode::kInvalidState, "cannot write " + path.string());
    paths.push_back(path);
  }
  return paths;
}

}  // namespace cairn::schema
