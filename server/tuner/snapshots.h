// Readings kept in files, outside the database, which may be one that we may only read. They hold statements without
// string literals, and no password or address of the database.
//
//   <state directory>/snapshots/20261121T234005.123Z.json      0600, in a directory of 0700
//
// A file is written beside its place and then linked there: others see all of it or nothing.
#pragma once

#include <string>
#include <vector>

#include "tuner/statements.h"

namespace cairn::tuner {

// Where what the tuner remembers of a database lies, unless the user says otherwise: <data_dir>/tuner for the embedded
// one; for database_url $XDG_STATE_HOME/cairn/tuner/<hash of host, port and database> ($HOME/.local/state without it).
std::string state_directory(const std::string& data_dir, const std::string& database_url);

class Snapshots {
 public:
  explicit Snapshots(const std::string& state_directory) : directory_(state_directory + "/snapshots") {}

  // Returns its name.
  std::string save(const Reading& reading) const;
  // By its name; `last` is the newest. Throws Error when there is none, or it cannot be read.
  Reading load(const std::string& name) const;
  // Oldest first.
  std::vector<std::string> names() const;

 private:
  std::string directory_;
};

// As it is in the file, without the notes.
std::string to_json(const Reading& reading);
Reading reading_from_json(const std::string& text);

}  // namespace cairn::tuner
