// The spine of a training set, staged: whatever it comes from, rows (number, at, columns text[]) of a temporary table.
#pragma once

#include <string>
#include <vector>

#include "db/copy.h"
#include "features/point_in_time.h"
#include "features/training_set.h"

namespace cairn::features {

inline constexpr const char* kTimeColumn = "event_timestamp";
inline constexpr const char* kStagedSpine = "pg_temp.cairn_spine";

// Begins and ends transactions of its own; the session's must be none. Rows of a query or a table come in the order of
// `join_keys`, time, and all columns: a query's own order is not always the same. Throws Error(kInvalidParameterValue).
task<std::vector<SpineColumn>> stage_spine(db::CopySession& session, Spine& spine,
                                           const std::vector<std::string>& join_keys);

// A name with or without a schema, quoted.
std::string quote_table(std::string_view name);

}  // namespace cairn::features
