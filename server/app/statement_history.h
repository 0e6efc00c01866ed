// What statements took over the last hours: pg_stat_statements looked at every few seconds, the differences kept in
// memory. Of all databases of the server, for the counters are the server's.
//
// Threads: reactor only.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "db/pool.h"

namespace cairn::app {

class StatementHistory {
 public:
  explicit StatementHistory(db::Pool& pool) : pool_(pool) {}

  // Looks again and again; never ends. What cannot be looked at (no extension, no database for the moment) is left out.
  task<> keep();
  // Samples of one database that were taken after `after_ms`, as JSON.
  std::string as_json(const std::string& database, int64_t after_ms) const;

 private:
  struct Counters {
    int64_t calls = 0;
    double ms = 0;
  };
  using Key = std::pair<std::string, int64_t>;  // database, queryid
  struct Entry {
    Key key;
    Counters counters;
  };
  struct Sample {
    int64_t at_ms = 0;
    std::map<std::string, Counters> totals;  // by database
    std::vector<Entry> entries;              // those that took most
  };

  task<> look();
  void add(const db::Rows& rows);

  db::Pool& pool_;
  std::map<Key, Counters> last_;
  bool has_last_ = false;
  std::deque<Sample> samples_;
};

}  // namespace cairn::app
