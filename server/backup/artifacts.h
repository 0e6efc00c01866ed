// Artifact files into the repository and out of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "backup/repository.h"

namespace cairn::backup {

// Takes in all files below `root`; those that `known` has, as they are, are not read again. Files that vanish meanwhile
// are left out: in the directory that a server writes to, a file is whole or not there.
ArtifactList store_artifacts(const Repository& repository, const std::filesystem::path& root,
                             const ArtifactList& known);

// Which file of which path belongs to the point that a backup is restored to.
class ArtifactsAt {
 public:
  // `until_ns`: files that are younger are not of that point.
  explicit ArtifactsAt(int64_t until_ns = std::numeric_limits<int64_t>::max()) : until_ns_(until_ns) {}
  // In the order of their making. `before_point`: what such a list lacks is no longer there.
  void add(const ArtifactList& list, bool before_point);
  // What the live artifact root has beside them.
  const ArtifactList& files() const { return files_; }

 private:
  int64_t until_ns_;
  ArtifactList files_;
};

struct Damage {
  std::string what;  // a path, or a content
  std::string why;
};
// Writes the files below `target`. Throws Error at a content that is missing or has another checksum.
void restore_artifacts(const Repository& repository, const ArtifactList& files, const std::filesystem::path& target);
// Reads every content that is named; gives what is damaged.
std::vector<Damage> check_artifacts(const Repository& repository, const ArtifactList& files);

}  // namespace cairn::backup
