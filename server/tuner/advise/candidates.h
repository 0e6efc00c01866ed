// Indexes that might help a workload, from its statements' text and the catalog: which columns, in which order and
// direction, of which kind. No costs here: what a candidate is worth is asked of the planner, and then measured.
//
// Not proposed: what an index that is there does already, and anything on a table of fewer than kTablePagesMin pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"
#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

// Below this PostgreSQL reads the table as fast as an index.
constexpr int64_t kTablePagesMin = 16;

struct WorkloadStatement {
  std::string text = {};
  double weight = 1;  // of any unit: its time, or its calls
  double calls = 1;   // with these constants
};

struct Candidate {
  IndexDefinition index = {};
  std::string reason = {};
  std::vector<size_t> statements = {};  // positions in the workload, ascending; none for a foreign key's index
};

// Those that serve the greatest weight first. A statement that does not parse, or is of no known table, has none.
std::vector<Candidate> propose(const Catalog& catalog, std::span<const WorkloadStatement> workload);

}  // namespace cairn::tuner
