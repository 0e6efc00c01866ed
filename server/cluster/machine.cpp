#include "cluster/machine.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

namespace cairn::cluster {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// This process's folder in the unified control group tree; empty where there is none.
fs::path control_group() {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("0::")) return fs::path("/sys/fs/cgroup") / line.substr(3).erase(0, 1);
  }
  return {};
}

// A limit holds for every group below it, so the lowest on the way to the root counts.
template <class Read>
void for_each_control_group(Read read) {
  for (fs::path group = control_group(); group.string().starts_with("/sys/fs/cgroup"); group = group.parent_path()) {
    read(group);
  }
}

uint64_t memory_limit() {
  uint64_t limit = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGE_SIZE));
  auto consider = [&](const fs::path& file) {
    const std::string text = first_line(file);
    if (!text.empty() && text != "max") limit = std::min<uint64_t>(limit, std::strtoull(text.c_str(), nullptr, 10));
  };
  for_each_control_group([&](const fs::path& group) { consider(group / "memory.max"); });
  consider("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return limit;
}

int usable_cores() {
  cpu_set_t set;
  double cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
  for_each_control_group([&](const fs::path& group) {
    std::istringstream text(first_line(group / "cpu.max"));
    double quota = 0, period = 0;
    if (text >> quota >> period && period > 0) cores = std::min(cores, quota / period);
  });
  return std::max(1, int(std::lround(cores)));
}

bool is_rotational(const std::string& directory) {
  struct stat status;
  if (stat(directory.c_str(), &status) != 0) return false;
  const fs::path device =
      "/sys/dev/block/" + std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
  std::error_code error;
  const fs::path real = fs::canonical(device, error);
  if (error) return false;
  // Virtual disks say "rotational" by default, whatever is behind them: what is not known counts as an SSD.
  const std::string path = real;
  if (path.find("/virtio") != std::string::npos || path.find("/vbd-") != std::string::npos) return false;
  // A partition's queue is its disk's.
  const fs::path own = real / "queue/rotational";
  return first_line(fs::exists(own, error) ? own : real.parent_path() / "queue/rotational") == "1";
}

}  // namespace

Machine inspect_machine(const std::string& directory) {
  Machine machine;
  machine.memory_bytes = memory_limit();
  machine.cores = usable_cores();
  machine.rotational = is_rotational(directory);
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) == 0) machine.disk_free_bytes = uint64_t(disk.f_bavail) * disk.f_frsize;
  const std::string clock = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  machine.fast_clock = clock == "tsc" || clock == "kvm-clock" || clock == "arch_sys_counter";
  return machine;
}

}  // namespace cairn::cluster
