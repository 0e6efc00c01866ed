#include "cluster/disk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"

namespace cairn::cluster {
namespace {

constexpr uint64_t kMiB = 1u << 20;
// Four segments of the log: the end of a recovery takes two.
constexpr uint64_t kReserve = 64 * kMiB;
constexpr uint64_t kNeededToStart = 48 * kMiB;
// Writes stop below the first and go on above the second. Between two looks a fast disk takes tens of MiB; reads too
// make PostgreSQL log a little.
constexpr uint64_t kStopWrites = 48 * kMiB;
constexpr uint64_t kAllowWrites = 64 * kMiB;

}  // namespace

uint64_t DiskGuard::free_bytes() const {
  struct statvfs status;
  // What cannot be told is not full: PostgreSQL will say what is wrong.
  if (statvfs(data_dir_.c_str(), &status) != 0) return UINT64_MAX;
  return uint64_t(status.f_bavail) * status.f_frsize;
}

bool DiskGuard::make_reserve() const {
  const std::string draft = reserve_ + ".new";
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  const bool made = posix_fallocate(fd, 0, kReserve) == 0 && rename(draft.c_str(), reserve_.c_str()) == 0;
  close(fd);
  if (!made) unlink(draft.c_str());
  return made;
}

bool DiskGuard::keep_room() {
  uint64_t free = free_bytes();
  bool reserved = access(reserve_.c_str(), F_OK) == 0;
  if (!reserved && free >= kReserve + kAllowWrites) {
    reserved = make_reserve();
    free = free_bytes();
  }
  const bool room = reserved && free >= (room_ ? kStopWrites : kAllowWrites);
  if (room != room_ && room) {
    log::info("there is room again in {} ({} MiB): writes are served", data_dir_, free / kMiB);
  } else if (room != room_) {
    log::error(
        "the disk is full: {} MiB are left in {}. Reads go on; writes are refused with status 507 until {} MiB are "
        "free",
        free / kMiB, data_dir_, (kAllowWrites + (reserved ? 0 : kReserve)) / kMiB);
  }
  return room_ = room;
}

void DiskGuard::give_up_reserve() const {
  if (free_bytes() >= kNeededToStart || unlink(reserve_.c_str()) != 0) return;
  log::warn("the disk is full: PostgreSQL gets the {} MiB of {} to start with", kReserve / kMiB, reserve_);
}

}  // namespace cairn::cluster
