#include "tuner/prove/clone.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "base/error.h"
#include "base/log.h"
#include "tuner/sql/expression.h"

namespace cairn::tuner {
namespace {

constexpr const char* kPrefix = "cairn_prove_";
constexpr int64_t kFileCopyBytes = 1 << 30;  // from this size on, copying files is cheaper than logging every page
constexpr double kSpareDisk = 1.1;

Error refused(const std::string& what) { return Error(ErrorCode::kInvalidState, what); }

std::string text(Session& session, const std::string& sql, const Values& parameters = {}) {
  const auto rows = session.query(sql, parameters);
  return rows.empty() ? std::string() : rows.at(0).at(0).value_or("");
}

int64_t number(Session& session, const std::string& sql, const Values& parameters = {}) {
  return std::strtoll(text(session, sql, parameters).c_str(), nullptr, 10);
}

constexpr const char* kDatabase = "/* cairn tune */ SELECT current_database()";

// --- the user's own

constexpr const char* kMark = "/* cairn tune */ SELECT pg_advisory_lock_shared($1::int8)";
constexpr const char* kSeesMark =
    "/* cairn tune */ SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::int8 << 32 | l.objid::int8) = $1::int8 "
    "AND d.datname = current_database()";
constexpr const char* kInRecovery = "/* cairn tune */ SELECT pg_is_in_recovery()::int";
constexpr const char* kReplicates =
    "/* cairn tune */ SELECT count(*) FROM pg_stat_replication WHERE (SELECT system_identifier FROM "
    "pg_control_system())::text = $1";
constexpr const char* kSystem = "/* cairn tune */ SELECT system_identifier::text FROM pg_control_system()";

class AdoptedClone : public Clone {
 public:
  explicit AdoptedClone(const CloneOptions& options) {
    Session target(options.target), clone(options.url);
    // A clone has its origin's identifiers. But a lock is seen where it is held, and nowhere else.
    const auto key = static_cast<int64_t>(std::random_device()() & 0x7fffffff) << 20 | (getpid() & 0xfffff);
    target.query(kMark, {std::to_string(key)});
    if (number(clone, kSeesMark, {std::to_string(key)}) > 0)
      throw refused(
          "--clone-url is the database itself, and a proof changes what it works on: give a copy of it, such as a "
          "restored backup or a replica that was promoted");
    if (number(clone, kInRecovery) != 0)
      throw refused("--clone-url is a replica, which may only be read: promote it first, or give a restored backup");
    if (number(clone, kReplicates, {text(target, kSystem)}) > 0)
      throw refused(
          "--clone-url is a server that others replicate from, of the same origin as the database: it seems to be the "
          "primary, not a clone");
    connection_string_ = options.url;
    description_ = "the database that --clone-url names";
    settings_ = session_settings_of(target);
  }
};

// --- CREATE DATABASE … TEMPLATE

constexpr const char* kOthers =
    "/* cairn tune */ SELECT count(*), string_agg(DISTINCT coalesce(nullif(application_name, ''), usename::text, "
    "backend_type), ', ') FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() "
    "AND backend_type <> 'autovacuum worker'";
constexpr const char* kPause = "/* cairn tune */ SELECT pg_sleep(0.1)";
constexpr int kLeavingLooks = 20;
constexpr const char* kMayCopy =
    "/* cairn tune */ SELECT (r.rolsuper OR r.rolcreatedb AND pg_has_role(d.datdba, 'MEMBER') OR r.rolcreatedb AND "
    "d.datistemplate)::int FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = $1";
constexpr const char* kDatabaseBytes = "/* cairn tune */ SELECT pg_database_size($1::name)";
constexpr const char* kDataDirectory = "/* cairn tune */ SELECT current_setting('data_directory', true)";
constexpr const char* kHoldName = "/* cairn tune */ SELECT pg_try_advisory_lock(hashtextextended($1, 0))::int";
constexpr const char* kLeftovers =
    "/* cairn tune */ SELECT datname::text FROM pg_database WHERE datname LIKE 'cairn\\_prove\\_%' "
    "AND shobj_description(oid, 'pg_database') = 'made by cairn tune prove, which removes it'";

// A session on another database of the same server: a template must have none.
std::unique_ptr<Session> maintenance_session(const CloneOptions& options, const std::string& target) {
  const std::string& base = options.administrator.empty() ? options.target : options.administrator;
  std::string problem;
  for (const char* database : {"postgres", "template1"}) {
    if (target == database) continue;
    try {
      return std::make_unique<Session>(with_options(base, {{"dbname", database}}));
    } catch (const db::DbError& error) {
      problem = error.what();
    }
  }
  throw refused("neither the database postgres nor template1 lets this role in, and one of them is needed to copy " +
                target + ": " + problem);
}

void check_disk(Session& session, const std::string& database) {
  std::string directory;
  try {
    directory = text(session, kDataDirectory);
  } catch (const db::DbError&) {
    return;  // only superusers are told where it is
  }
  std::error_code unknown;
  const auto space = std::filesystem::space(directory, unknown);
  if (directory.empty() || unknown) return;  // another machine's
  const auto needed = static_cast<double>(number(session, kDatabaseBytes, {database})) * kSpareDisk;
  if (static_cast<double>(space.available) < needed)
    throw Error(ErrorCode::kInsufficientStorage,
                fmt::format("a copy of {} needs {:.0f} MB, and {:.0f} MB are free in {}", database, needed / 1e6,
                            static_cast<double>(space.available) / 1e6, directory));
}

class TemplateClone : public Clone {
 public:
  explicit TemplateClone(const CloneOptions& options) {
    {
      Session target(options.target);
      database_ = text(target, kDatabase);
      settings_ = session_settings_of(target);
    }
    maintenance_ = maintenance_session(options, database_);
    if (number(*maintenance_, kMayCopy, {database_}) == 0)
      throw refused("this role may not copy the database " + database_ +
                    " by CREATE DATABASE … TEMPLATE: it needs CREATEDB, and to own it (or to be a superuser)");
    refuse_company();
    check_disk(*maintenance_, database_);
    remove_leftovers();
    name_ = fmt::format("{}{}_{:x}", kPrefix, getpid(), std::chrono::steady_clock::now().time_since_epoch().count());
    maintenance_->query(kHoldName, {name_});
    create();
    const std::string& base = options.administrator.empty() ? options.target : options.administrator;
    connection_string_ = with_options(base, {{"dbname", name_}});
    description_ = "a copy by CREATE DATABASE … TEMPLATE";
  }

