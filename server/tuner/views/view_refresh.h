// `cairn tune refresh`: materialised views kept fresh, by schedule or by how much has changed below them, without
// blocking their readers.
//
// What it knows of a view is a row of cairn_tune.materialized_views in the view's own database. Views that
// `cairn tune advise` proposed are taken up by their comment, others when they are named. One session refreshes a view
// at a time: the others leave it alone.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"

namespace cairn::db {
class Pool;
}

namespace cairn::tuner {

struct ViewState {
  std::string schema = {};
  std::string name = {};
  int64_t every_s = 0;
  std::optional<int64_t> changes_max = {};  // rows changed below it after which it is refreshed whatever its age
  std::optional<double> age_s = {};         // since the last refresh
  double refresh_ms = 0;                    // that it took
  int64_t refreshes = 0;
  int64_t changes = 0;           // rows written below it since then
  bool changes_known = true;     // false: a foreign table is below it, or nothing is counted
  bool reads_clock = false;      // it changes though nothing below it does
  bool populated = true;         // false: it cannot be read
  bool has_unique_index = true;  // else its readers would wait for a refresh
  int64_t hits = 0;              // scans of it that were none of a refresh
  double rows = 0;
  int64_t bytes = 0;
};

// Why it is to be refreshed now; nothing: it is fresh enough.
std::optional<std::string> due(const ViewState& view);
// Of all that was asked of it, how much it answered: each refresh is an answer that was computed.
double hit_ratio(const ViewState& view);

struct RefreshOptions {
  std::string connection_string = {};
  std::vector<std::string> views = {};  // names as in SQL; none: all that are known
  bool only_due = false;
  bool status = false;  // refresh nothing
  std::optional<int64_t> every_s = {};
  std::optional<int64_t> changes_max = {};
  bool json = false;
};

// For a schedule: whether a view is due that can be refreshed without blocking its readers, or one that was proposed is
// not known yet; and refreshing those that are due, with a summary in a line.
task<bool> has_due_views(db::Pool& pool);
task<std::string> refresh_due_views(db::Pool& pool);

// Returns the exit code: 1 when a view could not be refreshed. Throws Error.
int run_refresh(const RefreshOptions& options, std::ostream& out);

}  // namespace cairn::tuner
