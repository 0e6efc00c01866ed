#include "pooler/console.h"

#include <algorithm>

#include "base/error.h"
#include "pooler/settings.h"

namespace cairn::pooler {
namespace {

PGconn* connect(const std::string& ini) {
  const std::string host = ini_value(ini, "unix_socket_dir"), port = ini_value(ini, "listen_port"),
                    user = ini_value(ini, "admin_users");
  const char* names[] = {"host", "port", "user", "dbname", "connect_timeout", "application_name", nullptr};
  const char* values[] = {host.c_str(), port.c_str(), user.c_str(), "pgbouncer", "5", "cairn pool", nullptr};
  return PQconnectdbParams(names, values, 0);
}

}  // namespace

std::string Console::Table::cell(const Row& row, const std::string& column) const {
  const auto found = std::ranges::find(columns, column);
  return found == columns.end() ? "" : row[size_t(found - columns.begin())];
}

Console::Console(const std::string& ini) : connection_(connect(ini), &PQfinish) {
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Error(ErrorCode::kTemporarilyUnavailable,
                std::string("PgBouncer does not answer: ") + PQerrorMessage(connection_.get()));
}

Console::Table Console::show(const char* what) const {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexec(connection_.get(), (std::string("SHOW ") + what).c_str()), &PQclear);
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
    throw Error(ErrorCode::kInternalError, std::string("PgBouncer: ") + PQresultErrorMessage(result.get()));
  Table table;
  for (int column = 0; column < PQnfields(result.get()); ++column)
    table.columns.emplace_back(PQfname(result.get(), column));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    Row cells;
    for (int column = 0; column < PQnfields(result.get()); ++column)
      cells.emplace_back(PQgetvalue(result.get(), row, column));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

bool Console::answers(const std::string& ini, std::string& failure) {
  try {
    const Console console(ini);
    return true;
  } catch (const Error& error) {
    failure = error.what();
    return false;
  }
}

}  // namespace cairn::pooler
