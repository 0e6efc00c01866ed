// Does what a plan says, one statement after the other, blocking neither readers nor writers. Each is written down
// before it is begun. One that fails does not keep the next ones from being done.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "maintain/history.h"
#include "maintain/plan.h"
#include "tuner/api.h"

namespace cairn::maintain {

struct ExecuteOptions {
  std::string connection_string = {};
  std::string name = "cairn maintain";
  double wait_s = 60;   // for locks, for open transactions, for another cairn
  bool gentle = false;  // VACUUM with autovacuum's pauses
  // Whether another action may be begun.
  std::function<bool()> may_go_on = [] { return true; };
};

struct Outcome {
  Action action = {};
  std::string state = "left";  // or "done", "failed"
  std::string error = {};
  double seconds = 0;
  std::optional<int64_t> bytes_after = {};
};

class Maintainer {
 public:
  Maintainer(ExecuteOptions options, std::ostream& progress)
      : options_(std::move(options)),
        session_({options_.connection_string, options_.name, options_.wait_s}, progress) {}

  // Throws Error(kResourceConflict) when another cairn is changing the database; DbError when the connection is lost.
  task<std::vector<Outcome>> carry_out(Run& run, std::vector<Action> actions);
  // From a signal handler of the reactor: what runs is cancelled and tidied up, the rest is left.
  void stop() { session_.stop(); }
  bool stopped() const { return session_.stopped(); }

 private:
  task<> one(Run& run, int64_t number, Outcome& outcome);
  task<> act(const Action& action);
  task<> rebuild(const Action& action);
  task<> drop(const Action& action);
  task<bool> still_there(const Action& action);
  task<> remove_leftovers(int64_t table_oid);
  task<> check_room(const Action& action);

  ExecuteOptions options_;
  tuner::ApplySession session_;
};

// "5 done, 1 failed, 2 left; 12.0 MB won"
std::string summary_of(const std::vector<Outcome>& outcomes);

}  // namespace cairn::maintain
