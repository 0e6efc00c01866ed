// What the tuner remembers of a database, in files outside of it, for it may be one that we may only read. They hold
// statements, but no password and no address of the database.
//
//   <state directory>/snapshots/20261121T234005.123Z.json      0600, in a directory of 0700
//   <state directory>/advice/…, <state directory>/proofs/…
//
// A file is written beside its place and then linked or renamed there: others see all of it or nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::tuner {

// <data_dir>/tuner for the embedded database; for database_url $XDG_STATE_HOME/cairn/tuner/<hash of host, port and
// database> ($HOME/.local/state without it).
std::string state_directory(const std::string& data_dir, const std::string& database_url);

// Files of one sort.
class StateFiles {
 public:
  // `folder` is below the state directory; `thing` is what one of them is ("snapshot"), `origin` says what makes one,
  // both for errors.
  StateFiles(const std::string& state_directory, const std::string& folder, std::string thing, std::string origin)
      : directory_(state_directory + "/" + folder), thing_(std::move(thing)), origin_(std::move(origin)) {}

  // Under a new name, which begins with the time; returns the name.
  std::string add(int64_t at_ms, const std::string& text) const;
  // In the place of what had that name.
  void replace(const std::string& name, const std::string& text) const;
  // Throws Error when there is none, or it cannot be read.
  std::string load(const std::string& name) const;
  // `last`: the newest; any other name is itself. Throws Error when there is no such file.
  std::string find(const std::string& name) const;
  bool has(const std::string& name) const;
  // Oldest first.
  std::vector<std::string> names() const;
  std::string path(const std::string& name) const;

 private:
  std::string write_beside(const std::string& text) const;

  std::string directory_, thing_, origin_;
};

}  // namespace cairn::tuner
