// A cluster's files as a backup has them, recovered to a point by a PostgreSQL of its own on a private socket.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backup/repository.h"
#include "cluster/session.h"
#include "cluster/supervisor.h"

namespace cairn::backup {

// Where recovery ends; at most one is set, none: at the end of the WAL.
struct Target {
  std::optional<int64_t> time_us;  // since 1970
  std::optional<std::string> lsn;
  std::optional<std::string> name;
};

// "2026-11-22 11:45:10.123456+01", "2026-11-22T11:45:10Z"; without a zone: UTC. Throws Error(kInvalidParameterValue).
int64_t parse_time_us(const std::string& text);

// A command that takes a segment out of a directory.
std::string fetch_from(const std::filesystem::path& directory);

class Recovery {
 public:
  // `data` holds the files. Removes the private folders of those that were killed.
  Recovery(std::filesystem::path data, std::string programs);
  // Ends the server. What lies in `data` is left.
  ~Recovery();
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  // Until PostgreSQL has promoted itself. WAL comes by the first of these commands (with %f and %p) that has the
  // segment. Throws Error when the point is not reached.
  void recover(const Target& target, const std::vector<std::string>& fetch, bool follow_timelines);
  std::string connection_string(const std::string& database) const;
  // Ends the server, and leaves settings that speak of no archive, no backup and no other server.
  void finish();
  // One of PostgreSQL's programs, as its user.
  cluster::Finished run(const std::string& program, const std::vector<std::string>& arguments) const;

 private:
  void write_settings(const std::string& recovery) const;
  std::string log_tail() const;

  std::filesystem::path data_, private_;  // the second for the socket, the log and what only this PostgreSQL reads
  std::string programs_;
  cluster::OsUser user_;
  int lock_fd_ = -1, log_fd_ = -1;
  std::unique_ptr<cluster::Supervisor> server_;
};

}  // namespace cairn::backup
