#include "jobs/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "db/transaction.h"

namespace cairn::jobs {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr size_t kMaxName = 256;
constexpr size_t kMaxError = 8000;
constexpr double kMaxDelay = 366 * 86400.0;
constexpr double kMaxRetryDelay = 86400;
constexpr double kMinLease = 1, kMaxLease = 86400;
constexpr int64_t kMaxAttempts = 1000;
constexpr int64_t kMaxPriority = 1'000'000;
constexpr std::array kStatuses{"queued", "running", "succeeded", "failed", "dead", "cancelled"};

// Times are milliseconds since 1970, as everywhere in the API.
#define CAIRN_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"
// Its lease token is for the one who took it only.
#define CAIRN_JOB_FIELDS \
  "'job_id', j.job_id, 'queue', j.queue, 'kind', j.kind, 'payload', j.payload, 'status', j.status,"         \
  " 'priority', j.priority, 'attempts', j.attempts, 'max_attempts', j.max_attempts,"                        \
  " 'retry_delay_s', j.retry_delay_s, 'run_after', " CAIRN_MS("j.run_after") ", 'worker', j.worker,"        \
  " 'lease_until', " CAIRN_MS("j.lease_until") ", 'result', j.result, 'error', j.error,"                    \
  " 'created_at', " CAIRN_MS("j.created_at") ", 'finished_at', " CAIRN_MS("j.finished_at")
#define CAIRN_JOB_JSON "json_build_object(" CAIRN_JOB_FIELDS ")"
#define CAIRN_LEASE_HELD " WHERE j.job_id = $1 AND j.lease_token::text = $2 RETURNING " CAIRN_JOB_JSON

constexpr Statement kRead{"read_job", "SELECT " CAIRN_JOB_JSON " FROM jobs.jobs j WHERE j.job_id = $1"};

Error unknown(int64_t job_id) { return not_found("Job " + std::to_string(job_id) + " not found."); }

void check_name(const char* parameter, const std::string& text) {
  if (text.empty()) throw invalid("Missing value for required parameter '" + std::string(parameter) + "'.");
  if (text.size() > kMaxName)
    throw invalid(fmt::format("Parameter '{}' must be text of at most {} bytes.", parameter, kMaxName));
}

template <class Number>
void check_range(const char* parameter, Number value, Number least, Number greatest) {
  if (value >= least && value <= greatest) return;  // NaN is in no range
  throw invalid(fmt::format("Parameter '{}' must be between {} and {}.", parameter, least, greatest));
}

void check_lease(double lease_s) { check_range("lease_s", lease_s, kMinLease, kMaxLease); }

// What workers report is kept as far as it can be.
std::string storable(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  if (text.size() <= kMaxError) return text;
  size_t end = kMaxError;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not amid a character
  return text.substr(0, end) + "…";
}

// JSON that PostgreSQL cannot keep: \u0000, or a number without end.
task<Rows> query_with_json(db::Pool& pool, Statement statement, Params params, const char* parameter) {
  try {
    co_return co_await pool.query(statement, std::move(params));
  } catch (const db::DbError& error) {
    if (!error.sqlstate().starts_with("22")) throw;
    throw invalid("Parameter '" + std::string(parameter) + "' is JSON that cannot be stored: " + error.what());
  }
}

constexpr Statement kState{"job_state",
                           "SELECT status, coalesce(worker, 'another worker') FROM jobs.jobs WHERE job_id = $1"};

// Why a change touched no row.
task<Error> refusal(db::Pool& pool, int64_t job_id, std::string what) {
  const Rows state = co_await pool.query(kState, Params::of(job_id));
  if (state.empty()) co_return unknown(job_id);
  const std::string status = state.text(0, 0);
  co_return Error(ErrorCode::kResourceConflict, "Job " + std::to_string(job_id) + " is " + status +
                                                    (status == "running" ? " for " + state.text(0, 1) : "") + ": " +
                                                    what);
}

task<std::string> changed(db::Pool& pool, Rows rows, int64_t job_id, std::string otherwise) {
  if (rows.empty()) {
    const Error error = co_await refusal(pool, job_id, otherwise);
    throw error;
  }
  co_return rows.text(0, 0);
}

constexpr const char* kLeaseLost = "this lease is not the job's any more, so drop what you did for it.";

}  // namespace

