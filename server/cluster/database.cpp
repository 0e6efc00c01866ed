#include "cluster/database.h"

#include <libpq-fe.h>

#include <memory>
#include <set>

#include "base/error.h"
#include "base/log.h"

namespace cairn::cluster {
namespace {

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, Finish>;
using ResultSet = std::unique_ptr<PGresult, Clear>;

Connection connect(const std::string& connection_string) {
  Connection connection(PQconnectdb(connection_string.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    throw Error(ErrorCode::kTemporarilyUnavailable,
                std::string("cannot connect to the embedded PostgreSQL: ") + PQerrorMessage(connection.get()));
  }
  PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

bool succeeded(const ResultSet& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

ResultSet execute(const Connection& connection, const char* sql) {
  ResultSet result(PQexec(connection.get(), sql));
  if (!succeeded(result)) {
    throw Error(ErrorCode::kInternalError, std::string("cannot prepare the embedded database: ") +
                                               PQresultErrorMessage(result.get()) + "The statement was: " + sql);
  }
  return result;
}

constexpr Extension kExtensions[] = {
    {"uuid-ossp", "postgresql-{}", "generates UUIDs"},
    {"pg_trgm", "postgresql-{}", "finds similar text; indexes LIKE '%...%'"},
    {"hstore", "postgresql-{}", "key/value pairs in a column"},
    {"plperl", "postgresql-plperl-{}", "the language that jsonb_plperl serves"},
    {"jsonb_plperl", "postgresql-plperl-{}", "hands JSON to functions in Perl"},
    {"pgstattuple", "postgresql-{}", "measures the bloat of tables and indexes"},
    {"pg_stat_statements", "postgresql-{}", "counts and times every statement"},
    {"hypopg", "postgresql-{}-hypopg", "shows the planner indexes that are not there"},
    {"vector", "postgresql-{}-cairn-vector", "stores vectors and finds the nearest"},
};

constexpr const char* kFindDatabase = "SELECT FROM pg_database WHERE datname = 'cairn'";
// Roles are the cluster's, and CREATE ROLE has no IF NOT EXISTS. `cairn_reader` is for people and tools that only look,
// `cairn_writer` for those that change rows; what it may change the migrations say.
constexpr const char* kCreateRoles = R"(
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn') THEN
    CREATE ROLE cairn LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    GRANT pg_monitor TO cairn;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_reader') THEN
    CREATE ROLE cairn_reader NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_writer') THEN
    CREATE ROLE cairn_writer NOLOGIN IN ROLE cairn_reader;
  END IF;
END $$)";
constexpr const char* kCreateDatabase = "CREATE DATABASE cairn OWNER cairn";
// The default privileges are granted last, in one transaction with the rest: where they are, all are.
constexpr const char* kFindGrants = "SELECT FROM pg_default_acl WHERE defaclrole = 'cairn'::regrole";
constexpr const char* kGrants = R"(
REVOKE CONNECT, TEMPORARY ON DATABASE cairn FROM PUBLIC;
GRANT CONNECT ON DATABASE cairn TO cairn_reader;
GRANT USAGE ON SCHEMA public TO cairn_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE cairn GRANT USAGE ON SCHEMAS TO cairn_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE cairn GRANT SELECT ON TABLES TO cairn_reader)";
// What the server asks for its own metrics is not to be among the database's heaviest statements.
constexpr const char* kMayCountNothing = "GRANT SET ON PARAMETER pg_stat_statements.track TO cairn";
// So that it can look with no more rights than they have: at what a query of theirs gives.
constexpr const char* kMayBeReader = "GRANT cairn_reader TO cairn";
// So that what is in the way can be ended; a superuser's sessions stay out of reach.
constexpr const char* kMaySignal = "GRANT pg_signal_backend TO cairn";
constexpr const char* kListExtensions = "SELECT extname FROM pg_extension";

void create_extensions(const Connection& connection) {
  const ResultSet rows = execute(connection, kListExtensions);
  std::set<std::string_view> present;
  for (int row = 0; row < PQntuples(rows.get()); ++row) present.insert(PQgetvalue(rows.get(), row, 0));
  for (const Extension& extension : kExtensions) {
    if (present.contains(extension.name)) continue;
    // The names are this file's constants.
    const std::string sql = std::string("CREATE EXTENSION IF NOT EXISTS \"") + extension.name + "\"";
    const ResultSet result(PQexec(connection.get(), sql.c_str()));
    if (!succeeded(result)) {
      log::warn("extension {} ({}) is not there: {}install the package {}", extension.name, extension.purpose,
                PQresultErrorMessage(result.get()), package_of(extension, PQserverVersion(connection.get()) / 10000));
    }
  }
}

constexpr const char* kProfilingOn[] = {
    // Its settings are known to ALTER SYSTEM only once it is loaded.
    "LOAD 'auto_explain'",
    "ALTER SYSTEM SET auto_explain.log_min_duration = 500",
    "ALTER SYSTEM SET auto_explain.log_analyze = on",
    "ALTER SYSTEM SET auto_explain.log_buffers = on",
    "ALTER SYSTEM SET auto_explain.log_timing = on",
    "ALTER SYSTEM SET auto_explain.log_format = 'json'",
    "ALTER SYSTEM SET session_preload_libraries = 'auto_explain'",
    "SELECT pg_reload_conf()",
};
constexpr const char* kProfilingOff[] = {
    "ALTER SYSTEM RESET session_preload_libraries",
    "ALTER SYSTEM RESET auto_explain.log_min_duration",
    "ALTER SYSTEM RESET auto_explain.log_analyze",
    "ALTER SYSTEM RESET auto_explain.log_buffers",
    "ALTER SYSTEM RESET auto_explain.log_timing",
    "ALTER SYSTEM RESET auto_explain.log_format",
    "SELECT pg_reload_conf()",
};

}  // namespace

std::span<const Extension> wanted_extensions() { return kExtensions; }

std::string package_of(const Extension& extension, int major) {
  std::string package = extension.package;
  return package.replace(package.find("{}"), 2, std::to_string(major));
}

void prepare_database(const std::string& maintenance_connection, const std::string& cairn_connection) {
  {
    const Connection connection = connect(maintenance_connection);
    execute(connection, kCreateRoles);
    if (PQntuples(execute(connection, kFindDatabase).get()) == 0) execute(connection, kCreateDatabase);
    execute(connection, kMayBeReader);
    execute(connection, kMayCountNothing);
    execute(connection, kMaySignal);
  }
  const Connection connection = connect(cairn_connection);
  if (PQntuples(execute(connection, kFindGrants).get()) == 0) execute(connection, kGrants);
  create_extensions(connection);
}

void set_auto_explain(const std::string& superuser_connection, bool on) {
  const Connection connection = connect(superuser_connection);
  if (on) {
    for (const char* sql : kProfilingOn) execute(connection, sql);
  } else {
    for (const char* sql : kProfilingOff) execute(connection, sql);
  }
}

}  // namespace cairn::cluster
