// The backup directory (docs/formats/backups.md) and what lies in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backup/pgbackrest.h"
#include "cluster/process.h"

namespace cairn::backup {

struct TableFigure {
  std::string name;  // qualified and quoted
  int64_t rows = 0;
  std::string checksum;
  bool operator==(const TableFigure&) const = default;
};

struct Backup {
  std::string id;
  int major = 0;
  int64_t started_at = 0, stopped_at = 0;  // ms since 1970
  std::string start_lsn, stop_lsn;
  int64_t timeline = 0;
  std::string restore_point;
  bool exact = false;
  int64_t base_bytes = 0;
  // Of pgBackRest: its label, what kind (full, incr), and the bytes that it added to the directory.
  std::string label, type;
  int64_t stored_bytes = 0;
  std::vector<TableFigure> tables;
};

// An artifact file as it was once; `sha256` names its content in the repository.
struct ArtifactFile {
  int64_t size = 0;
  int64_t mtime_ns = 0;
  std::string sha256;
  bool operator==(const ArtifactFile&) const = default;
};
using ArtifactList = std::map<std::string, ArtifactFile>;  // by path below the artifact root

struct Owner {
  std::string system_identifier;
  std::string data_dir;
  std::string artifact_root;
  bool pgbackrest = false;  // base backups and WAL are pgBackRest's
};

// Whether the last `verify` found it good, and when (ms since 1970).
struct Verified {
  int64_t at = 0;
  bool good = false;
};

class Repository {
 public:
  enum class Use { kWrite, kRead };
  // Locks the directory, for writing after making it where it is missing. Throws Error: kResourceConflict when another
  // process holds the lock, kResourceDoesNotExist when there is nothing to read.
  Repository(const std::string& directory, Use use);
  ~Repository();
  Repository(const Repository&) = delete;
  Repository& operator=(const Repository&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path wal() const { return directory_ / "wal"; }
  std::filesystem::path backups() const { return directory_ / "backups"; }
  std::filesystem::path base(const Backup& backup) const { return backups() / backup.id / "base"; }
  std::filesystem::path content(const std::string& sha256) const;

  std::optional<Owner> owner() const;
  // Throws Error(kResourceConflict) when they are another cluster's or another data directory's backups.
  void claim(const Owner& owner) const;

  // The oldest first.
  std::vector<Backup> list() const;
  // Throws Error(kResourceDoesNotExist).
  Backup get(const std::string& id) const;
  ArtifactList artifacts(const Backup& backup) const;
  std::optional<Verified> verified(const Backup& backup) const;
  void save_verified(const Backup& backup, const Verified& verified) const;

  // A directory for what is to become a backup; of PostgreSQL's user.
  std::filesystem::path make_partial() const;
  // Writes what is left to write, and gives it its name.
  void publish(const std::filesystem::path& partial, const Backup& backup, const ArtifactList& artifacts) const;
  // Of creations and removals that were cut off.
  void remove_leftovers() const;
  // pgBackRest, where the repository is its.
  std::optional<PgBackRest> pgbackrest() const;
  // The database's files as they were in the backup, into `data`: a directory of PostgreSQL's user that is not there
  // yet, in one that is.
  void lay_down(const Backup& backup, const std::filesystem::path& data) const;
  // All but the newest `keep`; gives their ids. WAL and contents of nobody's go too.
  std::vector<std::string> expire(size_t keep, const std::string& programs) const;

 private:
  void make() const;
  void sweep_contents() const;
  void sweep_wal(const Backup& oldest, const std::string& programs) const;

  std::filesystem::path directory_;
  cluster::OsUser postgres_;
  int lock_ = -1;
};

// "0/2000028" as a number. Throws Error(kInvalidParameterValue).
uint64_t parse_lsn(const std::string& text);
// Milliseconds as "2026-11-22 11:45:10 UTC".
std::string time_text(int64_t ms);
std::string read_file(const std::filesystem::path& path);

}  // namespace cairn::backup
