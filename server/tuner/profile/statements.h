// What PostgreSQL counted for each statement that was run in the current database: pg_stat_statements, of version 1.8
// (PostgreSQL 13) and newer, in whatever schema it is. Only reads: statistics are never reset.
//
// What may not be read, or is not there, is a note and not an error: any database that lets us in has a reading.
//
// The tuner's own statements begin with kOwnStatement and are left out, here and wherever else statements are listed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "db/pool.h"

namespace cairn::tuner {

constexpr std::string_view kOwnStatement = "/* cairn tune */";

struct Counters {
  int64_t calls = 0;
  int64_t rows = 0;
  double total_ms = 0;
  double squares_ms2 = 0;  // sum of the squares of each call's time: unlike the deviation it can be added up
  double max_ms = 0;
  bool max_is_bound = false;  // the longest call took max_ms at most
  int64_t shared_hits = 0;    // 8 kB blocks found in PostgreSQL's cache
  int64_t shared_reads = 0;   // and those that were not
  int64_t temp_blocks = 0;    // read and written, of sorts and hashes that did not fit work_mem
  int64_t wal_bytes = 0;

  double mean_ms() const { return calls == 0 ? 0 : total_ms / static_cast<double>(calls); }
  double stddev_ms() const;  // of the population, as pg_stat_statements has it
  Counters& operator+=(const Counters& other);
};

// What was counted after `before`. The longest call in between is known only where it is the longest of all; otherwise
// max_ms is a bound.
Counters since(const Counters& before, const Counters& after);
// Whether the counters were not begun anew in between, as far as they tell.
bool has_grown(const Counters& before, const Counters& after);

struct StatementRow {
  int64_t role_id = 0;
  std::string role;
  int64_t queryid = 0;
  bool top_level = true;  // not called by a function
  // Without string literals (see without_literals). Empty where PostgreSQL did not tell.
  std::string text;
  std::string fingerprint;  // empty when the text does not parse
  // All statements of other roles that may not be read, summed up by role; there is no queryid.
  bool hidden = false;
  std::optional<int64_t> since_ms;  // when its counting began; known from version 1.11 on
  Counters counters;
};

struct Note {
  std::string what;
  std::string remedy;  // a statement or a setting; may be empty

  bool operator==(const Note&) const = default;
};

// Counters at one moment.
struct Reading {
  int64_t taken_at_ms = 0;
  std::string database;
  int64_t database_id = 0;
  std::string server_version;
  std::string extension_version;       // empty: no statements could be read, and a note says why
  std::optional<int64_t> reset_at_ms;  // of pg_stat_statements; known from version 1.9 on
  std::optional<int64_t> evictions;    // how often it threw the least used statements out; likewise
  // Of the whole database, since database_reset_at_ms or its beginning.
  int64_t cache_hits = 0;
  int64_t cache_reads = 0;
  std::optional<int64_t> database_reset_at_ms;
  std::vector<StatementRow> statements;
  std::vector<Note> notes;
};

task<Reading> read_statements(db::Pool& pool);

// What notes advise, and `cairn tune setup --apply` does.
constexpr db::Statement kCreateExtension{"tune_create_extension", "CREATE EXTENSION pg_stat_statements;"};
constexpr db::Statement kUpdateExtension{"tune_update_extension", "ALTER EXTENSION pg_stat_statements UPDATE;"};

// The statement with every string literal as '…', so that no password of a CREATE ROLE, say, is shown or kept. What
// can be parsed still can be. Where it is not certain that a literal ends, nothing follows.
std::string without_literals(std::string_view sql);

}  // namespace cairn::tuner
