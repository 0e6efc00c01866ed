#include "base/error.h"
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "maintain/api.h"
#include "maintain/report.h"

namespace cairn::maintain {
namespace {

using http::Arguments;
using http::Request;

// Bloat is estimated: to measure it reads whole indexes.
task<std::string> on_plan(db::Pool& pool, Request&) {
  PlanOptions options{.measure_s = 0};
  const Plan made = co_await plan(pool, options);
  co_return plan_json(made);
}

task<std::string> on_jobs(db::Pool& pool, Request&) {
  History history(pool);
  const std::vector<JobRow> jobs = co_await history.jobs();
  co_return jobs_json(jobs);
}

task<std::string> on_runs(db::Pool& pool, Request& request) {
  const Arguments arguments(request);
  const int64_t limit = arguments->integer("limit").value_or(100);
  if (limit < 1 || limit > 1000)
    throw invalid("Parameter 'limit' must be between 1 and 1000, got " + std::to_string(limit) + ".");
  History history(pool);
  const std::string runs = co_await history.runs(arguments->string("job"), arguments->integer("before"), limit);
  co_return "{\"runs\":" + runs + "}";
}

task<std::string> on_run(db::Pool& pool, Request& request) {
  const int64_t id = http::path_id(request);
  History history(pool);
  const std::string run = co_await history.run(id);
  co_return "{\"run\":" + run + "}";
}

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"GET", "/api/v1/database/maintenance/plan", on_plan},
    {"GET", "/api/v1/database/maintenance/jobs", on_jobs},
    {"GET", "/api/v1/database/maintenance/runs", on_runs},
    {"GET", "/api/v1/database/maintenance/runs/{id}", on_run},
};

}  // namespace

void register_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
}

}  // namespace cairn::maintain
