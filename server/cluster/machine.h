// What the embedded PostgreSQL's settings are derived from: the part of the machine that this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace cairn::cluster {

struct Machine {
  // The physical memory, or the control group's limit where that is lower.
  uint64_t memory_bytes = 0;
  // Cores this process may run on; a control group's CPU quota counts too. At least 1.
  int cores = 1;
  // True for a spinning disk. A device that cannot be told (virtual, overlay, network) counts as not rotational.
  bool rotational = false;
  uint64_t disk_free_bytes = 0;
  // The kernel's clock source is read without a system call, so timing every block read costs next to nothing.
  bool fast_clock = false;
};

// Looks at the machine, and at the disk that holds `directory` (which must exist).
Machine inspect_machine(const std::string& directory);

}  // namespace cairn::cluster
