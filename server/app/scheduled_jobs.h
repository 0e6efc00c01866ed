// Jobs of the server's schedule that take several modules, beside those of maintain.
#pragma once

#include "base/config.h"
#include "maintain/schedule.h"

namespace cairn::app {

// `partitions`, daily, where there are tables that `cairn partitions maintain` looks after; `backup-verify`, monthly,
// where the server knows of a backup directory: of the embedded database only.
void add_scheduled_jobs(maintain::Schedule& schedule, const ServerConfig& config);

}  // namespace cairn::app
