// Child processes that run as another user and die with this one.
//
// The death signal is tied to the *thread* that starts the child, so a long-lived child needs a thread that outlives
// it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace cairn::cluster {

struct OsUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::vector<gid_t> groups;
};

// Who runs PostgreSQL: the user `postgres` when this process is root (PostgreSQL refuses root), else this process's own
// user.
OsUser postgres_os_user();
OsUser current_os_user();

struct Command {
  // The program's absolute path, then its arguments.
  std::vector<std::string> arguments;
  OsUser user;
  std::string working_directory;
  // Sent by the kernel to the child when the thread that started it ends, however that happens.
  int death_signal = 0;
  // Where standard output and error go.
  int output_fd = -1;
};

// What few children need.
struct CommandExtras {
  // Where standard error goes; -1: with the output.
  int error_fd = -1;
  // NAME=value: what counts instead of this process's own variable of the name.
  std::vector<std::string> environment = {};
};

// Starts it in a session of its own (a Ctrl-C on the terminal is not for it). Throws Error when that fails, naming the
// step.
pid_t spawn(const Command& command);
pid_t spawn(const Command& command, const CommandExtras& extras);

struct Finished {
  int exit_status = 0;  // as a shell has it: 128 + signal when it was killed
  std::string output;
};
// Runs it to its end and collects what it prints; output_fd is not used.
Finished run(Command command);

// What waitpid says, in words: "exited with status 1", "was killed by signal 9".
std::string describe_wait_status(int status);

// The processes that run the program `name` with `directory` as their working directory.
std::vector<pid_t> processes_in_directory(const std::string& name, const std::string& directory);

}  // namespace cairn::cluster
