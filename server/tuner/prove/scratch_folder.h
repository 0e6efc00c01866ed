// A private folder of a clone's server: locked as long as its maker lives, removed when it is destroyed. What nobody
// holds was left behind by a proof that was killed, and the next proof removes it.
//
// The lock is flock() on the folder itself. A maker who is killed before it locks leaves an empty folder that nobody
// holds; one whose folder is removed before it locks makes another.
#pragma once

#include <filesystem>

#include "cluster/process.h"

namespace cairn::tuner {

class ScratchFolder {
 public:
  // A new folder below `parent` that PostgreSQL's user owns and nobody else enters. Throws Error.
  ScratchFolder(const std::filesystem::path& parent, const cluster::OsUser& owner);
  // Also ends what runs in it, as PostgreSQL's programs do with the folder, or with `data` in it, as working directory.
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

// Those below `parent` that `owner` owns and nobody holds, and the servers that run in them still.
void remove_leftover_folders(const std::filesystem::path& parent, const cluster::OsUser& owner);

}  // namespace cairn::tuner
