#include "jobs/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace cairn::jobs {
namespace {

// A file that is gone when nobody has it open any more.
int nameless_file() {
  std::error_code error;  // without such a directory mkostemp() says what is wrong
  std::string path = (std::filesystem::temp_directory_path(error) / "cairn-job-XXXXXX").string();
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0)
    throw Error(ErrorCode::kInvalidState, "cannot make a file in " + path + ": " + strerror(errno) + "; set TMPDIR");
  unlink(path.c_str());
  return fd;
}

int file_with(const std::string& text) {
  const int fd = nameless_file();
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(fd, text.data() + at, text.size() - at);
    if (written <= 0) {
      const std::string reason = strerror(errno);
      close(fd);
      throw Error(ErrorCode::kInsufficientStorage, "cannot write the job's payload for its program: " + reason);
    }
    at += static_cast<size_t>(written);
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string tail(int fd, size_t limit) {
  const off_t size = std::max<off_t>(lseek(fd, 0, SEEK_END), 0);
  std::string text(std::min(static_cast<size_t>(size), limit), '\0');
  const ssize_t got = pread(fd, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Signals as a fresh program has them, and a group of its own.
void set_attributes(posix_spawnattr_t& attributes) {
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) sigaddset(&signals, signal);
  posix_spawnattr_setsigdefault(&attributes, &signals);
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
             const std::string& input)
    : output_fd_(nameless_file()), errors_fd_(nameless_file()) {
  std::vector<std::string> arguments = command;
  if (command.size() == 1) arguments = {"/bin/sh", "-c", command[0]};
  std::vector<char*> all_environment = pointers(environment);
  all_environment.pop_back();
  for (char** variable = environ; *variable != nullptr; ++variable) all_environment.push_back(*variable);
  all_environment.push_back(nullptr);
  const int input_fd = file_with(input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input_fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output_fd_, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors_fd_, STDERR_FILENO);
  posix_spawnattr_t attributes;
  set_attributes(attributes);
  const int failure = posix_spawnp(&pid_, arguments[0].c_str(), &actions, &attributes, pointers(arguments).data(),
                                   all_environment.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(input_fd);
  if (failure == 0) return;
  close(output_fd_);
  close(errors_fd_);
  throw Error(ErrorCode::kInvalidState, "cannot start " + arguments[0] + ": " + strerror(failure));
}

Child::~Child() {
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(output_fd_);
  close(errors_fd_);
}

bool Child::ended() {
  if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
  pass_errors_on();
  return pid_ < 0;
}

void Child::pass_errors_on() {
  char bytes[4096];
  for (ssize_t got; (got = pread(errors_fd_, bytes, sizeof bytes, passed_on_)) > 0; passed_on_ += got)
    if (write(STDERR_FILENO, bytes, static_cast<size_t>(got)) < 0) break;
}

void Child::terminate() {
  if (pid_ > 0) kill(-pid_, std::exchange(terminating_, true) ? SIGKILL : SIGTERM);
}

bool Child::exited_with(int code) const { return WIFEXITED(status_) && WEXITSTATUS(status_) == code; }

std::string Child::describe_end() const {
  return WIFEXITED(status_) ? "exited with status " + std::to_string(WEXITSTATUS(status_))
                            : "was killed by signal " + std::to_string(WTERMSIG(status_));
}

std::string Child::output(size_t limit) const { return tail(output_fd_, limit); }
std::string Child::errors(size_t limit) const { return tail(errors_fd_, limit); }

}  // namespace cairn::jobs
