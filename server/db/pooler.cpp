#include "db/pooler.h"

#include <cstdlib>
#include <memory>

namespace cairn::db {
namespace {

// Marked as the tuner's own statements are, which its profile leaves out.
constexpr const char* kBackend = "/* cairn tune */ SELECT pg_backend_pid()";

}  // namespace

bool behind_pooler(PGconn* connection) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> backend(PQexec(connection, kBackend), &PQclear);
  return PQresultStatus(backend.get()) == PGRES_TUPLES_OK &&
         atoi(PQgetvalue(backend.get(), 0, 0)) != PQbackendPID(connection);
}

Error needs_session(const std::string& what) {
  return Error(ErrorCode::kInvalidState,
               what +
                   " needs a session of its own, and this connection goes through a pooler (PgBouncer): give "
                   "PostgreSQL's own address");
}

void require_session(PGconn* connection, const std::string& what) {
  if (behind_pooler(connection)) throw needs_session(what);
}

void require_session(const std::string& connection_string, const std::string& what) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(connection_string.c_str()), &PQfinish);
  require_session(connection.get(), what);
}

}  // namespace cairn::db
