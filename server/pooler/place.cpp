#include "pooler/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace cairn::pooler {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTailBytes = 1500;

Error system_error(const std::string& what, const std::string& path) {
  return Error(ErrorCode::kInvalidState, "cannot " + what + " " + path + ": " + strerror(errno));
}

// Of the open file, so that it may be asked who holds it.
struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Place::Place(const std::string& data_dir)
    : directory_(fs::weakly_canonical(fs::absolute(data_dir)).string() + "/pgbouncer"),
      user_(cluster::postgres_os_user()) {}

void Place::make() const {
  std::error_code failure;
  fs::create_directories(fs::path(directory_).parent_path(), failure);
  if (mkdir(directory_.c_str(), 0700) == 0) {
    if (chown(directory_.c_str(), user_.uid, user_.gid) != 0) throw system_error("give away", directory_);
    return;
  }
  if (errno != EEXIST) throw system_error("make the directory", directory_);
  struct stat status;
  if (lstat(directory_.c_str(), &status) != 0) throw system_error("look at", directory_);
  if (!S_ISDIR(status.st_mode) || status.st_uid != user_.uid || (status.st_mode & 077) != 0)
    throw Error(ErrorCode::kInvalidState, directory_ + " must be a directory of user " + user_.name +
                                              " that nobody else may enter (mode 0700): it will hold passwords");
}

void Place::write(const char* name, const std::string& text) const {
  const std::string target = path(name), draft = target + ".new";
  unlink(draft.c_str());
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) throw system_error("write", draft);
  const bool done =
      fchown(fd, user_.uid, user_.gid) == 0 && ::write(fd, text.data(), text.size()) == ssize_t(text.size());
  close(fd);
  if (!done || rename(draft.c_str(), target.c_str()) != 0) throw system_error("write", target);
}

std::string Place::read(const char* name) const {
  std::ifstream in(path(name), std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string Place::ini() const {
  const std::string text = read("pgbouncer.ini");
  if (text.empty())
    throw not_found("there is no " + path("pgbouncer.ini") + ": `cairn pool config` or `cairn pool start` writes it");
  return text;
}

std::string Place::log_tail() const {
  const std::string text = read("pgbouncer.log");
  return text.size() <= kTailBytes ? text : text.substr(text.find('\n', text.size() - kTailBytes) + 1);
}

int Place::open_log() const {
  const int fd = open(path("pgbouncer.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || fchown(fd, user_.uid, user_.gid) != 0) throw system_error("write", path("pgbouncer.log"));
  return fd;
}

std::optional<pid_t> Place::watcher() const {
  const int fd = open(path("pool.lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  struct flock probe = whole_file();
  const bool known = fcntl(fd, F_OFD_GETLK, &probe) == 0;
  close(fd);
  if (!known || probe.l_type == F_UNLCK) return std::nullopt;
  const pid_t pid = atoi(read("pool.lock").c_str());
  return pid > 0 ? std::optional<pid_t>(pid) : std::nullopt;
}

void Place::lock() const {
  const std::string file = path("pool.lock");
  // Stays open, and locked, to the process's end.
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) throw system_error("write", file);
  struct flock lock = whole_file();
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
    throw Error(ErrorCode::kResourceConflict, "PgBouncer of " + directory_ + " is watched by process " +
                                                  read("pool.lock") + " already: `cairn pool stop` ends it");
  const std::string pid = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) != ssize_t(pid.size()))
    throw system_error("write", file);
}

}  // namespace cairn::pooler
