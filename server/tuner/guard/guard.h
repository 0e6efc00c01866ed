// Plans and figures of named statements, kept in a file of the user's repository, and whether those of today are worse.
//
// The file is JSON, one thing a line and in the order of names, so that its changes can be read in a review.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tuner/plan/plan.h"

namespace cairn::tuner {

// How a table is read.
struct GuardScan {
  std::string table = {};  // schema and name
  std::string alias = {};
  std::string method = {};  // "Seq Scan", "Index Scan", …
  double cost = 0;

  bool operator==(const GuardScan&) const = default;
};

// What running it showed: medians over the rounds.
struct GuardFigures {
  double ms = 0;
  double calibration_ms = 0;  // of a statement that asks for nothing but the processor's time
  int64_t blocks = 0;         // of 8 kB, found in PostgreSQL's cache or not
  int64_t temp_blocks = 0;    // of sorts and hashes that did not fit work_mem

  bool operator==(const GuardFigures&) const = default;
};

struct GuardStatement {
  std::string name = {};
  std::string text = {};
  double cost = 0;                     // the planner's
  double rows = 0;                     // that it expects
  std::vector<std::string> plan = {};  // its lines, for people
  std::vector<GuardScan> scans = {};
  std::map<std::string, int64_t> joins = {};  // how many of each method
  int64_t spills = 0;                         // sorts and hashes that the planner expects to be larger than work_mem
  std::optional<GuardFigures> figures = {};

  bool operator==(const GuardStatement&) const = default;
};

struct GuardFile {
  int64_t server_version = 0;  // server_version_num
  std::vector<GuardStatement> statements = {};

  bool operator==(const GuardFile&) const = default;
};

std::string to_json(const GuardFile& file);
// Throws Error(kInvalidParameterValue) when the text is no such file.
GuardFile guard_file_from_json(const std::string& text);

// What a plan shows; `work_mem_kb` is what a sort may have.
GuardStatement guard_statement(std::string name, std::string text, const Plan& plan, int64_t work_mem_kb);

struct GuardLimits {
  double cost_ratio = 1.5;
  double blocks_ratio = 1.5;
  std::optional<double> time_ratio = {};  // absent: times are told, not judged
  double cost_min = 100;                  // what costs less than that is not judged
};

enum class GuardState { kSame, kChanged, kWorse, kNew, kGone, kFailed };

struct GuardVerdict {
  std::string name = {};
  GuardState state = GuardState::kSame;
  std::vector<std::string> reasons = {};  // why it is worse
  std::vector<std::string> remarks = {};  // what else is to be known
  double cost_before = 0, cost_after = 0;
  std::vector<std::string> diff = {};  // lines of the plan with "- ", "+ " or "  "; empty where they are the same

  bool fails() const { return state == GuardState::kWorse || state == GuardState::kFailed; }
};

std::string_view state_name(GuardState state);

GuardVerdict judge(const GuardStatement& before, const GuardStatement& after, const GuardLimits& limits);

// The lines of both, those of `before` that are gone with "- ", those that are new with "+ ".
std::vector<std::string> line_diff(const std::vector<std::string>& before, const std::vector<std::string>& after);

}  // namespace cairn::tuner
