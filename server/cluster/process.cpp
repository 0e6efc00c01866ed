#include "cluster/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace cairn::cluster {
namespace {

namespace fs = std::filesystem;

OsUser lookup(const passwd* entry, const std::string& who) {
  if (entry == nullptr) {
    throw Error(ErrorCode::kInvalidState,
                "PostgreSQL needs a user account for " + who +
                    ", and this system has none: create it, or install the package postgresql");
  }
  OsUser user{entry->pw_uid, entry->pw_gid, entry->pw_name, {}};
  int count = 64;
  user.groups.resize(size_t(count));
  if (getgrouplist(entry->pw_name, entry->pw_gid, user.groups.data(), &count) < 0) {
    user.groups.resize(size_t(count));
    getgrouplist(entry->pw_name, entry->pw_gid, user.groups.data(), &count);
  }
  user.groups.resize(size_t(count));
  return user;
}

// What the child reports through a pipe when it cannot become the program.
struct Failure {
  char step[32];
  int error;
};

// Made ready before the fork.
struct Process {
  char** arguments;
  char** environment;
  int error_fd;
  pid_t parent;
};

// Between fork and exec: only calls that are safe there.
[[noreturn]] void become(const Command& command, const Process& process, int failure_pipe) {
  auto fail = [&](const char* step) {
    Failure failure{};
    strncpy(failure.step, step, sizeof failure.step - 1);
    failure.error = errno;
    if (write(failure_pipe, &failure, sizeof failure) < 0) _exit(126);
    _exit(127);
  };
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  if (geteuid() == 0 && command.user.uid != 0) {
    if (setgroups(command.user.groups.size(), command.user.groups.data()) != 0) fail("setgroups");
    if (setgid(command.user.gid) != 0) fail("setgid");
    if (setuid(command.user.uid) != 0) fail("setuid");
  }
  // After setuid, which clears it. The parent may have died in between.
  if (command.death_signal != 0) {
    if (prctl(PR_SET_PDEATHSIG, command.death_signal) != 0) fail("prctl");
    if (getppid() != process.parent) _exit(1);
  }
  umask(077);
  if (chdir(command.working_directory.c_str()) != 0) fail("chdir");
  const int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) fail("open /dev/null");
  if (dup2(command.output_fd, STDOUT_FILENO) < 0 || dup2(process.error_fd, STDERR_FILENO) < 0) fail("dup2");
  execve(process.arguments[0], process.arguments, process.environment);
  fail("exec");
  _exit(127);
}

// As execve wants them: with a null pointer behind the last.
std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string explain(const Command& command, const Failure& failure) {
  const std::string reason = strerror(failure.error);
  if (std::string_view(failure.step) == "chdir") {
    return "user " + command.user.name + " cannot enter " + command.working_directory + ": " + reason +
           "; open the directories above it to that user (chmod o+x), or choose another data directory";
  }
  return "cannot start " + command.arguments[0] + " as user " + command.user.name + " (" + failure.step +
         "): " + reason;
}

}  // namespace

OsUser current_os_user() { return lookup(getpwuid(geteuid()), "user id " + std::to_string(geteuid())); }

OsUser postgres_os_user() { return geteuid() == 0 ? lookup(getpwnam("postgres"), "postgres") : current_os_user(); }

pid_t spawn(const Command& command) { return spawn(command, {}); }

pid_t spawn(const Command& command, const CommandExtras& extras) {
  std::vector<char*> arguments = pointers(command.arguments);
  // The first of several variables of a name is the one that counts.
  std::vector<char*> variables = pointers(extras.environment);
  variables.pop_back();
  for (char** entry = environ; *entry != nullptr; ++entry) variables.push_back(*entry);
  variables.push_back(nullptr);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) throw Error(ErrorCode::kInternalError, std::string("pipe: ") + strerror(errno));
  const int error_fd = extras.error_fd < 0 ? command.output_fd : extras.error_fd;
  const Process process{arguments.data(), variables.data(), error_fd, getpid()};
  const pid_t child = fork();
  if (child == 0) become(command, process, pipe_fds[1]);
  close(pipe_fds[1]);
  Failure failure{};
  const ssize_t got = child < 0 ? 0 : read(pipe_fds[0], &failure, sizeof failure);
  close(pipe_fds[0]);
  if (child < 0) throw Error(ErrorCode::kInternalError, std::string("fork: ") + strerror(errno));
  if (got == sizeof failure) {
    waitpid(child, nullptr, 0);
    throw Error(ErrorCode::kInvalidState, explain(command, failure));
  }
  return child;
}

Finished run(Command command) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) throw Error(ErrorCode::kInternalError, std::string("pipe: ") + strerror(errno));
  command.output_fd = pipe_fds[1];
  pid_t child = -1;
  try {
    child = spawn(command);
  } catch (...) {
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    throw;
  }
  close(pipe_fds[1]);
  Finished finished;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = read(pipe_fds[0], buffer.data(), buffer.size())) != 0;) {
    if (got > 0)
      finished.output.append(buffer.data(), size_t(got));
    else if (errno != EINTR)
      break;
  }
  close(pipe_fds[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  finished.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

std::string describe_wait_status(int status) {
  return WIFEXITED(status) ? "exited with status " + std::to_string(WEXITSTATUS(status))
                           : "was killed by signal " + std::to_string(WTERMSIG(status));
}

std::vector<pid_t> processes_in_directory(const std::string& name, const std::string& directory) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string id = entry.path().filename();
    if (id.find_first_not_of("0123456789") != std::string::npos) continue;
    // Links of processes that are gone or not ours cannot be read: those are none of ours.
    const fs::path program = fs::read_symlink(entry.path() / "exe", error);
    if (error || !program.filename().string().starts_with(name)) continue;
    const fs::path where = fs::read_symlink(entry.path() / "cwd", error);
    if (!error && where == directory) found.push_back(pid_t(std::stol(id)));
  }
  return found;
}

}  // namespace cairn::cluster
