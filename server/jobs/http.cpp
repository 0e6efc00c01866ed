// /api/v1/jobs: reads the arguments and calls the store.
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "jobs/api.h"
#include "jobs/store.h"

namespace cairn::jobs {
namespace {

using http::Arguments;
using http::path_id;
using http::Request;

std::string as_job(const std::string& document) { return "{\"job\":" + document + "}"; }

Lease lease_of(const Request& request, const Arguments& arguments) {
  return {path_id(request), arguments->required_string("lease_token")};
}

task<std::string> on_enqueue(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  NewJob job;
  job.queue = arguments->string("queue").value_or(job.queue);
  job.kind = arguments->required_string("kind");
  job.payload = arguments->raw("payload").value_or(job.payload);
  job.priority = arguments->integer("priority").value_or(job.priority);
  job.max_attempts = arguments->integer("max_attempts").value_or(job.max_attempts);
  job.retry_delay_s = arguments->number("retry_delay_s").value_or(job.retry_delay_s);
  job.delay_s = arguments->number("delay_s").value_or(job.delay_s);
  co_return as_job(co_await enqueue(pool, job));
}

task<std::string> on_list(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  Listing listing;
  listing.queue = arguments->string("queue");
  listing.kind = arguments->string("kind");
  listing.status = arguments->string("status");
  listing.before = arguments->integer("before");
  listing.limit = arguments->integer("limit").value_or(listing.limit);
  co_return "{\"jobs\":" + co_await list(pool, listing) + "}";
}

task<std::string> on_read(db::Pool& pool, Request& request) { co_return as_job(co_await read(pool, path_id(request))); }

task<std::string> on_take(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  Take wanted;
  wanted.queue = arguments->string("queue").value_or(wanted.queue);
  wanted.worker = arguments->string("worker").value_or(request.user);
  wanted.lease_s = arguments->number("lease_s").value_or(wanted.lease_s);
  const std::optional<std::string> taken = co_await take(pool, wanted);
  co_return as_job(taken.value_or("null"));
}

task<std::string> on_renew(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Lease lease = lease_of(request, arguments);
  co_return as_job(co_await renew(pool, lease, arguments->number("lease_s").value_or(Take().lease_s)));
}

task<std::string> on_complete(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Lease lease = lease_of(request, arguments);
  co_return as_job(co_await complete(pool, lease, arguments->raw("result").value_or("{}")));
}

task<std::string> on_fail(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const Lease lease = lease_of(request, arguments);
  const Failure failure{arguments->string("error").value_or(""), arguments->boolean("retry").value_or(true)};
  co_return as_job(co_await fail(pool, lease, failure));
}

task<std::string> on_requeue(db::Pool& pool, Request& request) {
  co_return as_job(co_await requeue(pool, path_id(request)));
}

task<std::string> on_cancel(db::Pool& pool, Request& request) {
  co_return as_job(co_await cancel(pool, path_id(request)));
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"GET", "/api/v1/jobs", on_list},
    {"POST", "/api/v1/jobs", on_enqueue},
    {"POST", "/api/v1/jobs/take", on_take},
    {"GET", "/api/v1/jobs/{id}", on_read},
    {"POST", "/api/v1/jobs/{id}/heartbeat", on_renew},
    {"POST", "/api/v1/jobs/{id}/complete", on_complete},
    {"POST", "/api/v1/jobs/{id}/fail", on_fail},
    {"POST", "/api/v1/jobs/{id}/requeue", on_requeue},
    {"POST", "/api/v1/jobs/{id}/cancel", on_cancel},
};

}  // namespace

void register_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
}

}  // namespace cairn::jobs
