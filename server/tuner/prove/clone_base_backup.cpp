// A clone by pg_basebackup, started as a server of its own. Tablespaces lie beside the data: <folder>/tablespace1 …
#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "tuner/prove/clone.h"
#include "tuner/prove/scratch_server.h"

namespace cairn::tuner {
namespace {

constexpr double kSpareDisk = 1.1;

Error refused(const std::string& what) { return Error(ErrorCode::kInvalidState, what); }

constexpr const char* kMayReplicate =
    "/* cairn tune */ SELECT current_user::text FROM pg_roles WHERE rolname = current_user AND NOT (rolreplication OR "
    "rolsuper)";
constexpr const char* kDatabase = "/* cairn tune */ SELECT current_database()::text";
constexpr const char* kOwner = "/* cairn tune */ SELECT rolname::text FROM pg_roles WHERE oid = 10";
constexpr const char* kBytes = "/* cairn tune */ SELECT sum(pg_database_size(oid))::int8 FROM pg_database";
constexpr const char* kTablespaces =
    "/* cairn tune */ SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''";

double bytes_of(Session& session) {
  try {
    return std::strtod(session.query(kBytes).at(0).at(0).value_or("0").c_str(), nullptr) * kSpareDisk;
  } catch (const db::DbError& error) {
    log::warn("how large the server is cannot be known ({}), nor whether there is room for a copy", error.what());
    return 0;
  }
}

class BaseBackupClone : public Clone {
 public:
  explicit BaseBackupClone(const CloneOptions& options) : options_(options) {
    const std::string& origin = options_.administrator.empty() ? options_.target : options_.administrator;
    std::string database;
    {
      Session target(options_.target);
      settings_ = session_settings_of(target);
      database = *target.query(kDatabase).at(0).at(0);
    }
    Session session(origin);
    if (const auto role = session.query(kMayReplicate); !role.empty())
      throw refused("the role " + *role[0][0] + " may not copy the server: a superuser allows it by ALTER ROLE " +
                    db::quote_identifier(*role[0][0]) + " REPLICATION, and by a line for replication in pg_hba.conf");
    server_.emplace(options_, session.version() / 10000, std::initializer_list<const char*>{"pg_basebackup"});
    server_->make_folders(bytes_of(session), "a base backup");
    copy(session, origin);
    server_->start(session);
    const auto owner = session.query(kOwner);
    connection_string_ = server_->connection_string(owner.empty() ? "postgres" : *owner[0][0], database);
    description_ = "a base backup, started as a server of its own";
    shares_server_ = false;
  }

 private:
  void copy(Session& session, const std::string& origin) {
    std::vector<std::string> arguments{"--pgdata=" + server_->data().string(),
                                       "--wal-method=stream",
                                       "--checkpoint=fast",
                                       "--no-sync",
                                       "--no-password",
                                       "--dbname=" + with_options(origin, {{"password", ""}})};
    int count = 0;
    for (const Values& row : session.query(kTablespaces))
      arguments.push_back(fmt::format("--tablespace-mapping={}={}", *row[0],
                                      (server_->folder() / fmt::format("tablespace{}", ++count)).string()));
    const cluster::Finished copied =
        server_->run("pg_basebackup", arguments, server_->postgres_user(), session.password());
    if (copied.exit_status != 0)
      throw refused(fmt::format("pg_basebackup ended with {}: {}", copied.exit_status, copied.output));
  }

  CloneOptions options_;
  std::optional<ScratchServer> server_ = {};
};

}  // namespace

std::unique_ptr<Clone> base_backup_clone(const CloneOptions& options) {
  return std::make_unique<BaseBackupClone>(options);
}

}  // namespace cairn::tuner