  ~TemplateClone() override {
    const Interrupts::Hold hold;
    drop(name_);
  }

 private:
  // A session that was closed a moment ago, the tuner's own among them, is still to be seen until its process ends.
  void refuse_company() {
    Values others = maintenance_->query(kOthers, {database_}).at(0);
    for (int i = 0; i < kLeavingLooks && others[0] != "0"; ++i) {
      maintenance_->query(kPause);
      others = maintenance_->query(kOthers, {database_}).at(0);
    }
    if (others[0] == "0") return;
    throw refused("PostgreSQL copies a database only while nobody is connected to it, and " + *others[0] + " are to " +
                  database_ + " (" + others[1].value_or("") +
                  "): give --clone basebackup, or --clone-url with a copy of your own");
  }

  void create() {
    const bool files =
        maintenance_->version() >= 150000 && number(*maintenance_, kDatabaseBytes, {database_}) > kFileCopyBytes;
    const std::string name = db::quote_identifier(name_);
    try {
      maintenance_->execute("/* cairn tune */ CREATE DATABASE " + name + " TEMPLATE " +
                            db::quote_identifier(database_) + (files ? " STRATEGY file_copy" : ""));
    } catch (const db::DbError& error) {
      name_.clear();
      if (error.sqlstate() == "55006") refuse_company();
      throw refused("the database " + database_ + " could not be copied: " + error.what());
    } catch (...) {
      // It may have been made before it was interrupted.
      const Interrupts::Hold hold;
      drop(name_);
      throw;
    }
    maintenance_->execute("/* cairn tune */ COMMENT ON DATABASE " + name +
                          " IS 'made by cairn tune prove, which removes it'");
  }

