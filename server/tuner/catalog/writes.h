// What a workload writes, and what an index more would make of it.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"
#include "tuner/catalog/index_definition.h"

namespace cairn::tuner {

// A statement as often as it ran.
struct StatementRuns {
  std::string text = {};
  double rows = 1;  // that it wrote, all runs together
};

struct TableWrites {
  struct Update {
    std::set<std::string> columns = {};  // that are set
    double rows = 0;
  };
  double inserted = 0;
  double deleted = 0;
  std::vector<Update> updates = {};
  // Of the updated rows: those that were heap-only (HOT), whose indexes were left alone.
  double hot_share = 0;
  size_t indexes = 0;  // there already
};

using Writes = std::map<TableName, TableWrites>;

// INSERT, UPDATE, DELETE, MERGE and COPY FROM, within WITH too. Tables that the catalog does not know are left out.
// `hot_shares`: see read_hot_shares().
Writes writes_of(const Catalog& catalog, std::span<const StatementRuns> workload,
                 const std::map<TableName, double>& hot_shares);

// Since the table's statistics began; tables that were never updated are left out.
task<std::map<TableName, double>> read_hot_shares(db::Pool& pool);

// Milliseconds that all those writes would take longer. An update that was heap-only and sets a column of the index is
// so no more: then every index of the table gets an entry.
double write_ms(const IndexDefinition& index, const Writes& writes);

}  // namespace cairn::tuner
