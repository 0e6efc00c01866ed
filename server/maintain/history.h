// Jobs, their runs and what these did, as docs/formats/maintenance.md has them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/pool.h"
#include "maintain/plan.h"

namespace cairn::maintain {

struct JobRow {
  std::string name = {};
  std::string schedule = {};
  std::optional<std::string> quiet_hours = {};
  bool enabled = true;
  int64_t created_s = 0;
  std::optional<int64_t> last_started_s = {};
  std::string last_state = {};
  std::string last_summary = {};
};

struct Ending {
  int64_t started_s = 0;
  bool good = false;  // done, not failed
  std::string summary = {};
};

struct JobChange {
  std::string name = {};
  std::optional<std::string> schedule = {};
  std::optional<std::string> quiet_hours = {};  // empty: at any time
  std::optional<bool> enabled = {};
};

class History {
 public:
  explicit History(db::Pool& pool) : pool_(pool) {}

  // Throws Error(kInvalidState) where the schema `maintenance` is somebody else's.
  task<bool> exists();
  // Makes it where it is missing. Throws Error(kPermissionDenied) with the GRANT that is needed.
  task<> prepare();
  // Where there is no job of that name.
  task<> add_job(std::string name, std::string schedule, std::optional<std::string> quiet_hours);
  task<std::vector<JobRow>> jobs();
  // Throws Error(kResourceDoesNotExist).
  task<> change_job(JobChange change);
  // As JSON, newest first.
  task<std::string> runs(std::optional<std::string> job, std::optional<int64_t> before, int64_t limit);
  // With its actions and its report. Throws Error(kResourceDoesNotExist).
  task<std::string> run(int64_t run_id);
  // The report of the job's last run that was done, as JSON.
  task<std::optional<std::string>> last_report(std::string job);
  // Of the job's last run that came to an end by itself: what is under way, or was stopped, says nothing.
  task<std::optional<Ending>> last_ending(std::string job);
  task<> purge();

 private:
  db::Pool& pool_;
};

// A run that is under way. Its connection holds the job's lock; it is to be finished, else it counts as killed.
class Run {
 public:
  // Nothing: the job runs somewhere else.
  static task<std::optional<Run>> begin(db::Pool& pool, std::string job, std::string trigger);

  int64_t id() const { return id_; }
  task<> plan(const std::vector<Action>& actions);
  task<> begin_action(int64_t number, const Action& action);
  task<> end_action(int64_t number, std::string state, std::string error, std::optional<int64_t> bytes_after);
  task<> finish(std::string state, std::string summary, std::string report = "{}");
  // The row is removed: there was nothing to do.
  task<> forget();

 private:
  Run(std::unique_ptr<db::Connection> connection, std::string job)
      : connection_(std::move(connection)), job_(std::move(job)) {}

  std::unique_ptr<db::Connection> connection_;
  std::string job_;
  int64_t id_ = 0;
};

}  // namespace cairn::maintain
