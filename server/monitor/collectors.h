// What is asked of PostgreSQL for /metrics: a statement each, and the names under which its figures are served.
//
// Names are those of postgres_exporter, so that its dashboards and rules work, and those of text 002. A statement gives
// rows of (labels text[], values float8[]); a value that is NULL is no sample. Each is bounded by its own LIMIT.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace cairn::monitor {

struct Family {
  const char* name;
  const char* type;
  const char* help;
  // Which of the row's labels it has: from this one up to, but not with, that.
  size_t first_label = 0;
  size_t end_label = 99;
};

struct Collector {
  const char* name;
  std::string sql;
  std::vector<const char*> labels;
  std::vector<Family> families;  // one a value
  // For so long an answer serves again, and up to Gatherer::kSpread longer where others are due at the same time.
  std::chrono::seconds keep{0};
  // Names come with the rows: the first label is a metric's name, and `families` has only its type and help.
  bool named = false;
};

struct DatabaseFacts {
  bool has_statements = false;
  std::string statements_schema;
  bool statements_shared_names = false;  // shared_blk_read_time, since pg_stat_statements 1.11
  bool statements_toplevel = false;      // since 1.9
  bool has_jobs = false;                 // Cairn's queue
};

// Those that make sense for such a database.
std::vector<Collector> collectors(const DatabaseFacts& facts);

// In their own files, for their size.
std::vector<Collector> table_collectors();

}  // namespace cairn::monitor
