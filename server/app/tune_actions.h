// `cairn tune prove`, `apply`, `verify` and `undo`, run for the page: the server's own program as a child process, one
// at a time. Its journal makes a killed apply safe, and its report is what is shown.
//
// The child ends with the server: SIGTERM at a stop, and by the kernel when the server dies in another way; it then
// cancels the statement that runs and removes what it made. Connection strings go to it in the environment only.
//
// Threads: reactor only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"

namespace cairn::app {

struct TuneAction {
  std::string kind;  // prove, apply, verify, undo
  std::string advice;
  std::string database;
  std::string actor;  // empty: nobody that is known
  // Of `cairn tune KIND`.
  std::vector<std::string> arguments;
  // With password: for the child's environment. Empty: the embedded database of the data directory.
  std::string database_url;
};

class TuneActions {
 public:
  TuneActions(std::string data_dir, std::string postgres_bin);
  ~TuneActions();
  TuneActions(const TuneActions&) = delete;
  TuneActions& operator=(const TuneActions&) = delete;

  // Throws Error(kResourceConflict) while another one runs.
  void require_none() const;
  // Starts it, and sees to its end. Throws likewise, and Error(kInvalidState) when it cannot be started.
  void start(TuneAction action);
  // The one that runs, else the last one: {"action": …}, null when there was none since the server started.
  std::string as_json() const;
  // Asks it to end. Whether there was one.
  bool end();
  // Ends it, and waits until it has ended, for at most `grace`; then it is killed.
  task<> stop(std::chrono::seconds grace);

 private:
  task<> watch();

  std::string data_dir_, postgres_bin_;
  int64_t count_ = 0;
  bool stopping_ = false;
  std::optional<TuneAction> action_;
  pid_t pid_ = -1;  // while it runs
  int output_ = -1, progress_ = -1;
  int64_t started_at_ = 0, ended_at_ = 0;
  int wait_status_ = 0;
  bool asked_to_end_ = false;
  bool reported_ = false;  // it printed its report
  std::string report_;     // JSON; empty: none, or too long, or what it says is in files
};

}  // namespace cairn::app
