// Statements as the server's log has them, grouped like those of pg_stat_statements: with real constants, and the plan
// of the slowest call that auto_explain wrote down.
//
// The log is read through the server where this role may (and logging_collector is on), or from a file; its newest
// kLogBytes only. What could not be read is said in one line. Where the extension pg_qualstats is, the examples that it
// keeps give constants too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "db/pool.h"
#include "tuner/profile/log_entries.h"

namespace cairn::tuner {

constexpr int64_t kLogBytes = 8 << 20;

struct LoggedCall {
  std::string text = {};
  Values parameters = {};
  std::optional<double> ms = {};
};

struct LoggedStatement {
  int64_t calls = 0;  // with their text
  std::optional<double> slowest_ms = {};
  int64_t plans = 0;
  std::string plan = {};  // of the slowest call that has one
  double plan_ms = 0;
  std::vector<LoggedCall> samples = {};  // of the newest calls
};

struct Logged {
  std::map<std::string, LoggedStatement> statements = {};  // by fingerprint
  std::string read = {};                                   // what was read; empty: nothing
  std::string note = {};                                   // what was not, and what would allow it

  const LoggedStatement* find(const std::string& fingerprint) const;
};

// `file`: a log on this machine; empty: the server's own.
task<Logged> read_logged(db::Pool& pool, const std::string& file);

void add_entries(const std::vector<LogEntry>& entries, Logged& logged);

// Values for the placeholders of a normalised statement.
struct LoggedConstants {
  // No two equal: those of the call with the median time first, then of the slowest and of the fastest. No time is 0.
  std::vector<Values> sets = {};
  // What was the same in every call, of at least kCallsToTell, by the placeholder's number.
  std::map<int, Value> unvarying = {};
};
constexpr size_t kCallsToTell = 5;
LoggedConstants logged_constants(const Logged& logged, const std::string& statement, size_t most);

}  // namespace cairn::tuner
