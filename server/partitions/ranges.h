// How a table is divided, and the names and bounds of its partitions. Times are of UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "partitions/facts.h"

namespace cairn::partitions {

enum class By { kMonth, kWeek, kDay, kNumber, kList };

std::string_view by_name(By by);
By by_of(const std::string& name);

struct Scheme {
  std::string column = {};
  std::string type = {};
  By by = By::kMonth;
  int64_t step = 0;         // of numbers
  int64_t ahead = 4;        // partitions made ahead
  int64_t keep_months = 0;  // 0: everything; of times only

  bool of_time() const { return by == By::kMonth || by == By::kWeek || by == By::kDay; }
};

struct Range {
  std::string name = {};    // of the partition, in the table's schema
  std::string bounds = {};  // what stands behind FOR VALUES
  std::string from = {};    // literals without their quotes; of a list: its value
  std::string to = {};
};

// The condition that a row of the range meets.
std::string condition(const Scheme& scheme, const Range& range);
std::string default_name(const std::string& table);
std::string strategy(By by);  // RANGE, LIST

// Partitions for what is in the table and for `ahead` to come. Throws Error where they would be too many.
task<std::vector<Range>> wanted_ranges(Session& session, const TableFacts& facts, const Scheme& scheme);
// Those of a partitioned table that are missing between its first one and `ahead` to come, and those for what lies in
// the default partition: of a list, values with many rows.
task<std::vector<Range>> missing_ranges(Session& session, const std::string& schema, const std::string& table,
                                        const Scheme& scheme);

struct Partition {
  int64_t oid = 0;
  std::string name = {};
  std::string bounds = {};  // pg_get_expr, without FOR VALUES
  std::string from = {};
  std::string to = {};
  bool is_default = false;
  double rows = 0;  // estimated
  int64_t bytes = 0;
};
// In the order of their bounds, the default one last.
task<std::vector<Partition>> partitions_of(Session& session, const std::string& schema, const std::string& table);

}  // namespace cairn::partitions
