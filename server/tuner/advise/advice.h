// What `cairn tune advise` proposes, as it is handed on to prove and apply: a file of JSON below the tuner's state
// directory, advice/<id>.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tuner/catalog/index_definition.h"
#include "tuner/catalog/session.h"

namespace cairn::tuner {

// A statement as often as it ran.
struct AdviceStatement {
  std::string text = {};
  double calls = 1;
  double rows = 0;                      // all calls together
  std::optional<double> total_ms = {};  // all calls together; absent: not measured
  // From the server's log, for planning; kept in no file. Values of its placeholders, of one call:
  Values constants = {};
  std::string fixed_text = {};  // with those written out that were the same in every call; empty: as `text`
  // Found by the advice. Milliseconds: of what was measured, by the planner's costs; else of a usual machine.
  double ms_before = 0;
  double ms_after = 0;
  double cost_before = 0;  // of one call, in the planner's units
  double cost_after = 0;
  std::vector<size_t> uses = {};  // positions of changes
};

enum class ChangeKind { kIndex, kDropIndex, kStatistics, kSetting, kMaterializedView };

// "index", "drop_index", "statistics", "setting", "materialized_view"; the second throws Error for anything else.
std::string_view kind_name(ChangeKind kind);
ChangeKind change_kind(std::string_view name);

struct Change {
  ChangeKind kind = ChangeKind::kIndex;
  TableName table = {};                      // that it is about; empty: the whole database
  std::string name = {};                     // of what is made, dropped or set
  std::vector<std::string> statements = {};  // that make it, each run by itself, outside of a transaction
  std::vector<std::string> inverse = {};     // that take it back, likewise
  std::string reason = {};
  std::optional<IndexDefinition> index = {};  // of kIndex
  int64_t bytes = 0;                          // that it takes; below 0: gives back
  double gain_ms = 0;
  double write_ms = 0;
  // Applied only when it is named: what it does to others cannot be told beforehand.
  bool on_request = false;
  // What it gains is not estimated: applied only when a proof has kept it, or when it is named.
  bool only_proved = false;
};

// Another text of a statement, for whoever owns the program that sends it.
struct Rewrite {
  size_t statement = 0;     // its position in the advice
  std::string rule = {};    // "not-in-to-not-exists"
  std::string text = {};    // the new one
  std::string reason = {};  // why it is faster
  // Why it gives the same rows, from facts of the catalog. Empty: it may not; then the caveat says where.
  std::string guarantee = {};
  std::string caveat = {};
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
  std::vector<Change> changes = {};              // their numbers, for people, begin with 1
  std::vector<AdviceStatement> statements = {};  // that could be planned; the most expensive first
  std::vector<Rewrite> rewrites = {};
  std::vector<AdviceRejection> rejected = {};
  std::vector<std::string> notes = {};
  double ms_before = 0;
  double ms_after = 0;
  double write_ms = 0;    // that writes would take longer
  double written_ms = 0;  // that they take now
  int64_t bytes = 0;
  int calls = 0;  // how often the planner was asked
  // What that took of the server's time, and of one core of it while it went on.
  double planner_ms = 0;
  double planner_percent = 0;
  bool planner_is_clone = false;
  bool complete = true;  // false: stopped by the limit of time or calls
};

// As it is kept in its file and printed by --json.
std::string to_json(const Advice& advice);
// Throws Error(kInvalidParameterValue) when the text is no advice of this format.
Advice advice_from_json(const std::string& text);

// Others see all of the file or nothing; it holds statements, so it is the user's alone. Returns its path; throws Error
// when it cannot be written.
std::string save_advice(const Advice& advice, const std::string& state_directory);
// "last": the newest. Throws Error(kResourceDoesNotExist) when there is none of that id.
Advice load_advice(const std::string& state_directory, const std::string& id);

}  // namespace cairn::tuner
