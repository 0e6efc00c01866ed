// `cairn backup`: the embedded PostgreSQL and the artifacts, backed up by PostgreSQL's own programs or by pgBackRest,
// and restored to any point in time. docs/formats/backups.md says what lies where.
//
// All block, on the caller's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace cairn::backup {

struct CreateOptions {
  std::string directory;
  std::string connection_string;  // the superuser's
  std::string data_dir;
  std::string artifact_root;
  std::string postgres_bin;
  std::optional<int> keep;
  std::string with;   // postgresql, pgbackrest; empty: as the directory's backups are made, postgresql for a new one
  bool full = false;  // not an increment; of pgbackrest
  bool json = false;
};
int create(const CreateOptions& options, std::ostream& out);
// Where the last backup of this data directory was put; empty: it has none.
std::string last_directory(const std::string& data_dir);

struct ListOptions {
  std::string directory;
  bool json = false;
};
int list(const ListOptions& options, std::ostream& out);

struct RestoreOptions {
  std::string directory;
  std::string target_dir;
  std::string backup;           // empty: the newest before the point
  std::string time, lsn, name;  // at most one
  std::string postgres_bin;
  bool json = false;
};
int restore(const RestoreOptions& options, std::ostream& out);

struct VerifyOptions {
  std::string directory;
  std::string backup;  // empty: the newest
  std::string postgres_bin;
  bool json = false;
};
// Exit code 1 when the backup is not good.
int verify(const VerifyOptions& options, std::ostream& out);

}  // namespace cairn::backup
