// What a PostgreSQL is doing, and what to do about it: `cairn triage`, GET /api/v1/database/triage.
#pragma once

#include <iosfwd>
#include <string>

#include "db/pool.h"
#include "http/router.h"
#include "triage/findings.h"
#include "triage/report.h"
#include "triage/signal.h"
#include "triage/state.h"

namespace cairn::triage {

struct TriageOptions {
  std::string connection_string = {};
  double watch_s = 0;  // look again after so many seconds, until interrupted; 0: once
  bool json = false;   // one object a look
};

// Returns the exit code: 1 when there is a critical finding (0 where it was watched).
int run_triage(const TriageOptions& options, std::ostream& out);

// `pool` must outlive the router.
void register_routes(http::Router& router, db::Pool& pool);

}  // namespace cairn::triage
