// Settings that the workload and the machine ask for, each with its reason in figures and with what was set before.
// Proposed only where something was measured that speaks for it, and where the value differs by half at least.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"
#include "cluster/machine.h"
#include "tuner/advise/advice.h"
#include "tuner/catalog/catalog.h"

namespace cairn::db {
class Pool;
}

namespace cairn::tuner {

struct ServerSetting {
  double number = 0;      // bytes, where it is memory
  std::string text = {};  // as SHOW prints it
  bool restart = false;   // takes effect at a restart only
  bool reload = false;    // is the whole server's
};

// A table's writes since the statistics were reset.
struct TableChurn {
  TableName table = {};
  double rows = 0;
  double dead = 0;
  double inserted = 0;
  double updated = 0;
  double deleted = 0;
  int64_t vacuums = 0;
  std::map<std::string, std::string> options = {};  // that the table has of its own
};

struct SettingsFacts {
  int version = 0;
  std::string database = {};
  std::map<std::string, ServerSetting> settings = {};
  std::map<std::string, std::string> of_database = {};               // ALTER DATABASE … SET
  std::optional<std::map<std::string, std::string>> of_system = {};  // ALTER SYSTEM; nothing: may not be read
  std::optional<cluster::Machine> machine = {};                      // of a server on this machine
  double database_bytes = 0;
  double largest_index_bytes = 0;
  double block_hits = 0, block_reads = 0;  // of the whole database
  // What statements wrote for sorts and hashes that did not fit work_mem.
  double spilled_calls = 0;
  double spill_bytes_max = 0;  // of one call, of the statement that spills most in a call
  double slowest_mean_ms = 0;
  double jit_ms = 0;      // compiling plans
  double jit_run_ms = 0;  // all that these statements took, compiling included
  double checkpoints_timed = 0, checkpoints_forced = 0;
  double wal_bytes = 0, wal_page_images = 0;
  std::vector<TableChurn> tables = {};
};

std::vector<Change> propose_settings(const SettingsFacts& facts);

task<SettingsFacts> read_settings_facts(db::Pool& pool);

// Both, into the advice; what the role may not see is a note.
task<> add_settings(db::Pool& pool, Advice& advice);

}  // namespace cairn::tuner
