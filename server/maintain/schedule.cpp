#include "maintain/schedule.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"
#include "db/pooler.h"

namespace cairn::maintain {
namespace {

using namespace std::chrono_literals;
using db::Rows;
using db::Statement;

constexpr auto kBetweenLooks = 2s;
constexpr auto kAfterTrouble = 10s;
constexpr auto kPoll = 50ms;

constexpr Statement kStandby{"maintain_standby", "/* cairn tune */ SELECT pg_is_in_recovery()"};

int64_t now_s() { return now_ms() / 1000; }

bool is_quiet(const std::optional<std::string>& hours) { return !hours || QuietHours(*hours).contain(now_s()); }

}  // namespace

std::optional<int64_t> next_due(const JobRow& row) {
  return Cron(row.schedule).next(row.last_started_s.value_or(row.created_s));
}

bool Schedule::is_due(const JobRow& row, int64_t now) const {
  if (!row.enabled || running_.contains(row.name)) return false;
  const auto looked = looked_s_.find(row.name);
  JobRow seen = row;
  if (looked != looked_s_.end())
    seen.last_started_s = std::max(looked->second, row.last_started_s.value_or(row.created_s));
  const auto next = next_due(seen);
  return next && *next <= now && is_quiet(row.quiet_hours);
}

task<> Schedule::prepare() {
  // A job's lock is its session's.
  const auto check = [url = pool_.options().connection_string] { db::require_session(url, "the server's schedule"); };
  auto checking = offload(check);
  co_await checking;
  History history(pool_);
  co_await history.prepare();
  for (const Job& job : jobs_) co_await history.add_job(job.name, job.schedule, job.quiet_hours);
}

task<> Schedule::keep() {
  bool prepared = false;
  std::string said;  // the same trouble is said once
  while (!stopped_) {
    std::string trouble;
    try {
      const Rows standby = co_await pool_.query(kStandby);
      if (!standby.boolean(0, 0)) {
        if (!prepared) co_await prepare();
        prepared = true;
        co_await look();
      }
    } catch (const Error& error) {
      trouble = error.what();
    }
    if (!trouble.empty() && trouble != said) log::warn("the jobs of maintenance: {}", trouble);
    said = trouble;
    co_await sleep_for(trouble.empty() ? kBetweenLooks : kAfterTrouble);
  }
}

task<> Schedule::look() {
  History history(pool_);
  const std::vector<JobRow> rows = co_await history.jobs();
  for (const JobRow& row : rows) {
    const auto job = std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& one) { return one.name == row.name; });
    if (job == jobs_.end()) continue;
    bool due = false;
    try {
      due = is_due(row, now_s());
    } catch (const Error& error) {
      if (said_.insert(row.name + row.schedule + row.quiet_hours.value_or("")).second)
        log::warn("job {} does not run: {}", row.name, error.what());
    }
    if (due && !stopped_) co_await start(*job, row);
  }
}

task<> Schedule::start(const Job& job, JobRow row) {
  if (job.is_needed) {
    looked_s_[job.name] = now_s();
    const bool needed = co_await job.is_needed(pool_);
    if (!needed) co_return;
  }
  running_[job.name] = std::make_shared<Running>();
  Reactor::current().spawn("job", run(job, std::move(row)));
}

task<> Schedule::run(const Job& job, JobRow row) {
  const std::shared_ptr<Running> running = running_[job.name];
  std::string state = "done", summary;
  try {
    std::optional<Run> run = co_await Run::begin(pool_, job.name, "schedule");
    looked_s_[job.name] = now_s();
    if (run) {
      JobContext context{pool_, *run,
                         [running, hours = row.quiet_hours] { return !running->stopped && is_quiet(hours); }};
      running->on_stop = [&context] { context.on_stop(); };
      try {
        summary = co_await job.work(context);
      } catch (const std::exception& error) {
        state = "failed";
        summary = error.what();
      }
      running->on_stop = [] {};
      if (running->stopped) state = "stopped";
      co_await run->finish(state, summary, context.report);
      log::info("job {}: {}: {}", job.name, state, summary);
    }
  } catch (const Error& error) {
    log::warn("job {}: {}", job.name, error.what());
  }
  running_.erase(job.name);
}

task<> Schedule::stop(std::chrono::milliseconds patience) {
  stopped_ = true;
  for (const auto& [name, running] : running_) {
    running->stopped = true;
    running->on_stop();
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!running_.empty() && std::chrono::steady_clock::now() < deadline) co_await sleep_for(kPoll);
}

}  // namespace cairn::maintain
