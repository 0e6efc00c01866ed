// Statements and their share of the database's work, over all that is counted or between two readings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tuner/profile/statements.h"

namespace cairn::tuner {

enum class Order { kTotal, kMean, kMax, kCalls, kRows, kCache, kTemp, kWal };

// Statements of one fingerprint, of all roles.
struct StatementGroup {
  // The fingerprint; "q" and the queryid where the text does not parse; "hidden" for those that may not be read.
  std::string id;
  std::string text;  // of the one with the most time
  std::vector<int64_t> queryids;
  std::vector<std::string> roles;
  bool nested = false;     // run by functions only
  bool from_zero = false;  // some of it was evicted or reset in between, and is counted from then
  double share = 0;        // of the time of all statements, nested ones not added up twice
  Counters counters;
};

struct Profile {
  std::string database;
  std::string server_version;
  std::string extension_version;
  int64_t taken_at_ms = 0;
  // Since when it is counted; nothing when that is not known.
  std::optional<int64_t> since_ms;
  std::optional<int64_t> evictions;
  // Of the whole database: blocks found in the cache among all that were asked for.
  std::optional<double> cache_hit_ratio;
  std::optional<int64_t> cache_since_ms;
  std::vector<StatementGroup> groups;  // all of them, ordered
  Counters all;                        // without nested ones, whose time is in their callers' too
  std::vector<Note> notes;
};

// All that is counted in `reading`.
Profile make_profile(const Reading& reading, Order order);

// What was counted between two readings. A statement that has fewer calls, say, than before was evicted or reset, and
// counts from zero; so does all after a reset of everything. One that was evicted and has overtaken its old figures in
// all counters cannot be told from one that was not (before version 1.11 of pg_stat_statements).
// Throws Error(kInvalidParameterValue) when `before` is of another database.
Profile make_profile(const Reading& before, const Reading& after, Order order);

}  // namespace cairn::tuner