  // Of proofs that were killed: theirs is a lock that nobody holds.
  void remove_leftovers() {
    for (const Values& row : maintenance_->query(kLeftovers)) {
      if (number(*maintenance_, kHoldName, {row[0]}) == 0) continue;
      log::warn("removing {}, which an earlier proof left behind", *row[0]);
      drop(*row[0]);
    }
  }

  void drop(const std::string& name) {
    if (name.empty() || maintenance_ == nullptr) return;
    const bool force = maintenance_->version() >= 130000;
    try {
      maintenance_->execute("/* cairn tune */ DROP DATABASE IF EXISTS " + db::quote_identifier(name) +
                            (force ? " WITH (FORCE)" : ""));
    } catch (const std::exception& error) {
      log::error("the clone {} could not be removed ({}): run DROP DATABASE {}", name, error.what(),
                 db::quote_identifier(name));
    }
  }

  std::unique_ptr<Session> maintenance_;
  std::string database_, name_;
};

constexpr const char* kSettings =
    "/* cairn tune */ SELECT name, setting FROM pg_settings WHERE source IN ('database', 'user', 'database user') "
    "AND context IN ('user', 'superuser') AND name NOT IN ('search_path', 'role', 'session_authorization', "
    "'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'default_transaction_read_only', "
    "'transaction_read_only', 'client_encoding', 'application_name')";
// Of extensions that no session has loaded yet (hnsw.ef_search): those nobody sees in pg_settings. The role's come
// last.
constexpr const char* kExtensionSettings =
    "/* cairn tune */ SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s, "
    "unnest(s.setconfig) c WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = "
    "current_database())) "
    "AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) AND split_part(c, '=', 1) LIKE "
    "'%.%' "
    "ORDER BY s.setrole <> 0, s.setdatabase <> 0";
constexpr const char* kSearchPath = "/* cairn tune */ SELECT s::text FROM unnest(current_schemas(false)) s";

}  // namespace

std::vector<std::string> session_settings_of(Session& target) {
  std::vector<std::string> settings;
  for (const char* query : {kExtensionSettings, kSettings})
    for (const Values& row : target.query(query))
      settings.push_back("/* cairn tune */ SET " + db::quote_identifier(*row[0]) + " = " +
                         quote_literal(row[1].value_or("")));
  std::string path;
  for (const Values& row : target.query(kSearchPath))
    path += (path.empty() ? "" : ", ") + db::quote_identifier(*row[0]);
  settings.push_back("/* cairn tune */ SET search_path = " + (path.empty() ? "''" : path));
  return settings;
}

std::unique_ptr<Clone> adopt_clone(const CloneOptions& options) { return std::make_unique<AdoptedClone>(options); }

std::unique_ptr<Clone> template_clone(const CloneOptions& options) { return std::make_unique<TemplateClone>(options); }

std::unique_ptr<Clone> make_clone(const CloneOptions& options) {
  if (!options.url.empty()) return adopt_clone(options);
  if (options.kind == CloneKind::kTemplate) return template_clone(options);
  if (options.kind == CloneKind::kBaseBackup) return base_backup_clone(options);
  if (options.kind == CloneKind::kSample) return sample_clone(options);
  std::string why;
  try {
    return template_clone(options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kAborted) throw;
    why = error.what();
  }
  try {
    return base_backup_clone(options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kAborted) throw;
    throw refused(
        "no clone can be made to try the changes on.\n  by CREATE DATABASE … TEMPLATE: " + why +
        "\n  by a base backup: " + error.what() +
        "\nGive --clone-url with a copy of your own: a restored backup, or a replica that was promoted. Or --clone "
        "sample: a copy of some of the rows, for which it is enough to read them.");
  }
}

}  // namespace cairn::tuner
