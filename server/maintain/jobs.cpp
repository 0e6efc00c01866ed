#include "maintain/jobs.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "maintain/schedule.h"

namespace cairn::maintain {
namespace {

constexpr double kMeasure_s = 600;
constexpr double kWait_s = 600;

ExecuteOptions options_of(JobContext& context, const std::string& name) {
  ExecuteOptions options{.connection_string = context.pool.options().connection_string,
                         .name = "cairn job " + name,
                         .wait_s = kWait_s,
                         .gentle = true,
                         .may_go_on = context.may_go_on};
  return options;
}

task<std::string> maintain_now(JobContext& context) {
  PlanOptions plan_options{.measure_s = kMeasure_s};
  const Plan plan = co_await maintain::plan(context.pool, plan_options);
  std::vector<Action> actions = chosen(plan, {});
  co_await context.run.plan(actions);
  std::ostringstream progress;
  Maintainer maintainer(options_of(context, "maintain"), progress);
  context.on_stop = [&maintainer] { maintainer.stop(); };
  std::exception_ptr failure;
  std::vector<Outcome> outcomes;
  try {
    outcomes = co_await maintainer.carry_out(context.run, std::move(actions));
  } catch (...) {
    failure = std::current_exception();
  }
  context.on_stop = [] {};
  if (failure) std::rethrow_exception(failure);
  History history(context.pool);
  co_await history.purge();
  co_return summary_of(outcomes);
}

task<std::string> monthly_now(JobContext& context) {
  std::ostringstream progress;
  Maintainer maintainer(options_of(context, "monthly"), progress);
  context.on_stop = [&maintainer] { maintainer.stop(); };
  History history(context.pool);
  const std::optional<std::string> before = co_await history.last_report("monthly");
  std::exception_ptr failure;
  std::optional<Monthly> month;
  try {
    month = co_await do_month(context.pool, &context.run, &maintainer, before, kMeasure_s);
  } catch (...) {
    failure = std::current_exception();
  }
  context.on_stop = [] {};
  if (failure) std::rethrow_exception(failure);
  context.report = monthly_json(*month);
  co_return monthly_summary(*month);
}

task<std::string> refresh_now(JobContext& context) { return tuner::refresh_due_views(context.pool); }

task<bool> refresh_needed(db::Pool& pool) { return tuner::has_due_views(pool); }

}  // namespace

std::vector<Action> chosen(const Plan& plan, const std::vector<Kind>& asked) {
  if (std::find(asked.begin(), asked.end(), Kind::kVacuumFull) != asked.end())
    throw invalid(
        "VACUUM FULL locks its table against everybody: run it by hand, in a window (`cairn maintain plan --only "
        "vacuum-full` shows it)");
  std::vector<Action> actions;
  for (const Action& action : plan.actions)
    if (asked.empty() ? is_usual(action.kind) : action.kind != Kind::kVacuumFull) actions.push_back(action);
  return actions;
}

task<Monthly> do_month(db::Pool& pool, Run* run, Maintainer* maintainer, std::optional<std::string> before,
                       double measure_s) {
  Monthly month;
  if (before) month.before = baseline_of(*before);
  PlanOptions plan_options{.measure_s = measure_s};
  month.plan = co_await plan(pool, plan_options);
  if (run != nullptr) {
    std::vector<Action> actions = chosen(month.plan, {});
    co_await run->plan(actions);
    month.outcomes = co_await maintainer->carry_out(*run, std::move(actions));
  }
  month.now = co_await read_baseline(pool, month.plan.notes);
  History history(pool);
  if (co_await history.exists()) month.verified = co_await history.last_ending(std::string(kBackupVerify));
  month.checks = check_month(month, run != nullptr);
  co_return month;
}

void add_database_jobs(Schedule& schedule) {
  schedule.add({.name = "refresh-views",
                .description = "Refreshes the materialized views that are due",
                .schedule = "60 seconds",
                .work = refresh_now,
                .is_needed = refresh_needed});
  schedule.add({.name = "maintain",
                .description = "VACUUM, ANALYZE and REINDEX CONCURRENTLY where they are needed",
                .schedule = "0 1 * * *",
                .quiet_hours = kNight,
                .work = maintain_now});
  schedule.add({.name = "monthly",
                .description = "The monthly checklist, with a report",
                .schedule = "0 2 * * 0#1",
                .quiet_hours = kNight,
                .work = monthly_now});
}

}  // namespace cairn::maintain
