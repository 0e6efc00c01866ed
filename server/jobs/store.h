// The queue in jobs.jobs.
//
//   queued ──take──> running ──complete──> succeeded
//      ^                │ fail, or the lease ends: attempts left ──> queued, after a delay; none left ──> dead
//      │                │ fail without retry ──> failed
//      └──requeue── failed, dead, cancelled <──cancel── queued, running
//
// A worker holds a job by its lease: whoever has the token may renew it, complete the job or fail it. A lease that
// ended is noticed by the next take, in any queue; until then its worker may still renew it. So a job runs at least
// once, and its worker must bear that it runs twice.
//
// Answers are JSON text. Arguments are checked here: Error(kInvalidParameterValue).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "db/pool.h"

namespace cairn::jobs {

struct NewJob {
  std::string queue = "default";
  std::string kind;
  std::string payload = "{}";  // JSON
  int64_t priority = 0;        // greater is sooner
  int64_t max_attempts = 3;
  double retry_delay_s = 10;
  double delay_s = 0;  // before the first attempt
};

struct Take {
  std::string queue = "default";
  std::string worker;
  double lease_s = 60;
};

// What the worker who took a job shows.
struct Lease {
  int64_t job_id = 0;
  std::string token;
};

struct Failure {
  std::string error;
  bool retry = true;
};

// Newest first; `before` a job's id for the next page.
struct Listing {
  std::optional<std::string> queue, kind, status;
  std::optional<int64_t> before;
  int64_t limit = 100;
};

task<std::string> enqueue(db::Pool& pool, NewJob job);
task<std::string> list(db::Pool& pool, Listing listing);
task<std::string> read(db::Pool& pool, int64_t job_id);
// The first job that is due, with its `lease_token`; nothing when none is. First gives back what has lost its lease.
task<std::optional<std::string>> take(db::Pool& pool, Take take);
// These throw Error(kResourceConflict) when the lease is not the job's any more.
task<std::string> renew(db::Pool& pool, Lease lease, double lease_s);
task<std::string> complete(db::Pool& pool, Lease lease, std::string result);
task<std::string> fail(db::Pool& pool, Lease lease, Failure failure);
// All its attempts anew.
task<std::string> requeue(db::Pool& pool, int64_t job_id);
task<std::string> cancel(db::Pool& pool, int64_t job_id);

}  // namespace cairn::jobs
