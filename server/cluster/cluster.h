// The embedded PostgreSQL: a private cluster in the server's data directory, made from the installed PostgreSQL's
// binaries.
//
//   <data>/cairn.lock            locked while a server runs on this directory; holds its process id
//   <data>/postgres/<major>/     the cluster's files; a pg_upgrade makes <data>/postgres/<next> beside it
//   <data>/run/                  the socket, unless its path were too long for one (then a directory of /run or /tmp)
//   <data>/log/                  PostgreSQL's log
//   <data>/reserve               space for the day the disk is full (disk.h)
//
// PostgreSQL runs as user `postgres` when this process is root, else as this process's own user. The server connects as
// role `cairn`, which owns the database `cairn` and is no superuser. If this process dies in any way, PostgreSQL shuts
// down too.
//
// Threads: the functions may be called from one thread at a time; ready(), postgres_pid(), restarts() and has_room()
// from any.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cluster/disk.h"
#include "cluster/machine.h"
#include "cluster/supervisor.h"

namespace cairn::cluster {

struct ClusterOptions {
  std::string data_dir;
  // Where `postgres` and `initdb` are; empty: the newest of the installed ones, or the one that made the cluster.
  std::string binary_dir;
  // Serve psql users on the loopback addresses too; 0: the unix socket only.
  int tcp_port = 0;
  int max_connections = 100;
  // Derive the settings from this instead of the machine (tests that share one).
  std::optional<Machine> machine;
};

class Cluster {
 public:
  // Locks the data directory, making it if need be. Throws Error(kResourceConflict), naming the process, when another
  // server holds it.
  explicit Cluster(ClusterOptions options);
  // Stops PostgreSQL.
  ~Cluster();

  // Makes the cluster if there is none, starts PostgreSQL and waits until it takes connections, then makes the role,
  // the database and the extensions that are missing. From then on PostgreSQL is restarted whenever it dies.
  void start();
  void stop();

  // libpq connection strings (key=value), for the role that owns the database and for the superuser.
  std::string connection_string() const;
  std::string superuser_connection_string() const;

  bool ready() const { return ask(&Supervisor::ready, false); }
  pid_t postgres_pid() const { return ask(&Supervisor::pid, pid_t{0}); }
  int restarts() const { return ask(&Supervisor::restarts, 0); }
  // Whether the disk has room for writes. To be asked a few times a second while the server runs, by one thread.
  bool has_room() { return disk_->keep_room(); }
  uint64_t disk_free_bytes() const { return disk_->free_bytes(); }
  // True when start() made the cluster.
  bool created() const { return created_; }
  const std::string& data_dir() const { return options_.data_dir; }
  std::string postgres_dir() const;
  const std::string& socket_dir() const { return socket_dir_; }
  const std::string& binary_dir() const { return binary_dir_; }

  // Loads auto_explain into every new connection, or no longer. What text 002 logs: plans of statements over half a
  // second, with timing and buffers, as JSON. Connections that are open already are not concerned.
  void set_profiling(bool on);

 private:
  void lock();
  void find_binaries();
  void create();
  void write_settings();
  void stop_leftovers() const;
  bool takes_connections(pid_t pid) const;
  std::string log_tail() const;
  std::string connection_string(const std::string& user, const std::string& database) const;
  template <class T>
  T ask(T (Supervisor::*question)() const, T without) const {
    const std::lock_guard lock(supervisor_mutex_);
    return supervisor_ ? (supervisor_.get()->*question)() : without;
  }

  ClusterOptions options_;
  OsUser user_;
  std::string binary_dir_;
  int major_ = 0;
  std::string socket_dir_;
  int lock_fd_ = -1;
  int start_log_fd_ = -1;
  bool created_ = false;
  std::unique_ptr<DiskGuard> disk_;
  mutable std::mutex supervisor_mutex_;  // of the pointer: a promotion stops and starts while others ask
  std::unique_ptr<Supervisor> supervisor_;
};

// The server that holds the data directory, if there is one: for commands that run beside it.
std::optional<pid_t> running_server(const std::string& data_dir);
// Connection string of the embedded database that a running server holds open; nothing when none runs. `user`: its
// owner, or the superuser `postgres`.
std::optional<std::string> running_connection_string(const std::string& data_dir, const std::string& user = "cairn");

// Directories with a `postgres` program, newest major version first.
struct Installation {
  int major = 0;
  std::string binary_dir;
};
std::vector<Installation> installed_postgres();
// Where the programs of that major version are: `given` if it is not empty. Throws Error where they are not installed.
std::string programs_of(int major, const std::string& given);

}  // namespace cairn::cluster
