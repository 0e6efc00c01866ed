// A blocking session for commands that administer a cluster: statements one after the other, values as text.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cairn::cluster {

class Session {
 public:
  using Row = std::vector<std::optional<std::string>>;

  // Throws Error(kTemporarilyUnavailable).
  explicit Session(const std::string& connection_string);

  // Throws Error(kInternalError) with PostgreSQL's words.
  std::vector<Row> query(const std::string& sql, const std::vector<std::string>& parameters = {});
  // The first column of the first row, which must be there; "" for NULL.
  std::string value(const std::string& sql, const std::vector<std::string>& parameters = {});
  // For commands that take no parameters.
  std::string literal(const std::string& text);
  std::string identifier(const std::string& name);

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace cairn::cluster
