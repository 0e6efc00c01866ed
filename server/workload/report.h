// What a seed or a run has to tell: as values, as JSON, as rows of a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload/latency.h"

namespace cairn::workload {

struct SeededTable {
  std::string name;
  int64_t rows = 0;
  int64_t bytes = 0;  // with its index and TOAST
};

struct SeedReport {
  double scale = 1;
  int64_t seed = 1;
  double seconds = 0;
  std::vector<SeededTable> tables;
};

// Of one family of statements, or of all.
struct FamilyReport {
  std::string name;
  uint64_t arrived = 0;
  uint64_t errors = 0;
  uint64_t timeouts = 0;
  uint64_t unfinished = 0;  // under way when the run was ended early
  uint64_t over_1s = 0;
  int64_t rows = 0;
  std::string first_error;
  // From the intended start, of what was answered and of what timed out; errors are not in it.
  Latencies latencies;

  uint64_t answered() const { return arrived - errors - timeouts - unfinished; }
  void merge(const FamilyReport& other);
};

// What the database counted meanwhile, for itself and so for everybody who used it.
struct DatabaseFigures {
  int64_t blocks_hit = 0;
  int64_t blocks_read = 0;
  int64_t temp_bytes = 0;
  int64_t deadlocks = 0;
  // Of all processes of the server; absent when it is on another machine.
  std::optional<double> cpu_seconds;

  std::optional<double> cache_hit_ratio() const;
};

struct LoadReport {
  double asked_duration_s = 0;
  double elapsed_s = 0;  // to the last answer
  double asked_rate = 0;
  int64_t seed = 1;
  int connections = 0;
  bool ended_early = false;
  double waited_ms_mean = 0;  // from the intended start until a connection was free: a part of the latency
  std::vector<FamilyReport> families;
  FamilyReport total;
  DatabaseFigures database;

  double achieved_rate() const { return elapsed_s > 0 ? static_cast<double>(total.answered()) / elapsed_s : 0; }
};

using Table = std::vector<std::vector<std::string>>;

std::string to_json(const SeedReport& report);
std::string to_json(const LoadReport& report);
Table to_table(const SeedReport& report);
Table to_table(const LoadReport& report);
// What is no column: a line each, without line breaks of its own.
std::vector<std::string> remarks(const LoadReport& report);

}  // namespace cairn::workload
