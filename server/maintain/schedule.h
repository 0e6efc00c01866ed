// The server's named jobs: each at its time, once at a time, with a history (docs/formats/maintenance.md).
//
// All on the reactor's thread. The pool must outlive it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "maintain/cron.h"
#include "maintain/history.h"

namespace cairn::maintain {

// What a job is given while it runs.
struct JobContext {
  db::Pool& pool;
  Run& run;
  // Whether it may begin something more: not when the server stops, nor after its quiet hours.
  std::function<bool()> may_go_on;
  // What is to be called when the server stops, to cancel what runs; set by the job.
  std::function<void()> on_stop = [] {};
  std::string report = "{}";  // JSON, into the history
};

struct Job {
  std::string name = {};
  std::string description = {};
  std::string schedule = {};                                // at first; the table jobs has the one that counts
  std::optional<std::string> quiet_hours = {};              // likewise
  std::function<task<std::string>(JobContext&)> work = {};  // gives a summary in a line
  // Where it is set: no run is made unless it gives true. It only reads.
  std::function<task<bool>(db::Pool&)> is_needed = {};
};

class Schedule {
 public:
  explicit Schedule(db::Pool& pool) : pool_(pool) {}

  void add(Job job) { jobs_.push_back(std::move(job)); }
  // Without end.
  task<> keep();
  // Cancels what runs, and waits until it has tidied up, for `patience` at most.
  task<> stop(std::chrono::milliseconds patience);

 private:
  struct Running {
    bool stopped = false;
    std::function<void()> on_stop = [] {};
  };
  task<> prepare();
  task<> look();
  task<> start(const Job& job, JobRow row);
  task<> run(const Job& job, JobRow row);
  bool is_due(const JobRow& row, int64_t now_s) const;

  db::Pool& pool_;
  std::vector<Job> jobs_;
  std::map<std::string, std::shared_ptr<Running>> running_;
  std::map<std::string, int64_t> looked_s_;  // when a job was last not needed
  std::set<std::string> said_;               // settings that cannot be read
  bool stopped_ = false;
};

// When it is due next, in seconds since 1970; nothing: never.
std::optional<int64_t> next_due(const JobRow& row);

// The job, the server's own, whose last run the monthly checklist shows.
constexpr const char* kBackupVerify = "backup-verify";
// When most of the database's jobs may run.
constexpr const char* kNight = "01:00-05:00";

// The jobs of the database itself: refresh-views, maintain, monthly.
void add_database_jobs(Schedule& schedule);

}  // namespace cairn::maintain