constexpr Statement kEnqueue{
    "enqueue_job",
    "INSERT INTO jobs.jobs AS j (queue, kind, payload, priority, max_attempts, retry_delay_s, run_after) "
    "VALUES ($1, $2, $3, $4::bigint::int, $5::bigint::int, $6, now() + make_interval(secs => $7)) "
    "RETURNING " CAIRN_JOB_JSON};

task<std::string> enqueue(db::Pool& pool, NewJob job) {
  check_name("queue", job.queue);
  check_name("kind", job.kind);
  check_range("priority", job.priority, -kMaxPriority, kMaxPriority);
  check_range("max_attempts", job.max_attempts, int64_t{1}, kMaxAttempts);
  check_range("retry_delay_s", job.retry_delay_s, 0.0, kMaxRetryDelay);
  check_range("delay_s", job.delay_s, 0.0, kMaxDelay);
  Params params = Params::of(job.queue, job.kind, db::Jsonb{job.payload}, job.priority, job.max_attempts,
                             job.retry_delay_s, job.delay_s);
  const Rows rows = co_await query_with_json(pool, kEnqueue, std::move(params), "payload");
  co_return rows.text(0, 0);
}

constexpr Statement kList{"list_jobs",
                          "SELECT coalesce(json_agg(x.document), '[]') FROM (SELECT " CAIRN_JOB_JSON
                          " AS document FROM jobs.jobs j "
                          "WHERE ($1::text IS NULL OR j.queue = $1) AND ($2::text IS NULL OR j.kind = $2) "
                          "AND ($3::text IS NULL OR j.status = $3) AND ($4::bigint IS NULL OR j.job_id < $4) "
                          "ORDER BY j.job_id DESC LIMIT $5) x"};

task<std::string> list(db::Pool& pool, Listing listing) {
  check_range("limit", listing.limit, int64_t{1}, int64_t{1000});
  if (listing.queue) check_name("queue", *listing.queue);
  if (listing.kind) check_name("kind", *listing.kind);
  if (listing.status && std::ranges::find(kStatuses, *listing.status) == kStatuses.end())
    throw invalid("Parameter 'status' must be one of queued, running, succeeded, failed, dead, cancelled, got '" +
                  *listing.status + "'.");
  const Rows rows = co_await pool.query(
      kList, Params::of(listing.queue, listing.kind, listing.status, listing.before, listing.limit));
  co_return rows.text(0, 0);
}

task<std::string> read(db::Pool& pool, int64_t job_id) {
  const Rows rows = co_await pool.query(kRead, Params::of(job_id));
  if (rows.empty()) throw unknown(job_id);
  co_return rows.text(0, 0);
}

constexpr Statement kGiveBack{
    "give_back_jobs",
    "UPDATE jobs.jobs j SET status = CASE WHEN attempts < max_attempts THEN 'queued' ELSE 'dead' END, "
    "lease_token = NULL, lease_until = NULL, finished_at = CASE WHEN attempts >= max_attempts THEN now() END, "
    "error = format('attempt %s: the lease of %s ended, and it was not heard of', attempts, "
    "coalesce(worker, 'its worker')) "
    "FROM (SELECT job_id FROM jobs.jobs WHERE status = 'running' AND lease_until < now() "
    "ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED) late WHERE j.job_id = late.job_id"};
