// Values for the placeholders of a statement, as pg_stat_statements leaves it: drawn from the rows of the tables
// themselves, so that the common ones come often. Values that a statement compares with one table are of one row; a
// bound of time is near the end of the data.
//
// Reads through the session that it is given (a clone's), by TABLESAMPLE, in transactions of its own; a table that may
// not be read is known by pg_stats. The same seed and data give the same values.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"
#include "tuner/catalog/session.h"
#include "tuner/sql/placeholders.h"

namespace cairn::tuner {

struct Constants {
  std::string sql = {};           // to be run with them: the statement, or what can be prepared of it
  std::vector<Values> sets = {};  // one, and empty, where there is no placeholder
  std::string refusal = {};       // why there are none
  size_t logged = 0;              // how many of the sets, the first ones, are of the log
};

class ConstantsDrawer {
 public:
  ConstantsDrawer(Session& session, const Catalog& catalog, uint64_t seed)
      : session_(session), catalog_(catalog), seed_(seed) {}

  // `logged`: sets of values that the statement was run with; they win over drawn ones.
  Constants draw(const std::string& statement, int sets, const std::vector<Values>& logged = {});

 private:
  // Rows of a table, the columns in the order that they were asked for.
  using Sample = std::vector<Values>;
  struct Times {
    double first = 0, last = 0;  // seconds since 1970
    double now = 0;
  };
  struct Slot {
    Placeholder placeholder = {};
    std::string type = {};  // that PostgreSQL takes it for
    bool paired = false;    // the other bound of the same column is a placeholder too
    bool fresh = false;     // must be in no row yet
    bool repeated = false;  // the same is asked for before: IN ($1, $2)
  };
  struct Row {
    std::map<std::string, Value> values = {};
  };

  std::vector<Slot> slots_of(const std::string& sql, const std::vector<std::string>& types) const;
  bool can_be_prepared(const std::string& sql);
  void fill(Constants& constants, const std::vector<Slot>& slots, int sets);
  Values one_set(const std::vector<Slot>& slots, int set);
  Value value(const Slot& slot, const Row& row, int set);
  Value from_row(const Slot& slot, const Row& row, int set);
  Value array_of(const Slot& slot, int set);
  Value time_bound(const Slot& slot, int set);
  Value document_part(const Slot& slot, const std::string& document);
  Value fresh(const Slot& slot, const Value& like, int set);
  Value by_type(const std::string& type, int set) const;
  Row row_of(const Table& table, int use, int set);
  const Sample& sample_of(const Table& table);
  Sample statistics_of(const Table& table);
  const Times& times_of(const Table& table, const std::string& column);
  // A number below `count` that depends on these and the seed alone.
  size_t pick(size_t count, int set, int use, uint64_t salt) const;

  Session& session_;
  const Catalog& catalog_;
  uint64_t seed_;
  std::map<int64_t, Sample> samples_ = {};
  std::map<std::pair<int64_t, std::string>, Times> times_ = {};
};

}  // namespace cairn::tuner
