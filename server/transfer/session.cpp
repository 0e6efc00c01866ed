#include "transfer/session.h"

#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "db/pooler.h"

namespace cairn::transfer {

Session::Session(const std::string& connection_string, std::string name)
    : connection_(PQconnectdb(connection_string.c_str())), name_(std::move(name)) {
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw Error(ErrorCode::kTemporarilyUnavailable, "cannot connect to " + name_ + " (" +
                                                        log::redact_url(connection_string) +
                                                        "): " + PQerrorMessage(connection_.get()));
  }
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char* notice) { log::debug("{}", notice); }, nullptr);
  db::require_session(connection_.get(), "a copy out of or into " + name_);
  // Doubles to the last bit, and text the same on both sides, whatever the databases are set to.
  run("SET client_encoding = 'UTF8'; SET extra_float_digits = 1; SET datestyle = 'ISO'; "
      "SET standard_conforming_strings = on; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
      "SET application_name = 'cairn transfer'");
}

void Session::fail(const PGresult* result) {
  std::string message = result != nullptr ? PQresultErrorMessage(result) : PQerrorMessage(connection_.get());
  while (message.ends_with('\n')) message.pop_back();
  const char* state = result != nullptr ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  const std::string_view sqlstate = state != nullptr ? state : "";
  ErrorCode code = ErrorCode::kInternalError;
  if (sqlstate.empty() || sqlstate.starts_with("08") || sqlstate.starts_with("57P"))
    code = ErrorCode::kTemporarilyUnavailable;
  else if (sqlstate == "42501")
    code = ErrorCode::kPermissionDenied;
  else if (sqlstate == "53100")
    code = ErrorCode::kInsufficientStorage;
  throw Error(code, name_ + ": " + message);
}

Session::Result Session::run(const std::string& sql) {
  const ResultSet set(PQexec(connection_.get(), sql.c_str()));
  const ExecStatusType status = PQresultStatus(set.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail(set.get());
  Result result;
  result.affected = std::strtoll(PQcmdTuples(set.get()), nullptr, 10);
  for (int row = 0; row < PQntuples(set.get()); ++row) {
    std::vector<std::string>& values = result.rows.emplace_back();
    for (int column = 0; column < PQnfields(set.get()); ++column)
      values.emplace_back(PQgetvalue(set.get(), row, column));
  }
  return result;
}

std::string Session::value(const std::string& sql) {
  const Result result = run(sql);
  return result.rows.empty() ? "" : result.rows[0][0];
}

int64_t Session::integer(const std::string& sql) { return std::strtoll(value(sql).c_str(), nullptr, 10); }

std::string Session::literal(const std::string& text) {
  const std::unique_ptr<char, Free> quoted(PQescapeLiteral(connection_.get(), text.data(), text.size()));
  if (quoted == nullptr) fail(nullptr);
  return quoted.get();
}

void Session::begin_copy(const std::string& sql, ExecStatusType expected) {
  const ResultSet set(PQexec(connection_.get(), sql.c_str()));
  if (PQresultStatus(set.get()) != expected) fail(set.get());
}

void Session::end_copy() {
  while (const ResultSet set{PQgetResult(connection_.get())}) {
    if (PQresultStatus(set.get()) != PGRES_COMMAND_OK) fail(set.get());
  }
}

void Session::begin_reading(const std::string& query) { begin_copy("COPY (" + query + ") TO STDOUT", PGRES_COPY_OUT); }

std::string_view Session::next() {
  char* buffer = nullptr;
  const int length = PQgetCopyData(connection_.get(), &buffer, 0);
  row_.reset(buffer);
  if (length > 0) return {buffer, size_t(length)};
  if (length == -2) fail(nullptr);
  end_copy();
  return {};
}

void Session::begin_writing(const std::string& table) { begin_copy("COPY " + table + " FROM STDIN", PGRES_COPY_IN); }

void Session::write(std::string_view row) {
  if (PQputCopyData(connection_.get(), row.data(), int(row.size())) != 1) fail(nullptr);
}

void Session::end_writing() {
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) fail(nullptr);
  end_copy();
}

}  // namespace cairn::transfer
