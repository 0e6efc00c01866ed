// Readings kept in files (state_files.h).
#pragma once

#include <string>
#include <vector>

#include "tuner/profile/state_files.h"
#include "tuner/profile/statements.h"

namespace cairn::tuner {

class Snapshots {
 public:
  explicit Snapshots(const std::string& state_directory)
      : files_(state_directory, "snapshots", "snapshot", "`cairn tune profile --save`") {}

  // Returns its name.
  std::string save(const Reading& reading) const;
  // By its name; `last` is the newest. Throws Error when there is none, or it cannot be read.
  Reading load(const std::string& name) const;
  // Oldest first.
  std::vector<std::string> names() const { return files_.names(); }

 private:
  StateFiles files_;
};

// As it is in the file, without the notes.
std::string to_json(const Reading& reading);
Reading reading_from_json(const std::string& text);

}  // namespace cairn::tuner
