#include "cluster/session.h"

#include "base/error.h"

namespace cairn::cluster {
namespace {

using ResultSet = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string take(char* text, PGconn* connection) {
  if (text == nullptr) throw Error(ErrorCode::kInternalError, PQerrorMessage(connection));
  std::string copy = text;
  PQfreemem(text);
  return copy;
}

}  // namespace

Session::Session(const std::string& connection_string) : connection_(PQconnectdb(connection_string.c_str())) {
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Error(ErrorCode::kTemporarilyUnavailable,
                std::string("cannot connect to PostgreSQL: ") + PQerrorMessage(connection_.get()));
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
}

std::vector<Session::Row> Session::query(const std::string& sql, const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
  const ResultSet result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                      values.data(), nullptr, nullptr, 0),
                         &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    throw Error(ErrorCode::kInternalError,
                std::string(PQerrorMessage(connection_.get())) + "The statement was: " + sql);
  std::vector<Row> rows(static_cast<size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      std::optional<std::string> value;
      if (PQgetisnull(result.get(), row, column) == 0) value = PQgetvalue(result.get(), row, column);
      rows[static_cast<size_t>(row)].push_back(std::move(value));
    }
  }
  return rows;
}

std::string Session::value(const std::string& sql, const std::vector<std::string>& parameters) {
  const std::vector<Row> rows = query(sql, parameters);
  if (rows.empty() || rows[0].empty()) throw Error(ErrorCode::kInternalError, "no row came from: " + sql);
  return rows[0][0].value_or("");
}

std::string Session::literal(const std::string& text) {
  return take(PQescapeLiteral(connection_.get(), text.c_str(), text.size()), connection_.get());
}

std::string Session::identifier(const std::string& name) {
  return take(PQescapeIdentifier(connection_.get(), name.c_str(), name.size()), connection_.get());
}

}  // namespace cairn::cluster
