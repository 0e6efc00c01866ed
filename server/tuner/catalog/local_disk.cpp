#include "tuner/catalog/local_disk.h"

#include <sys/statvfs.h>

#include <fstream>

namespace cairn::tuner {

std::optional<LocalDisk> local_disk(const std::string& data_directory, int64_t started_s) {
  std::ifstream file(data_directory + "/postmaster.pid");
  std::string pid, folder, started;
  std::getline(file, pid);
  std::getline(file, folder);
  std::getline(file, started);
  if (!file || started != std::to_string(started_s)) return std::nullopt;
  struct statvfs status;
  if (statvfs(data_directory.c_str(), &status) != 0) return std::nullopt;
  const double block = static_cast<double>(status.f_frsize);
  return LocalDisk{static_cast<double>(status.f_bavail) * block, static_cast<double>(status.f_blocks) * block};
}

}  // namespace cairn::tuner
