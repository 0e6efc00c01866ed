#include "maintain/cli.h"

#include <algorithm>
#include <memory>
#include <ostream>

#include "base/error.h"
#include "base/reactor.h"
#include "db/pooler.h"
#include "maintain/cron.h"
#include "maintain/execute.h"
#include "maintain/jobs.h"
#include "maintain/monthly.h"
#include "maintain/report.h"

namespace cairn::maintain {
namespace {

db::PoolOptions pool_options(const std::string& connection_string) {
  db::PoolOptions options;
  options.connection_string = connection_string;
  options.size = 1;
  return options;
}

PlanOptions plan_options(const MaintainOptions& options) {
  PlanOptions plan{.tables = options.tables, .measure_s = options.measure_s};
  for (const std::string& kind : options.kinds) plan.kinds.push_back(kind_of(kind));
  return plan;
}

constexpr db::Statement kStandby{"maintain_cli_standby", "/* cairn tune */ SELECT pg_is_in_recovery()"};

task<> check_primary(db::Pool& pool) {
  const db::Rows standby = co_await pool.query(kStandby);
  if (standby.boolean(0, 0))
    throw Error(ErrorCode::kInvalidState, "this is a standby, where nothing can be changed: connect to the primary");
}

// One run of a job by a command: begun, stopped by a signal, finished whatever happens.
class CommandRun {
 public:
  CommandRun(Reactor& reactor, db::Pool& pool, std::string job, const MaintainOptions& options, std::ostream& progress)
      : reactor_(reactor),
        maintainer_({.connection_string = options.connection_string, .wait_s = options.wait_s}, progress),
        stop_(std::make_shared<std::function<void()>>([this] { maintainer_.stop(); })) {
    db::require_session(options.connection_string, job == "monthly" ? "cairn maintain monthly" : "cairn maintain run");
    History history(pool);
    reactor_.block_on(history.prepare());
    run_ = reactor_.block_on(Run::begin(pool, job, "command"));
    if (!run_)
      throw Error(ErrorCode::kResourceConflict,
                  "the job " + job + " is running already: `cairn maintain history` shows it");
    reactor_.on_signal([stop = std::weak_ptr(stop_)](int) {
      if (const auto alive = stop.lock()) (*alive)();
    });
  }

  Run& run() { return *run_; }
  Maintainer& maintainer() { return maintainer_; }
  template <class T>
  T carry_out(task<T> work) {
    try {
      return reactor_.block_on(std::move(work));
    } catch (const std::exception& error) {
      failure_ = std::current_exception();
      try {
        reactor_.block_on(run_->finish(maintainer_.stopped() ? "stopped" : "failed", error.what()));
      } catch (const Error&) {
        // The row stays as it is; who runs the job next says that it was interrupted.
      }
    }
    std::rethrow_exception(failure_);
  }
  void finish(const std::string& summary, const std::string& report) {
    reactor_.block_on(run_->finish(maintainer_.stopped() ? "stopped" : "done", summary, report));
  }

 private:
  Reactor& reactor_;
  Maintainer maintainer_;
  std::shared_ptr<std::function<void()>> stop_;
  std::optional<Run> run_;
  std::exception_ptr failure_;
};

int exit_code_of(const std::vector<Outcome>& outcomes) {
  return std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.state == "done"; })
             ? 0
             : 1;
}

}  // namespace

int run_plan(const MaintainOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options.connection_string));
  const Plan plan = reactor.block_on(maintain::plan(pool, plan_options(options)));
  if (options.json)
    out << plan_json(plan) << "\n";
  else
    print_plan(plan, out);
  return 0;
}

int run_maintain(const MaintainOptions& options, std::ostream& out, std::ostream& progress) {
  const PlanOptions wanted = plan_options(options);
  chosen({}, wanted.kinds);  // what may not be asked for is said before anything is read
  Reactor reactor;
  db::Pool pool(pool_options(options.connection_string));
  reactor.block_on(check_primary(pool));
  const Plan plan = reactor.block_on(maintain::plan(pool, wanted));
  const std::vector<Action> actions = chosen(plan, wanted.kinds);
  std::vector<Outcome> outcomes;
  if (!actions.empty()) {
    CommandRun command(reactor, pool, "maintain", options, progress);
    auto work = [&]() -> task<std::vector<Outcome>> {
      co_await command.run().plan(actions);
      co_return co_await command.maintainer().carry_out(command.run(), actions);
    };
    outcomes = command.carry_out(work());
    command.finish(summary_of(outcomes), "{}");
  }
  if (options.json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("summary", summary_of(outcomes));
    writer.key("actions");
    write_outcomes(writer, outcomes);
    writer.end_object();
    out << text << "\n";
  } else {
    print_outcomes(outcomes, out);
    for (const std::string& note : plan.notes) out << "note: " << note << "\n";
  }
  return exit_code_of(outcomes);
}

int run_monthly(const MaintainOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  db::Pool pool(pool_options(options.connection_string));
  History history(pool);
  std::optional<std::string> before;
  if (reactor.block_on(history.exists())) before = reactor.block_on(history.last_report("monthly"));
  Monthly month;
  if (options.dry_run) {
    month = reactor.block_on(do_month(pool, nullptr, nullptr, before, options.measure_s));
  } else {
    reactor.block_on(check_primary(pool));
    CommandRun command(reactor, pool, "monthly", options, progress);
    month = command.carry_out(do_month(pool, &command.run(), &command.maintainer(), before, options.measure_s));
    command.finish(monthly_summary(month), monthly_json(month));
  }
  if (options.json)
    out << monthly_json(month) << "\n";
  else
    print_monthly(month, out);
  return exit_code_of(month.outcomes);
}

int run_history(const HistoryOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options.connection_string));
  History history(pool);
  if (!reactor.block_on(history.exists())) {
    if (options.run_id) throw not_found("nothing was done in this database yet");
    out << (options.json ? "[]\n" : "nothing was done in this database yet\n");
    return 0;
  }
  if (options.run_id) {
    const std::string run = reactor.block_on(history.run(*options.run_id));
    if (options.json)
      out << run << "\n";
    else
      print_run(run, out);
    return 0;
  }
  const std::string runs = reactor.block_on(history.runs(options.job, std::nullopt, options.limit));
  if (options.json)
    out << runs << "\n";
  else
    print_runs(runs, out);
  return 0;
}

int run_jobs(const JobOptions& options, std::ostream& out) {
  JobChange change{.name = options.name, .schedule = options.schedule};
  if (options.schedule) {
    const Cron checked(*options.schedule);
    if (!checked.next(0)) throw invalid("there is no day for the schedule '" + *options.schedule + "'");
  }
  if (options.quiet_hours) {
    if (*options.quiet_hours != "any") QuietHours{*options.quiet_hours};
    change.quiet_hours = *options.quiet_hours == "any" ? "" : *options.quiet_hours;
  }
  if (options.enable || options.disable) change.enabled = options.enable;
  Reactor reactor;
  db::Pool pool(pool_options(options.connection_string));
  History history(pool);
  std::vector<JobRow> jobs;
  if (reactor.block_on(history.exists())) {
    if (!options.name.empty()) reactor.block_on(history.change_job(change));
    jobs = reactor.block_on(history.jobs());
  } else if (!options.name.empty()) {
    throw not_found("there are no jobs in this database: `cairn serve` makes them");
  }
  if (options.json)
    out << jobs_json(jobs) << "\n";
  else
    print_jobs(jobs, out);
  return 0;
}

}  // namespace cairn::maintain
