// What the statistics say beside the statements: tables that are read as a whole, and what sessions wait for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "db/pool.h"

namespace cairn::tuner {

struct TableScans {
  std::string schema;
  std::string table;
  int64_t bytes = 0;  // with TOAST, without indexes
  int64_t live_rows = 0;
  int64_t sequential_scans = 0;
  int64_t sequential_rows = 0;  // read by them
  int64_t index_scans = 0;
};

// The user's tables with sequential scans, those first of which most rows were read so; since the database's
// statistics were reset.
task<std::vector<TableScans>> read_table_scans(db::Pool& pool, int64_t most);

// Looks at what the active sessions of the current database wait for.
struct WaitSamples {
  int samples = 0;
  std::map<std::string, int64_t> sessions;                       // "Lock: relation"; "running" waits for nothing
  int64_t hidden = 0;                                            // sessions of others that may not be looked at
  std::map<int64_t, std::map<std::string, int64_t>> statements;  // by queryid; PostgreSQL 14 and newer tell it
};
task<> sample_waits(db::Pool& pool, WaitSamples& waits);

}  // namespace cairn::tuner
