// What PostgreSQL's log says of statements: their text, parameters, time and plan. Entries of
// log_min_duration_statement, log_statement and auto_explain (text or JSON), in the formats stderr, csvlog and jsonlog;
// in English (lc_messages).
//
// A log is others' bytes: anything may stand in it. What is not understood is left out; nothing here throws for it, and
// nothing of it is taken for more than a text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tuner/catalog/session.h"

namespace cairn::tuner {

enum class LogFormat { kStderr, kCsv, kJson };

struct LogEntry {
  std::string text = {};   // of the statement, as it was sent
  Values parameters = {};  // its $1, $2, …; empty when there are none, or one was not logged in full
  std::optional<double> ms = {};
  std::string plan = {};  // auto_explain's, as text or as a JSON object
};

struct LogSource {
  LogFormat format = LogFormat::kStderr;
  std::string line_prefix = {};  // log_line_prefix, of stderr: tells the database where it has %d
  std::string database = {};     // only its entries
};

// Whether the entries of other databases can be told.
bool tells_database(const LogSource& source);

// Oldest first. The beginning may be torn, as the end of a file is when it is read from its middle on.
std::vector<LogEntry> read_log(std::string_view bytes, const LogSource& source);

// "$1 = 'it''s', $2 = NULL"; empty where it is anything else, or a value was shortened.
Values logged_parameters(std::string_view text);

}  // namespace cairn::tuner
