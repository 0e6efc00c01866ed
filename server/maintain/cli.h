// `cairn maintain`. Results go to `out`, what happens meanwhile to `progress`. Each returns the exit code and throws
// Error.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace cairn::maintain {

struct MaintainOptions {
  std::string connection_string = {};
  std::vector<std::string> kinds = {};
  std::vector<std::string> tables = {};
  double measure_s = 60;
  double wait_s = 60;
  bool dry_run = false;
  bool json = false;
};

// Changes nothing.
int run_plan(const MaintainOptions& options, std::ostream& out);
// 1: something failed or was left.
int run_maintain(const MaintainOptions& options, std::ostream& out, std::ostream& progress);
// 1: something failed or was left.
int run_monthly(const MaintainOptions& options, std::ostream& out, std::ostream& progress);

struct HistoryOptions {
  std::string connection_string = {};
  std::optional<int64_t> run_id = {};
  std::optional<std::string> job = {};
  int64_t limit = 20;
  bool json = false;
};
int run_history(const HistoryOptions& options, std::ostream& out);

struct JobOptions {
  std::string connection_string = {};
  std::string name = {};  // empty: they are listed
  std::optional<std::string> schedule = {};
  std::optional<std::string> quiet_hours = {};  // "any": at any time
  bool enable = false, disable = false;
  bool json = false;
};
int run_jobs(const JobOptions& options, std::ostream& out);

}  // namespace cairn::maintain
