// A connection to PostgreSQL for bulk data: statements one after the other, and COPY in and out, driven by the reactor.
//
// It is not of the pool: a stream lasts as long as its peer reads, and must not keep others from their connections. Its
// callers bound how many there are. Not thread-safe. What is not committed when it is destroyed is rolled back.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "db/statement.h"

namespace cairn::db {

class CopySession {
 public:
  // Texts for $1, $2, …
  using Texts = std::vector<std::optional<std::string>>;
  struct Column {
    std::string name;
    std::string type;  // as format_type() writes it
  };

  // In UTC. Throws DbError, here and below; the message of a COPY's says the line.
  static task<std::unique_ptr<CopySession>> connect(std::string connection_string);
  ~CopySession();

  task<Rows> query(std::string sql, Texts parameters = {});
  // The columns of what must be one statement without parameters; it is not run.
  task<std::vector<Column>> describe(std::string sql);

  task<> begin_reading(std::string copy_to_stdout);
  // Some rows, nothing at the end.
  task<std::optional<std::string>> read();
  // How many they were, known at the end.
  int64_t rows_read() const { return rows_; }

  task<> begin_writing(std::string copy_from_stdin);
  task<> write(std::string_view bytes);
  // Gives the number of rows.
  task<int64_t> end_writing();

 private:
  struct Socket;
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  using Result = std::unique_ptr<PGresult, Clear>;

  explicit CopySession(PGconn* connection);
  task<> flush();
  task<Result> next_result();
  // The last result; throws where one is an error.
  task<Result> finish();
  task<> begin_copy(std::string sql, ExecStatusType expected);
  [[noreturn]] void fail(const char* what);

  PGconn* connection_;
  std::unique_ptr<Socket> socket_;
  bool ended_ = false;  // the rows of a COPY to us
  int64_t rows_ = 0;
};

}  // namespace cairn::db