constexpr Statement kTake{
    "take_job",
    "UPDATE jobs.jobs j SET status = 'running', attempts = attempts + 1, worker = nullif($2, ''), "
    "lease_token = gen_random_uuid(), lease_until = now() + make_interval(secs => $3) "
    "WHERE job_id = (SELECT job_id FROM jobs.jobs WHERE status = 'queued' AND queue = $1 AND run_after <= now() "
    "ORDER BY priority DESC, run_after, job_id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "RETURNING json_build_object(" CAIRN_JOB_FIELDS ", 'lease_token', lease_token)"};

task<std::optional<std::string>> take(db::Pool& pool, Take take) {
  check_name("queue", take.queue);
  if (!take.worker.empty()) check_name("worker", take.worker);
  check_lease(take.lease_s);
  auto body = [&](db::Transaction& tx) -> task<std::optional<std::string>> {
    std::vector<db::Query> steps;
    steps.push_back({kGiveBack, {}});
    steps.push_back({kTake, Params::of(take.queue, take.worker, take.lease_s)});
    const std::vector<Rows> results = co_await tx.run_and_commit(std::move(steps));
    if (results[1].empty()) co_return std::nullopt;
    co_return results[1].text(0, 0);
  };
  co_return co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
}

constexpr Statement kRenew{"renew_job",
                           "UPDATE jobs.jobs j SET lease_until = now() + make_interval(secs => $3)" CAIRN_LEASE_HELD};

task<std::string> renew(db::Pool& pool, Lease lease, double lease_s) {
  check_lease(lease_s);
  Rows rows = co_await pool.query(kRenew, Params::of(lease.job_id, lease.token, lease_s));
  co_return co_await changed(pool, std::move(rows), lease.job_id, kLeaseLost);
}

constexpr Statement kComplete{
    "complete_job",
    "UPDATE jobs.jobs j SET status = 'succeeded', result = $3, error = NULL, finished_at = now(), lease_token = NULL, "
    "lease_until = NULL" CAIRN_LEASE_HELD};

task<std::string> complete(db::Pool& pool, Lease lease, std::string result) {
  Params params = Params::of(lease.job_id, lease.token, db::Jsonb{result});
  Rows rows = co_await query_with_json(pool, kComplete, std::move(params), "result");
  co_return co_await changed(pool, std::move(rows), lease.job_id, kLeaseLost);
}

// The delay has a random part, so that jobs that failed together do not come back together.
constexpr Statement kFail{
    "fail_job",
    "UPDATE jobs.jobs j SET status = CASE WHEN NOT $4 THEN 'failed' WHEN attempts < max_attempts THEN 'queued' "
    "ELSE 'dead' END, error = $3, lease_token = NULL, lease_until = NULL, "
    "finished_at = CASE WHEN NOT $4 OR attempts >= max_attempts THEN now() END, "
    "run_after = now() + make_interval(secs => (1 + 0.2 * random()) * "
    "least(3600, retry_delay_s * power(2, least(attempts - 1, 30))))" CAIRN_LEASE_HELD};

task<std::string> fail(db::Pool& pool, Lease lease, Failure failure) {
  Rows rows = co_await pool.query(
      kFail, Params::of(lease.job_id, lease.token, storable(std::move(failure.error)), failure.retry));
  co_return co_await changed(pool, std::move(rows), lease.job_id, kLeaseLost);
}

constexpr Statement kRequeue{
    "requeue_job",
    "UPDATE jobs.jobs j SET status = 'queued', attempts = 0, run_after = now(), finished_at = NULL "
    "WHERE job_id = $1 AND status IN ('failed', 'dead', 'cancelled') RETURNING " CAIRN_JOB_JSON};

task<std::string> requeue(db::Pool& pool, int64_t job_id) {
  Rows rows = co_await pool.query(kRequeue, Params::of(job_id));
  co_return co_await changed(pool, std::move(rows), job_id, "only a failed, dead or cancelled job can be requeued.");
}

constexpr Statement kCancel{
    "cancel_job",
    "UPDATE jobs.jobs j SET status = 'cancelled', finished_at = now(), lease_token = NULL, lease_until = NULL "
    "WHERE job_id = $1 AND status IN ('queued', 'running') RETURNING " CAIRN_JOB_JSON};

task<std::string> cancel(db::Pool& pool, int64_t job_id) {
  Rows rows = co_await pool.query(kCancel, Params::of(job_id));
  co_return co_await changed(pool, std::move(rows), job_id, "only a queued or running job can be cancelled.");
}

}  // namespace cairn::jobs
