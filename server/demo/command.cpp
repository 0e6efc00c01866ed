#include "demo/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "cluster/process.h"
#include "demo/client.h"

namespace cairn::demo {
namespace {

constexpr int kPollMs = 10;
constexpr size_t kTail = 2000;

// Of a child that ended; after a signal to this process it is told to end.
int wait_for(pid_t child) {
  int status = 0;
  bool told = false;
  for (;;) {
    const pid_t ended = waitpid(child, &status, told ? 0 : WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) throw Error(ErrorCode::kInternalError, std::string("waitpid: ") + strerror(errno));
    if (stop_wanted() && !std::exchange(told, true)) kill(child, SIGTERM);
    wait_ms(kPollMs);
  }
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

std::string run_command(const std::string& directory, std::vector<std::string> arguments) {
  const std::string name = fmt::format("cairn {}", fmt::join(arguments, " "));
  arguments.insert(arguments.begin(), std::filesystem::read_symlink("/proc/self/exe"));
  arguments.emplace_back("--json");
  const std::string path = directory + "/command.log";
  cluster::Command command;
  command.arguments = std::move(arguments);
  command.user = cluster::current_os_user();
  command.working_directory = directory;
  command.death_signal = SIGTERM;
  command.output_fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (command.output_fd < 0) throw Error(ErrorCode::kInvalidState, "cannot write " + path + ": " + strerror(errno));
  pid_t child = -1;
  try {
    child = cluster::spawn(command);
  } catch (...) {
    close(command.output_fd);
    throw;
  }
  close(command.output_fd);
  const int status = wait_for(child);
  if (stop_wanted()) throw Error(ErrorCode::kAborted, "stopped");
  const std::string said = read_file(path);
  if (status != 0)
    throw Error(ErrorCode::kInternalError, name + " " + cluster::describe_wait_status(status) + ": " +
                                               said.substr(said.size() - std::min(said.size(), kTail)));
  // The document is one line; before it are lines of progress.
  const size_t at = said.starts_with('{') ? 0 : said.rfind("\n{") + 1;
  return said.substr(at, said.find('\n', at) - at);
}

}  // namespace cairn::demo
