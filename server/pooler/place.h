// Where PgBouncer's files are, who owns them, and who watches it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "cluster/process.h"

namespace cairn::pooler {

class Place {
 public:
  explicit Place(const std::string& data_dir);

  const std::string& directory() const { return directory_; }
  const cluster::OsUser& user() const { return user_; }
  std::string path(const char* name) const { return directory_ + "/" + name; }

  // Makes the directory, mode 0700; one that others may enter is refused.
  void make() const;
  // As a whole, mode 0600.
  void write(const char* name, const std::string& text) const;
  std::string read(const char* name) const;
  // pgbouncer.ini; throws Error when there is none.
  std::string ini() const;
  // The last lines of pgbouncer.log.
  std::string log_tail() const;
  // A descriptor that appends to pgbouncer.log.
  int open_log() const;

  // The process that watches PgBouncer.
  std::optional<pid_t> watcher() const;
  // Becomes the watcher until the process ends. Throws Error(kResourceConflict) when there is one.
  void lock() const;

 private:
  std::string directory_;
  cluster::OsUser user_;
};

}  // namespace cairn::pooler
