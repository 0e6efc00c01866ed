#include "demo/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "cluster/cluster.h"
#include "cluster/process.h"
#include "demo/client.h"

namespace cairn::demo {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kStartLimit{120};
constexpr std::chrono::seconds kStopLimit{30};
constexpr int kPollMs = 10;
constexpr const char* kListening = "listening on ";

std::string make_directory() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "cairn-demo-XXXXXX").string();
  if (error)
    throw Error(ErrorCode::kInvalidState, "there is no directory for temporary files: set TMPDIR to one that exists");
  if (mkdtemp(path.data()) == nullptr)
    throw Error(ErrorCode::kInvalidState, "cannot make a directory like " + path + ": " + strerror(errno) +
                                              "; set TMPDIR to a place that can be written");
  return path;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The demonstration's server is one like any other machine's: nothing of this user's settings is for it.
void clear_settings() {
  for (const auto& [name, value] : process_environment())
    if (name.starts_with("CAIRN_") || name == "DATABASE_URL") unsetenv(name.c_str());
}

}  // namespace

ServerProcess::ServerProcess(int port, const std::string& postgres_bin) : directory_(make_directory()) {
  try {
    start(port, postgres_bin);
    wait_until_it_listens();
  } catch (...) {
    stop();
    throw;
  }
}

ServerProcess::~ServerProcess() { stop(); }

void ServerProcess::start(int port, const std::string& postgres_bin) {
  clear_settings();
  cluster::Command command;
  command.arguments = {fs::read_symlink("/proc/self/exe"),
                       "serve",
                       "--data-dir",
                       directory_,
                       "--port",
                       std::to_string(port),
                       "--log-level",
                       "warn"};
  if (!postgres_bin.empty()) command.arguments.insert(command.arguments.end(), {"--postgres-bin", postgres_bin});
  command.user = cluster::current_os_user();
  command.working_directory = directory_;
  command.death_signal = SIGTERM;
  const std::string log = directory_ + "/server.log";
  command.output_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (command.output_fd < 0) throw Error(ErrorCode::kInvalidState, "cannot write " + log + ": " + strerror(errno));
  pid_ = cluster::spawn(command);
  close(command.output_fd);
}

void ServerProcess::wait_until_it_listens() {
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  while (std::chrono::steady_clock::now() < deadline) {
    if (stop_wanted()) throw Error(ErrorCode::kAborted, "stopped");
    const std::string log = read_file(directory_ + "/server.log");
    const size_t at = log.find(kListening);
    const size_t end = at == log.npos ? at : log.find('\n', at);
    if (end != log.npos) {
      url_ = log.substr(at + strlen(kListening), end - at - strlen(kListening));
      return;
    }
    if (!running())
      throw Error(ErrorCode::kInvalidState,
                  "the server " + cluster::describe_wait_status(status_) + "; the end of its log:\n" + log_tail());
    wait_ms(kPollMs);
  }
  throw Error(ErrorCode::kTemporarilyUnavailable,
              "the server did not come up in time; the end of its log:\n" + log_tail());
}

int ServerProcess::port() const { return std::atoi(url_.c_str() + url_.rfind(':') + 1); }

std::string ServerProcess::connection_string() const {
  const auto found = cluster::running_connection_string(directory_);
  if (!found) throw Error(ErrorCode::kTemporarilyUnavailable, "the server's database does not run any more");
  return *found;
}

bool ServerProcess::running() {
  if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

std::string ServerProcess::log_tail() const {
  constexpr size_t kTail = 2000;
  const std::string log = read_file(directory_ + "/server.log");
  return log.size() > kTail ? log.substr(log.size() - kTail) : log;
}

void ServerProcess::stop() {
  if (running()) kill(pid_, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + kStopLimit;
  while (running() && std::chrono::steady_clock::now() < deadline) usleep(kPollMs * 1000);
  if (running()) {
    kill(pid_, SIGKILL);  // PostgreSQL then ends by itself
    waitpid(pid_, &status_, 0);
  }
  std::error_code error;
  fs::remove_all(directory_, error);
  if (error) fprintf(stderr, "cairn: cannot remove %s: %s\n", directory_.c_str(), error.message().c_str());
}

}  // namespace cairn::demo
