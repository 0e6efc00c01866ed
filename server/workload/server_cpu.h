// The CPU time of a PostgreSQL server on this machine, without any privilege: from /proc.
#pragma once

#include <optional>

namespace cairn::workload {

class ServerCpu {
 public:
  // The server that the backend of this process id belongs to. When there is no such process here, or it is none of
  // PostgreSQL's, seconds() is absent.
  explicit ServerCpu(int backend_pid);

  // Of all its processes since it was started: those that are there and those that have ended, parallel workers too.
  std::optional<double> seconds() const;

 private:
  int postmaster_ = 0;
};

}  // namespace cairn::workload
