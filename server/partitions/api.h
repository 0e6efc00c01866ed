// What other modules may use of partitions: the commands, and what the server's schedule does.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "db/pool.h"

namespace cairn::partitions {

struct CommandOptions {
  std::string connection_string = {};
  std::string table = {};
  double wait_s = 60;
  bool json = false;
};

struct ConvertOptions : CommandOptions {
  std::string column = {};  // of a conversion that is under way: empty
  std::string by = "month";
  int64_t step = 1'000'000;
  int64_t ahead = 4;
  int64_t keep_months = 12;
};

struct StatusOptions : CommandOptions {
  std::string statement = {};  // whose plan shows how many partitions it reads
};

struct MaintainOptions : CommandOptions {
  bool dry_run = false;
  std::function<bool()> may_go_on = {};  // asked before each table; empty: always
};

struct ArchiveOptions : CommandOptions {
  std::string directory = {};  // of archives; restore: one partition's
  bool dry_run = false;
};

// Each gives the exit code. Throws Error.
int run_plan(const ConvertOptions& options, std::ostream& out, std::ostream& progress);
int run_convert(const ConvertOptions& options, std::ostream& out, std::ostream& progress);
int run_finish(const CommandOptions& options, std::ostream& out, std::ostream& progress);
int run_undo(const CommandOptions& options, std::ostream& out, std::ostream& progress);
int run_status(const StatusOptions& options, std::ostream& out, std::ostream& progress);
// 1: a table could not be looked after.
int run_maintain(const MaintainOptions& options, std::ostream& out, std::ostream& progress);
int run_archive(const ArchiveOptions& options, std::ostream& out, std::ostream& progress);
int run_restore(const ArchiveOptions& options, std::ostream& out, std::ostream& progress);

// Whether there is a table that `maintain` looks after. Reads only.
task<bool> has_managed_tables(db::Pool& pool);

struct Maintained {
  std::string summary = {};  // a line
  std::string report = {};   // JSON, as the command's
  bool failed = false;       // of one table at least
};
// What `cairn partitions maintain` does to all tables, on a connection of its own. Throws Error.
task<Maintained> maintain_managed(std::string connection_string, std::function<bool()> may_go_on);

}  // namespace cairn::partitions
