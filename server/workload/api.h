// `cairn workload`: the database of a model registry at any scale, and a load on it, or on any database, at a set rate.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "workload/report.h"

namespace cairn::workload {

// Greater seeds would overflow in the SQL that draws from them.
constexpr int64_t kMaxSeed = 1'000'000'000;

using Say = std::function<void(const std::string&)>;

struct SeedOptions {
  std::string connection_string;
  double scale = 1;
  int64_t seed = 1;
};

// Makes the registry's tables, with primary keys alone, and fills them; tables of an earlier seed are replaced.
// Throws Error(kResourceConflict), and touches nothing, when something else has one of the names.
SeedReport seed(const SeedOptions& options, const Say& say);

struct LoadOptions {
  std::string connection_string;
  double duration_s = 60;
  double rate = 10;  // arrivals a second
  std::string mix = "mixed";
  std::vector<std::string> files;         // SQL files, or directories of them, in the place of the mix
  std::vector<std::string> replacements;  // "family=file": another text of a family's statement
  double writes_percent = 0;
  int connections = 10;
  int64_t seed = 1;
  std::optional<int> statement_timeout_ms;  // absent: what the server has set
};

// The names that LoadOptions::mix may have.
std::vector<std::string> mixes();

// A statement of SQL files, named after its file; where a file has several, with #1, #2, …
struct FileStatement {
  std::string name;
  std::string sql;
};

// Of files and directories of them. Throws Error for what is not there or no SQL.
std::vector<FileStatement> statements_of_files(const std::vector<std::string>& paths);

// Runs until the duration has passed and all that arrived is answered, or until SIGINT or SIGTERM.
LoadReport run_load(const LoadOptions& options, const Say& say);

}  // namespace cairn::workload
