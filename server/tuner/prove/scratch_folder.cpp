#include "tuner/prove/scratch_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* kPrefix = "cairn-clone-";
constexpr auto kPatience = 10s;  // an immediate shutdown takes five at most

int open_folder(const fs::path& folder) {
  return open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

struct Leftover {
  pid_t process;
  int signal;  // that ends it soon
};

std::vector<Leftover> processes_of(const fs::path& folder) {
  std::vector<Leftover> all;
  for (const fs::path& place : {folder, folder / "data"})
    for (const char* program : {"postgres", "pg_basebackup", "initdb", "pg_dump", "pg_restore"})
      for (const pid_t process : cluster::processes_in_directory(program, place))
        all.push_back({process, std::string_view(program) == "postgres" ? SIGQUIT : SIGTERM});
  return all;
}

// What still runs there would write new files while the old ones are being removed: it is ended first.
void remove_folder(const fs::path& folder) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::error_code failure;
  while (true) {
    const bool late = std::chrono::steady_clock::now() > deadline;
    const std::vector<Leftover> processes = processes_of(folder);
    for (const auto& [process, signal] : processes) kill(process, late ? SIGKILL : signal);
    if (processes.empty()) {
      fs::remove_all(folder, failure);
      if (!fs::exists(fs::symlink_status(folder))) return;
    }
    if (late) break;
    std::this_thread::sleep_for(20ms);
  }
  log::error("the clone's folder {} could not be removed: {}", folder.string(),
             failure ? failure.message() : std::string("processes in it do not end"));
}

}  // namespace

ScratchFolder::ScratchFolder(const fs::path& parent, const cluster::OsUser& owner) {
  while (true) {
    std::string name = parent / (std::string(kPrefix) + "XXXXXX");
    if (mkdtemp(name.data()) == nullptr || chown(name.c_str(), owner.uid, owner.gid) != 0)
      throw Error(ErrorCode::kInvalidState, "cannot make a folder in " + parent.string() + ": " + std::strerror(errno) +
                                                "; give another --clone-dir");
    lock_ = open_folder(name);
    // A file system without such locks has leftovers that stay.
    if (lock_ >= 0) flock(lock_, LOCK_EX);
    std::error_code gone;
    path_ = fs::canonical(name, gone);
    if (!gone) return;
    if (lock_ >= 0) close(lock_);
  }
}

ScratchFolder::~ScratchFolder() {
  remove_folder(path_);
  if (lock_ >= 0) close(lock_);
}

void remove_leftover_folders(const fs::path& parent, const cluster::OsUser& owner) {
  std::error_code failure;
  std::vector<fs::path> found;
  // As /proc names it.
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::canonical(parent, failure), failure))
    if (entry.path().filename().string().starts_with(kPrefix)) found.push_back(entry.path());
  for (const fs::path& folder : found) {
    const int lock = open_folder(folder);
    if (lock < 0) continue;
    struct stat status {};
    if (fstat(lock, &status) == 0 && status.st_uid == owner.uid && flock(lock, LOCK_EX | LOCK_NB) == 0) {
      log::warn("removing {}, which an earlier proof left behind", folder.string());
      remove_folder(folder);
    }
    close(lock);
  }
}

}  // namespace cairn::tuner
