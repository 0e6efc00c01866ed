#include <libpq-fe.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>

#include "base/bytes.h"
#include "base/error.h"
#include "db/pooler.h"
#include "pooler/api.h"
#include "pooler/place.h"

namespace cairn::pooler {
namespace {

constexpr size_t kLongestSocketPath = 107;
constexpr size_t kUnknownBytes = 32;

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

Connection connect(const std::string& connection_string) {
  Connection connection(PQconnectdb(connection_string.c_str()), &PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK)
    throw Error(ErrorCode::kTemporarilyUnavailable,
                std::string("cannot connect to PostgreSQL: ") + PQerrorMessage(connection.get()));
  return connection;
}

std::string value(const Connection& connection, const char* sql, const std::string& parameter) {
  const char* values[] = {parameter.c_str()};
  const Result result(PQexecParams(connection.get(), sql, 1, nullptr, values, nullptr, nullptr, 0), &PQclear);
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
    throw Error(ErrorCode::kInternalError, PQresultErrorMessage(result.get()));
  return PQntuples(result.get()) == 0 ? "" : PQgetvalue(result.get(), 0, 0);
}

std::string option(const Connection& connection, std::string_view keyword) {
  std::string found;
  PQconninfoOption* options = PQconninfo(connection.get());
  for (PQconninfoOption* entry = options; entry != nullptr && entry->keyword != nullptr; ++entry)
    if (entry->keyword == keyword && entry->val != nullptr) found = entry->val;
  PQconninfoFree(options);
  return found;
}

constexpr const char* kConnections =
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " WHERE $1 <> ''";
constexpr const char* kReadsSecrets = "SELECT has_table_privilege($1, 'pg_catalog.pg_authid', 'SELECT')";
constexpr const char* kSecret = "SELECT coalesce(rolpassword, '') FROM pg_catalog.pg_authid WHERE rolname = $1";

Backend read_backend(const Context& context) {
  const Connection connection = connect(context.connection_string);
  if (db::behind_pooler(connection.get()))
    throw Error(ErrorCode::kInvalidState,
                "this connection goes through a pooler already: give PostgreSQL's own address");
  Backend backend;
  backend.host = PQhost(connection.get());
  backend.port = PQport(connection.get());
  backend.database = PQdb(connection.get());
  backend.user = PQuser(connection.get());
  backend.secret = PQpass(connection.get());
  if (!backend.host.starts_with('/')) {
    backend.sslmode = option(connection, "sslmode");
    backend.sslrootcert = option(connection, "sslrootcert");
  }
  backend.connections = std::stoi(value(connection, kConnections, backend.user));
  const bool embedded = !context.superuser_connection.empty();
  const Connection secrets = connect(embedded ? context.superuser_connection : context.connection_string);
  const std::string reader = PQuser(secrets.get());
  if (value(secrets, kReadsSecrets, reader) == "t") {
    backend.auth_user = reader;
    if (backend.secret.empty()) backend.secret = value(secrets, kSecret, backend.user);
  }
  return backend;
}

// The embedded database's own, which has PostgreSQL's socket; else the files' directory.
std::string socket_directory(const Context& context, const Backend& backend, const Place& place, int port) {
  const std::string directory = context.superuser_connection.empty() ? place.directory() : backend.host;
  if ((directory + "/.s.PGSQL." + std::to_string(port)).size() > kLongestSocketPath)
    throw invalid("the path of a socket in " + directory + " would be longer than " +
                  std::to_string(kLongestSocketPath) + " bytes: choose a shorter --data-dir");
  return directory;
}

}  // namespace

int configure(const Context& context, Options options, bool dry_run, std::ostream& out) {
  const Place place(context.data_dir);
  const Backend backend = read_backend(context);
  options.max_db_connections = database_connections(options, backend, context.server_connections);
  const std::string ini =
      render_ini(options, backend, place.directory(), socket_directory(context, backend, place, options.listen_port));
  const std::string hba = render_hba(options, backend);
  if (dry_run) {
    out << ini;
    return 0;
  }
  place.make();
  place.write("userlist.txt", render_userlist(backend, to_hex(random_bytes(kUnknownBytes))));
  place.write("hba.conf", hba);
  place.write("pgbouncer.ini", ini);
  out << "wrote " << place.path("pgbouncer.ini") << ": " << options.pool_mode << " mode, " << options.max_client_conn
      << " clients on " << options.max_db_connections << " connections of PostgreSQL\n";
  if (backend.auth_user.empty())
    out << "only role " << backend.user
        << " can connect: it is the one whose password is known here, and no superuser that could read others'\n";
  if (const auto watcher = place.watcher()) {
    kill(*watcher, SIGHUP);
    out << "the PgBouncer that runs takes it over; listen_addr, listen_port and the socket only after `cairn pool "
           "stop` and `start`\n";
  }
  return 0;
}

}  // namespace cairn::pooler
