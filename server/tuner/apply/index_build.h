// Indexes made and taken away without ever blocking who writes: CONCURRENTLY; a partitioned table's by an index ON ONLY
// each partitioned table, CONCURRENTLY on each partition that holds rows, then ATTACH PARTITION from below. What a
// killed build left is dropped and built again, so each function here may be repeated until it succeeds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tuner/apply/apply_session.h"
#include "tuner/apply/journal.h"

namespace cairn::tuner {

// What has an index's name.
struct IndexFound {
  int64_t oid = 0;
  bool is_index = false;
  TableName table = {};
  int64_t table_oid = 0;
  bool partitioned = false;
  bool valid = false;
  bool attached = false;        // to a partitioned table's index
  std::string definition = {};  // pg_get_indexdef; every name with its schema
};

task<std::optional<IndexFound>> find_index(ApplySession& session, std::string schema, std::string name);
inline task<std::optional<IndexFound>> find_index(ApplySession& session, const IndexPart& part) {
  return find_index(session, part.table.schema, part.name);
}

// The indexes that are needed. Throws Error where the table is not there, or PostgreSQL could not make them.
task<std::vector<IndexPart>> plan_index(ApplySession& session, const IndexDefinition& definition,
                                        const std::string& name);

// The name of an index of the table that is the same, and whole; empty: none.
task<std::string> find_equal_index(ApplySession& session, const IndexDefinition& definition);

// Makes them. What has such a name already is refused, unless it is `ours` (left by a killed build). `begun`: those of
// which there may be something now, to be dropped when it fails.
task<> make_index(ApplySession& session, const std::vector<IndexPart>& parts, bool ours, std::vector<IndexPart>& begun);

// Takes away what there is of them.
task<> drop_index(ApplySession& session, const std::vector<IndexPart>& parts);

}  // namespace cairn::tuner
