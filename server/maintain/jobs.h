// What the jobs `maintain` and `monthly` do, by the schedule and by a command alike.
#pragma once

#include <functional>
#include <iosfwd>
#include <vector>

#include "maintain/execute.h"
#include "maintain/monthly.h"

namespace cairn::maintain {

// Actions that a plan is asked for, or else the usual ones. Throws Error(kInvalidParameterValue) for what is done by
// hand only.
std::vector<Action> chosen(const Plan& plan, const std::vector<Kind>& asked);

// The plan's usual actions, then the checks. `before`: the report of the last month, as JSON.
task<Monthly> do_month(db::Pool& pool, Run* run, Maintainer* maintainer, std::optional<std::string> before,
                       double measure_s);

}  // namespace cairn::maintain
