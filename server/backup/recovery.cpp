#include "backup/recovery.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <regex>

#include "base/error.h"
#include "base/files.h"
#include "cluster/settings.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;

constexpr size_t kStatusLine = 7;  // of postmaster.pid
constexpr size_t kLogLines = 12;
constexpr const char* kFolder = "cairn-recovery-";
constexpr int kTries = 10;
// Of the origin's ALTER SYSTEM: what would make the copy speak to the origin's archive, replicas or primary.
const std::regex kOfTheOrigin(
    R"(^\s*(archive_\w+|basic_archive\.\w+|restore_command|recovery_\w+|primary_\w+|synchronous_standby_names)\s*=.*)",
    std::regex::optimize);

std::string time_setting(int64_t us) {
  const time_t seconds = us / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return fmt::format("{}.{:06}+00", text, us % 1'000'000);
}

std::string recovery_settings(const Target& target, const std::vector<std::string>& fetch, bool follow_timelines) {
  std::string command;
  for (const std::string& one : fetch) command += (command.empty() ? "" : " || ") + one;
  std::string text = "restore_command = " + cluster::quote_setting("{ " + command + "; } 2>/dev/null") +
                     "\nrecovery_target_action = 'promote'\nrecovery_target_timeline = '" +
                     (follow_timelines ? "latest" : "current") + "'\n";
  if (target.time_us) text += "recovery_target_time = " + cluster::quote_setting(time_setting(*target.time_us)) + "\n";
  if (target.lsn) text += "recovery_target_lsn = " + cluster::quote_setting(*target.lsn) + "\n";
  if (target.name) text += "recovery_target_name = " + cluster::quote_setting(*target.name) + "\n";
  return text;
}

// Locks a private folder; -1 where somebody holds it, or it is gone, or another user's. The descriptor is inherited:
// the lock is free when its process and its PostgreSQL are both gone, however they ended.
int lock_folder(const fs::path& folder, uid_t owner) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) return -1;
  struct stat opened {
  }, there{};
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 && lstat(folder.c_str(), &there) == 0 &&
      opened.st_ino == there.st_ino && opened.st_uid == owner)
    return fd;
  close(fd);
  return -1;
}

void remove_abandoned(uid_t owner) {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::temp_directory_path(), failure)) {
    if (!entry.path().filename().string().starts_with(kFolder)) continue;
    const int fd = lock_folder(entry.path(), owner);
    if (fd < 0) continue;
    fs::remove_all(entry.path(), failure);
    close(fd);
  }
}

}  // namespace

int64_t parse_time_us(const std::string& text) {
  static const std::regex pattern(
      R"((\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?)");
  std::smatch match;
  if (!std::regex_match(text, match, pattern))
    throw invalid("'" + text + "' is no time: give one like '2026-11-22 11:45:10.123456+01' (without a zone: UTC)");
  const auto number = [&](size_t group) { return match[group].matched ? std::atoi(match[group].str().c_str()) : 0; };
  tm parts{};
  parts.tm_year = number(1) - 1900;
  parts.tm_mon = number(2) - 1;
  parts.tm_mday = number(3);
  parts.tm_hour = number(4);
  parts.tm_min = number(5);
  parts.tm_sec = number(6);
  const tm given = parts;
  int64_t seconds = timegm(&parts);
  if (parts.tm_mon != given.tm_mon || parts.tm_mday != given.tm_mday || parts.tm_hour != given.tm_hour ||
      parts.tm_min != given.tm_min || parts.tm_sec != given.tm_sec)
    throw invalid("'" + text + "' is no time: there is no such day, or no such hour");
  std::string fraction = match[7].str();
  fraction.resize(6, '0');
  const std::string zone = match[8].str();
  if (zone.size() >= 3 && zone != "UTC") {
    const int minutes = std::atoi(zone.substr(1, 2).c_str()) * 60 +
                        (zone.size() > 3 ? std::atoi(zone.substr(zone.size() - 2).c_str()) : 0);
    seconds -= (zone[0] == '-' ? -60 : 60) * minutes;
  }
  return seconds * 1'000'000 + std::atoi(fraction.c_str());
}

std::string fetch_from(const fs::path& directory) { return fmt::format("cp \"{}/%f\" \"%p\"", directory.string()); }

