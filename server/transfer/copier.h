// Moves rows from one database to another, a kind of thing at a time: COPY out of a query, COPY into a temporary table
// `stage`, then statements that merge the stage into the tables. Every batch of rows is one transaction.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "transfer/session.h"

namespace cairn::transfer {

struct Merge {
  const char* sql;
  // Of the statement that writes the rows people count: rows affected, or the sum of the first column that it returns.
  bool counts = false;
};

struct Step {
  const char* name;
  // A SELECT on the side that is read; `order` is left out where only a count is wanted.
  const char* source;
  const char* order;
  // The columns of `stage`, in the SELECT's order.
  const char* stage;
  std::vector<Merge> merges;
};

struct Summary {
  struct Kind {
    std::string name;
    int64_t read = 0;
    // Rows that were missing or different. 0 when there was nothing left to do.
    int64_t written = 0;
  };
  struct Renumbered {
    std::string name, from, to;
  };
  std::string action;    // import or export
  std::string database;  // MLflow's, without its password
  bool dry_run = false;
  std::vector<Kind> copied;
  std::vector<Renumbered> renumbered;
  std::vector<std::pair<std::string, int64_t>> left_behind;
  // Where the artifacts of the runs that were read are, by the scheme of their locations.
  std::vector<std::pair<std::string, int64_t>> artifacts;
  double seconds = 0;
};

class Copier {
 public:
  // Begins the snapshot of `source`. Only one copier at a time may write to a database: throws kResourceConflict.
  Copier(Session& source, Session& target, bool dry_run, std::ostream& progress);

  Summary::Kind copy(const Step& step);
  // Stages all rows of the step, runs a query over them, and takes it all back.
  Session::Result compare(const Step& step, const std::string& query);

 private:
  bool stage_batch(int64_t& read);
  void report(const char* name, int64_t rows);

  Session& source_;
  Session& target_;
  bool dry_run_;
  std::ostream& progress_;
  std::chrono::steady_clock::time_point begun_;
  std::chrono::steady_clock::time_point last_report_;
};

void print_summary(const Summary& summary, bool as_json, std::ostream& out);

// An SQLAlchemy URL as libpq reads it. Throws Error(kInvalidParameterValue) for another database than PostgreSQL.
std::string libpq_url(const std::string& url);

}  // namespace cairn::transfer
