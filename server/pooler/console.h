// PgBouncer's own console: a connection to the database `pgbouncer`, which takes SHOW and such alone.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <vector>

namespace cairn::pooler {

class Console {
 public:
  using Row = std::vector<std::string>;
  struct Table {
    Row columns;
    std::vector<Row> rows;
    std::string cell(const Row& row, const std::string& column) const;
  };

  // Where pgbouncer.ini says. Throws Error(kTemporarilyUnavailable).
  explicit Console(const std::string& ini);
  Table show(const char* what) const;

  // Whether it takes connections; `failure` says why it does not.
  static bool answers(const std::string& ini, std::string& failure);

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

}  // namespace cairn::pooler
