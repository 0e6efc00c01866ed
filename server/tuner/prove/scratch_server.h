// A PostgreSQL server of a clone's own, on a private socket, by the programs that are installed on this machine.
//
//   <folder>/data      the cluster, that its user makes; with a configuration that holds nothing of the origin's but
//   what
//                      the planner goes by
//   <socket folder>    for PostgreSQL's user alone
//
// Ended and removed with the object, also after an error; what a killed one left, the next one removes.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/supervisor.h"
#include "tuner/catalog/session.h"
#include "tuner/prove/clone.h"
#include "tuner/prove/scratch_folder.h"

namespace cairn::tuner {

class ScratchServer {
 public:
  // `programs`: those that are needed beside `postgres`. Throws Error where they are not there. Nothing is made yet.
  ScratchServer(const CloneOptions& options, int major, std::initializer_list<const char*> programs);
  ~ScratchServer();
  ScratchServer(const ScratchServer&) = delete;
  ScratchServer& operator=(const ScratchServer&) = delete;

  // Throws Error where there is no room for so many bytes and some more; `what` needs them. Then makes the folders.
  void make_folders(double bytes, const std::string& what);
  const std::filesystem::path& folder() const { return folder_->path(); }
  std::filesystem::path data() const { return folder() / "data"; }
  const cluster::OsUser& postgres_user() const { return user_; }

  // One of PostgreSQL's programs, to its end; gives its exit status and what it printed. `password`, if any, is for its
  // environment: arguments are seen by everybody. Throws Error(kAborted) at Ctrl-C.
  cluster::Finished run(const std::string& program, const std::vector<std::string>& arguments,
                        const cluster::OsUser& user, const std::string& password = {}) const;

  // With what the planner of the origin goes by, and nothing that speaks to others: archiving, replication, jobs.
  void start(Session& origin);
  std::string connection_string(const std::string& user, const std::string& database) const;

 private:
  void configure(Session& origin) const;
  void write(const std::filesystem::path& path, const std::string& text) const;

  const CloneOptions& options_;
  cluster::OsUser user_;
  std::string programs_;
  std::optional<ScratchFolder> folder_, socket_;
  int log_fd_ = -1;
  std::unique_ptr<cluster::Supervisor> server_;
};

}  // namespace cairn::tuner
