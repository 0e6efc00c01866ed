// A blocking connection to PostgreSQL, for COPY: these commands are no part of the server, so nothing waits for them.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::transfer {

class Session {
 public:
  // `name` is how errors call the database: "MLflow's database".
  Session(const std::string& connection_string, std::string name);

  struct Result {
    std::vector<std::vector<std::string>> rows;  // NULL is ""
    int64_t affected = 0;
  };
  // Statements without parameters; the result of the last one.
  Result run(const std::string& sql);
  // The first column of the first row.
  std::string value(const std::string& sql);
  int64_t integer(const std::string& sql);
  // The text as an SQL literal.
  std::string literal(const std::string& text);

  // COPY … TO STDOUT. next() gives a row in COPY's text format, valid until it is called again; empty at the end.
  void begin_reading(const std::string& query);
  std::string_view next();
  // COPY table FROM STDIN, row by row as next() gave them.
  void begin_writing(const std::string& table);
  void write(std::string_view row);
  void end_writing();

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  struct Free {
    void operator()(char* buffer) const { PQfreemem(buffer); }
  };
  using ResultSet = std::unique_ptr<PGresult, Clear>;
  [[noreturn]] void fail(const PGresult* result);
  void begin_copy(const std::string& sql, ExecStatusType expected);
  void end_copy();

  std::unique_ptr<PGconn, Finish> connection_;
  std::string name_;
  std::unique_ptr<char, Free> row_;
};

}  // namespace cairn::transfer
