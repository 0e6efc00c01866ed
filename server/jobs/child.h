// A program that a worker runs for one job: its input is given beforehand, its output is read at the end.
//
// Input and output are files without a name, not pipes: the program never waits for its worker, and nothing is lost
// when it leaves processes behind. It has a process group of its own, so that Ctrl-C is its worker's.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace cairn::jobs {

class Child {
 public:
  // One argument is a line for the shell, several are a program with its arguments. `environment`: NAME=VALUE, added to
  // this process's own. Throws Error when it cannot be started.
  Child(const std::vector<std::string>& command, const std::vector<std::string>& environment, const std::string& input);
  // Kills it, should it still run.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Whether it has ended. Passes on to standard error what the program wrote there meanwhile.
  bool ended();
  // Asks it to end (SIGTERM); a second time forces it (SIGKILL).
  void terminate();

  // After its end.
  bool succeeded() const { return status_ == 0; }
  bool exited_with(int code) const;
  std::string describe_end() const;  // "exited with status 1", "was killed by signal 9"
  // The last `limit` bytes of what it wrote.
  std::string output(size_t limit) const;
  std::string errors(size_t limit) const;

 private:
  void pass_errors_on();

  int output_fd_ = -1;
  int errors_fd_ = -1;
  off_t passed_on_ = 0;
  pid_t pid_ = -1;
  int status_ = 0;
  bool terminating_ = false;
};

}  // namespace cairn::jobs
