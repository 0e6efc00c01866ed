// The disk of a PostgreSQL that runs on this machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cairn::tuner {

struct LocalDisk {
  double free_bytes = 0;  // for who is not root
  double bytes = 0;
};

// Nothing where `data_directory` is not to be seen from here: another machine has other directories of the same name,
// so PostgreSQL's own file there must be of the very server that started then.
std::optional<LocalDisk> local_disk(const std::string& data_directory, int64_t started_s);

}  // namespace cairn::tuner
