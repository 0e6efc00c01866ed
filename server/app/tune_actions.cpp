#include "app/tune_actions.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/reactor.h"
#include "cluster/process.h"

namespace cairn::app {
namespace {

constexpr std::chrono::milliseconds kPoll{100};
constexpr size_t kShownProgress = 8u << 10;
constexpr size_t kMostReport = 64u << 20;
constexpr size_t kMostKept = 1u << 20;

int memory_file(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0)
    throw Error(ErrorCode::kInternalError, std::string("cannot make a file in memory: ") + std::strerror(errno));
  return fd;
}

void close_file(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// The last `most` bytes of it.
std::string end_of(int fd, size_t most) {
  struct stat file {};
  if (fd < 0 || fstat(fd, &file) != 0) return "";
  const size_t size = static_cast<size_t>(file.st_size), length = std::min(size, most);
  std::string text(length, '\0');
  const ssize_t got = pread(fd, text.data(), length, static_cast<off_t>(size - length));
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

bool is_report(const std::string& text) {
  try {
    return json::Document(text).root().is_object();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

TuneActions::TuneActions(std::string data_dir, std::string postgres_bin)
    : data_dir_(std::filesystem::absolute(data_dir)), postgres_bin_(std::move(postgres_bin)) {}

TuneActions::~TuneActions() {
  if (pid_ > 0) kill(pid_, SIGTERM);
  close_file(output_);
  close_file(progress_);
}

void TuneActions::require_none() const {
  if (pid_ > 0)
    throw Error(ErrorCode::kResourceConflict, "`cairn tune " + action_->kind + "` of advice " + action_->advice +
                                                  " is under way: one at a time. Wait for it, or end it");
  if (stopping_) throw Error(ErrorCode::kTemporarilyUnavailable, "the server is stopping");
}

void TuneActions::start(TuneAction action) {
  require_none();
  close_file(output_);
  close_file(progress_);
  output_ = memory_file("cairn-tune-output");
  progress_ = memory_file("cairn-tune-progress");
  cluster::Command command;
  // This very program, also when a newer one has taken its place on the disk.
  command.arguments = {"/proc/self/exe", "tune", action.kind};
  command.arguments.insert(command.arguments.end(), action.arguments.begin(), action.arguments.end());
  for (const char* option : {"--json", "--data-dir"}) command.arguments.emplace_back(option);
  command.arguments.push_back(data_dir_);
  if (!postgres_bin_.empty()) command.arguments.insert(command.arguments.end(), {"--postgres-bin", postgres_bin_});
  command.user = cluster::current_os_user();
  command.working_directory = "/";
  command.death_signal = SIGTERM;
  command.output_fd = output_;
  cluster::CommandExtras extras;
  extras.error_fd = progress_;
  // What the server read from its own configuration is said here; nothing else counts.
  extras.environment = {"CAIRN_DATABASE_URL=" + action.database_url, "CAIRN_CONFIG="};
  pid_ = cluster::spawn(command, extras);
  action.database_url.clear();
  log::info("cairn tune {} of advice {} for {}: process {}", action.kind, action.advice,
            action.actor.empty() ? "somebody" : action.actor, pid_);
  action_ = std::move(action);
  ++count_;
  started_at_ = now_ms();
  ended_at_ = 0;
  asked_to_end_ = false;
  reported_ = false;
  report_.clear();
  Reactor::current().spawn("tune", watch());
}

task<> TuneActions::watch() {
  while (waitpid(pid_, &wait_status_, WNOHANG) == 0) co_await sleep_for(kPoll);
  pid_ = -1;
  ended_at_ = now_ms();
  std::string report = end_of(output_, kMostReport);
  close_file(output_);
  reported_ = is_report(report);
  // A proof is a file beside its advice.
  if (reported_ && report.size() <= kMostKept && action_->kind != "prove") report_ = std::move(report);
  log::info("cairn tune {} of advice {} {}", action_->kind, action_->advice,
            cluster::describe_wait_status(wait_status_));
}

std::string TuneActions::as_json() const {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("action");
  if (!action_) {
    out.null();
    out.end_object();
    return text;
  }
  out.begin_object();
  out.field("id", count_);
  out.field("kind", action_->kind);
  out.field("advice", action_->advice);
  out.field("database", action_->database);
  out.field("actor", action_->actor);
  out.field("state", pid_ > 0 ? "running" : reported_ ? "done" : asked_to_end_ ? "ended" : "failed");
  out.field("started_at", started_at_);
  if (pid_ <= 0) out.field("ended_at", ended_at_);
  if (pid_ <= 0 && WIFEXITED(wait_status_)) out.field("exit_code", WEXITSTATUS(wait_status_));
  out.field("progress", end_of(progress_, kShownProgress));
  if (!report_.empty()) {
    out.key("report");
    out.raw(report_);
  }
  out.end_object();
  out.end_object();
  return text;
}

bool TuneActions::end() {
  if (pid_ <= 0) return false;
  asked_to_end_ = true;
  kill(pid_, SIGTERM);
  return true;
}

task<> TuneActions::stop(std::chrono::seconds grace) {
  stopping_ = true;
  if (!end()) co_return;
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (pid_ > 0 && std::chrono::steady_clock::now() < deadline) co_await sleep_for(kPoll);
  if (pid_ > 0) kill(pid_, SIGKILL);
}

}  // namespace cairn::app
