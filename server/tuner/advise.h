// A set of indexes for a workload: proposed from its statements, tried in hypothesis, chosen within a budget. Reads
// only; what may not be read or tried is a note.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "tuner/drops.h"
#include "tuner/index_definition.h"

namespace cairn::tuner {

// A statement as often as it ran.
struct AdviceStatement {
  std::string text = {};
  double calls = 1;
  double rows = 0;                      // all calls together
  std::optional<double> total_ms = {};  // all calls together; absent: not measured
  // Found by the advice. Milliseconds: of what was measured, by the planner's costs; else of a usual machine.
  double ms_before = 0;
  double ms_after = 0;
  double cost_before = 0;  // of one call, in the planner's units
  double cost_after = 0;
  std::vector<size_t> uses = {};  // positions of changes
};

struct AdviceChange {
  IndexDefinition index = {};
  std::string name = {};
  std::string statement = {};  // that makes it
  std::string inverse = {};    // that takes it back
  std::string reason = {};
  int64_t bytes = 0;
  double gain_ms = 0;
  double write_ms = 0;
};

struct AdviceRejection {
  std::string statement = {};
  std::string reason = {};
  int64_t bytes = 0;
  double gain_ms = 0;
};

struct Advice {
  std::string id = {};
  std::string database = {};
  int64_t made_at_ms = 0;
  std::vector<AdviceChange> changes = {};
  std::vector<AdviceStatement> statements = {};  // that could be planned; the most expensive first
  std::vector<AdviceRejection> rejected = {};
  std::vector<Drop> drops = {};  // indexes that seem not to be needed; no part of the estimate
  std::vector<std::string> notes = {};
  double ms_before = 0;
  double ms_after = 0;
  double write_ms = 0;    // that writes would take longer
  double written_ms = 0;  // that they take now
  int64_t bytes = 0;
  int calls = 0;         // how often the planner was asked
  bool complete = true;  // false: stopped by the limit of time or calls
};

struct AdviceLimits {
  std::optional<int64_t> bytes_max = {};
  std::optional<double> write_percent_max = {};  // how much longer writes may take
  double seconds_max = 30;
  int calls_max = 100000;
  bool allow_extension = false;
};

// `workload`: statements of SELECT, INSERT, UPDATE, DELETE or MERGE, with placeholders or without.
Advice advise(Reactor& reactor, const std::string& connection_string, std::vector<AdviceStatement> workload,
              const AdviceLimits& limits);

// As it is kept in its file and printed by --json.
std::string to_json(const Advice& advice);

}  // namespace cairn::tuner