Recovery::Recovery(fs::path data, std::string programs)
    : data_(std::move(data)), programs_(std::move(programs)), user_(cluster::postgres_os_user()) {
  remove_abandoned(user_.uid);
  // Before it is locked another one may take it for abandoned.
  for (int i = 0; i < kTries && lock_fd_ < 0; ++i) {
    std::string folder = fs::temp_directory_path() / (std::string(kFolder) + "XXXXXX");
    if (mkdtemp(folder.data()) == nullptr || chown(folder.c_str(), user_.uid, user_.gid) != 0)
      throw Error(ErrorCode::kInvalidState, "cannot make " + folder + ": " + std::strerror(errno));
    private_ = folder;
    lock_fd_ = lock_folder(private_, user_.uid);
    if (lock_fd_ < 0) rmdir(folder.c_str());
  }
  if (lock_fd_ < 0) throw Error(ErrorCode::kInvalidState, "cannot lock " + private_.string());
}

Recovery::~Recovery() {
  server_.reset();
  if (log_fd_ >= 0) close(log_fd_);
  std::error_code failure;
  fs::remove_all(private_, failure);
  close(lock_fd_);
}

void Recovery::write_settings(const std::string& recovery) const {
  const fs::path path = data_ / "postgresql.auto.conf";
  std::string text;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (!std::regex_match(line, kOfTheOrigin)) text += line + "\n";
  in.close();
  write_file_durably(path, text + recovery, FileOwner{user_.uid, user_.gid});
}

std::string Recovery::log_tail() const {
  std::deque<std::string> lines;
  std::ifstream in(private_ / "log");
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
    if (lines.size() > kLogLines) lines.pop_front();
  }
  std::string tail = "; its last words:";
  for (const std::string& line : lines) tail += "\n  " + line;
  return tail;
}

void Recovery::recover(const Target& target, const std::vector<std::string>& fetch, bool follow_timelines) {
  write_settings(recovery_settings(target, fetch, follow_timelines));
  const fs::path signal_file = data_ / "recovery.signal", access = private_ / "hba.conf", log = private_ / "log";
  const FileOwner owner{user_.uid, user_.gid};
  write_file_durably(signal_file, "", owner);
  write_file_durably(access, "local all all trust\n", owner);  // the socket's folder is PostgreSQL's user's alone
  log_fd_ = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  cluster::SupervisorOptions supervision;
  supervision.command = {.arguments = {programs_ + "/postgres", "-D", data_},
                         .user = user_,
                         .working_directory = data_,
                         .death_signal = SIGINT,
                         .output_fd = log_fd_};
  for (const std::string& setting :
       {"unix_socket_directories=" + private_.string(), "hba_file=" + access.string(), std::string("listen_addresses="),
        std::string("port=5432"), std::string("logging_collector=off"), std::string("archive_mode=off"),
        std::string("hot_standby=off"), std::string("autovacuum=off"), std::string("ssl=off"),
        std::string("shared_buffers=128MB")}) {
    supervision.command.arguments.push_back("-c");
    supervision.command.arguments.push_back(setting);
  }
  supervision.before_start = [] {};
  supervision.is_ready = [data = data_](pid_t pid) {
    std::ifstream in(data / "postmaster.pid");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines.size() > kStatusLine && std::atoi(lines[0].c_str()) == pid && lines[kStatusLine].starts_with("ready");
  };
  supervision.explain_failure = [this] { return log_tail(); };
  server_ = std::make_unique<cluster::Supervisor>(std::move(supervision));
  try {
    server_->start();
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidState,
                std::string("the backup could not be recovered to that point: ") + error.what());
  }
}

std::string Recovery::connection_string(const std::string& database) const {
  return "host='" + private_.string() + "' port=5432 user=postgres dbname=" + database + " connect_timeout=10";
}

void Recovery::finish() {
  server_.reset();
  write_settings("");
}

cluster::Finished Recovery::run(const std::string& program, const std::vector<std::string>& arguments) const {
  cluster::Command command{
      .arguments = {programs_ + "/" + program}, .user = user_, .working_directory = "/", .death_signal = SIGTERM};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  return cluster::run(command);
}

}  // namespace cairn::backup
