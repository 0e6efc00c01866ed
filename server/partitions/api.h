// What other modules may use of partitions: the commands.
#pragma once

#include <iosfwd>
#include <string>

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
};

struct ArchiveOptions : CommandOptions {
  std::string directory = {};  // of archives; restore: one partition's
  bool dry_run = false;
};

// Each gives the exit code. Throws Error.
int run_plan(const ConvertOptions& options, std::ostream& out, std::ostream& progress);
int run_convert(const ConvertOptions& options, std::ostream& out, std::ostream& progress);
int run_undo(const CommandOptions& options, std::ostream& out, std::ostream& progress);
int run_status(const StatusOptions& options, std::ostream& out, std::ostream& progress);
int run_maintain(const MaintainOptions& options, std::ostream& out, std::ostream& progress);
int run_archive(const ArchiveOptions& options, std::ostream& out, std::ostream& progress);
int run_restore(const ArchiveOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::partitions
