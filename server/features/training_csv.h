// A training set's rows as CSV, of what packed_set_sql() gives. The text is what PostgreSQL's COPY (FORMAT csv) would
// write of the same values, byte for byte: sets that were kept are known by its SHA-256.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "features/point_in_time.h"
#include "features/records.h"

namespace cairn::features {

class TrainingCsv {
 public:
  // `query` must outlive it.
  TrainingCsv(const TrainingSetQuery& query, const PackedSet& packed);

  // Appends a line. `row`: one of the statement's, in PostgreSQL's binary form.
  void append(std::string& csv, const Record& row);

 private:
  struct Value {
    PackedSet::Place place;
    Slots slots;
    bool is_bool;
  };
  std::vector<Value> values_;
  std::vector<std::vector<std::string_view>> arrays_;  // the row's; NULL has no address
};

// As PostgreSQL writes a double precision (extra_float_digits = 1): the shortest text that is read as this value,
// however a reader rounds what lies in the middle of two.
void append_float8(std::string& out, double value);

}  // namespace cairn::features
