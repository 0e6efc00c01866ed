// Values between two times: the events themselves, page by page, or windows over them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "features/values.h"

namespace cairn::features {

struct Range {
  std::vector<Reference> references;  // of one feature view
  std::string start, end;             // the end is not in it
};

struct RangePage {
  int64_t limit = 1000;
  std::optional<std::string> token;  // next_page_token of the page before
};

struct Windows {
  double length_s = 0;
  int64_t moving = 0;  // how many windows the moving average takes; 0: none
};

// {"columns": {join key: […], "event_timestamp": […], "created": […], feature: […]}, "next_page_token": …}: entity by
// entity in the order asked for, by time, of each event the last version. Throws Error(kInvalidParameterValue).
task<std::string> read_range(db::Pool& pool, Range range, const Columns& entities, RangePage page);

// {"columns": {join key: […], "window_start": […], feature__count: […], feature__avg …}}: count, avg, min, max, stddev,
// rate and trend (per second) of each feature that is a number. Windows without a value are left out.
task<std::string> read_windows(db::Pool& pool, Range range, const Columns& entities, Windows windows);

}  // namespace cairn::features
