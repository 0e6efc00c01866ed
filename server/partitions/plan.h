// What a conversion will do to a table, found out before anything is changed.
#pragma once

#include <string>
#include <vector>

#include "partitions/facts.h"
#include "partitions/ranges.h"

namespace cairn::partitions {

// A unique key that does not hold the partition key, kept by a table of its own (docs/formats/partitions.md).
struct KeyTable {
  std::string name = {};  // in the table's schema
  std::string key = {};   // the constraint or index
  std::string deferrable = {};
  std::vector<std::string> columns = {};
};

struct Plan {
  TableFacts facts = {};
  Scheme scheme = {};
  std::vector<Range> ranges = {};
  std::vector<std::string> key = {};  // by which rows are copied
  std::vector<KeyTable> keys = {};
  std::vector<std::string> refusals = {};  // it cannot be done for these
  std::vector<std::string> notes = {};     // what will be different

  std::string shadow_name() const { return fitted(facts.name, "_partitioned"); }
  std::string shadow() const { return qualified(facts.schema, shadow_name()); }
  // Columns that are written: those that are not generated.
  std::vector<std::string> written() const;
  // The table that a foreign key to these columns shall refer to.
  std::string target_of(const std::vector<std::string>& columns) const;
};

struct PlanOptions {
  std::string column = {};
  By by = By::kMonth;
  int64_t step = 1'000'000;
  int64_t ahead = 4;
  int64_t keep_months = 12;
};

// `with_ranges`: looks at all rows for the partitions that are needed. What stands in the way is in `refusals`.
task<Plan> make_plan(Session& session, int64_t oid, const PlanOptions& options, bool with_ranges);

// The key by which a table's rows are told apart: the primary key, or a unique one without NULLs. Empty: there is none.
std::vector<std::string> row_key(const TableFacts& facts);

// Throws Error with all refusals when there are any.
void require_possible(const Plan& plan);

}  // namespace cairn::partitions
