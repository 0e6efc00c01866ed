// The monthly checklist as one run: maintenance, indexes that nobody uses, bloat, statements that became slow, the
// figures of the month beside those of the last one, and what is left for people.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "maintain/execute.h"
#include "maintain/history.h"
#include "maintain/plan.h"

namespace cairn::maintain {

enum class CheckState { kGood, kDone, kAttention, kByHand };

struct Check {
  std::string name = {};
  CheckState state = CheckState::kGood;
  std::vector<std::string> what = {};
  std::vector<std::string> to_do = {};
};

struct SlowStatement {
  int64_t queryid = 0;
  double mean_ms = 0;
  int64_t calls = 0;
  std::string text = {};
};

struct Baseline {
  int64_t taken_at_ms = 0;
  int64_t database_bytes = 0;
  std::optional<double> cache_hit_ratio = {};
  int64_t deadlocks = 0;
  int64_t connections = 0, connections_max = 0;
  int64_t calls = 0;  // of all statements that are counted
  double total_ms = 0;
  std::vector<SlowStatement> slow = {};  // slowest first
};

struct Monthly {
  Plan plan = {};
  std::vector<Outcome> outcomes = {};
  Baseline now = {};
  std::optional<Baseline> before = {};
  std::optional<Ending> verified = {};  // of the job that restores the newest backup to see whether it can be
  std::vector<Check> checks = {};
};

task<Baseline> read_baseline(db::Pool& pool, std::vector<std::string>& notes);
// Of the report of a run before; nothing where it is none.
std::optional<Baseline> baseline_of(const std::string& report);
// Pure. `done`: what the plan says was carried out, else it was a dry run.
std::vector<Check> check_month(const Monthly& month, bool done);

void print_monthly(const Monthly& month, std::ostream& out);
std::string monthly_json(const Monthly& month);
std::string monthly_summary(const Monthly& month);

}  // namespace cairn::maintain
