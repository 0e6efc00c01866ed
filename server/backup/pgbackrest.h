// pgBackRest as what makes and keeps the base backups and the WAL of a repository, in <backup_dir>/pgbackrest. It runs
// as PostgreSQL's user. All block; all throw Error with what it says.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "cluster/process.h"

namespace cairn::backup {

class PgBackRest {
 public:
  // `directory`: of the backups. Throws Error(kInvalidState) where the program is not installed.
  explicit PgBackRest(const std::filesystem::path& directory);

  struct Server {
    std::string data_directory;
    std::string socket_directory;
    std::string port;
  };
  // Its configuration, and its repository where there is none yet.
  void prepare(const Server& server) const;
  // As PostgreSQL's setting.
  std::string archive_command() const;
  // The newest one in its archive; empty where there is none.
  std::string last_segment() const;

  // One backup in its repository.
  struct Set {
    std::string label;
    std::string type;  // full, incr
    std::string start_lsn, stop_lsn;
    std::string start_segment;
    int64_t database_bytes = 0;
    int64_t stored_bytes = 0;  // what it added to the repository
    bool damaged = false;      // pages had wrong checksums when it was made
  };
  // Incremental over the last one where there is one, unless `full`. `id` is written beside it.
  Set make(const std::string& id, bool full) const;
  Set find(const std::string& label) const;
  // Removes all but these and what they are increments of, and WAL that none of those needs.
  void keep_only(const std::set<std::string>& labels) const;
  // Into an empty directory of PostgreSQL's user. Every file's checksum is compared.
  void restore(const std::string& label, const std::filesystem::path& data) const;
  // For the server in `data` to fetch a segment, a part of restore_command.
  std::string fetch_command(const std::filesystem::path& data) const;

 private:
  std::string run(std::vector<std::string> arguments) const;
  std::string info() const;

  std::filesystem::path directory_, config_;
  cluster::OsUser user_;
};

}  // namespace cairn::backup
