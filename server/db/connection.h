// One connection to PostgreSQL, in libpq's pipeline mode, driven by the reactor.
//
// Not thread-safe; one coroutine uses it at a time (the pool sees to that). After an error of class 08, or any failure
// to read or write, it is broken: the pool replaces it.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/task.h"
#include "db/statement.h"

namespace cairn::db {

struct Query {
  Statement statement;
  Params params;
};

// What a write gets while connections are lent for reading only.
DbError disk_full(std::string statement);

class Connection {
 public:
  // Connects with a libpq connection string or URL. Throws DbError.
  static task<std::unique_ptr<Connection>> connect(const std::string& connection_string);
  ~Connection();

  // Sends all queries with one Sync and gives their results in order. They run in one implicit transaction unless they
  // hold BEGIN or COMMIT. The first error discards the rest and is thrown as DbError.
  task<std::vector<Rows>> run(std::vector<Query> queries);
  task<Rows> query(Statement statement, Params params = {});

  bool broken() const { return broken_; }
  // Looks, without waiting, whether PostgreSQL has closed an idle connection.
  bool alive();
  // Whether its transactions may write. What is refused for that reason gets kInsufficientStorage.
  task<> set_read_only(bool read_only);
  bool read_only() const { return read_only_; }
  // Inside a transaction block, failed or not.
  bool in_transaction() const;

 private:
  struct Socket;
  class Watchdog;
  explicit Connection(PGconn* connection);
  task<> finish_connect();
  void send(const Query& query, std::vector<std::string_view>& steps);
  task<> flush();
  task<PGresult*> next_result();
  [[noreturn]] void fail(const std::string& statement);

  PGconn* connection_;
  std::unique_ptr<Socket> socket_;
  std::unordered_set<std::string_view> prepared_;
  bool broken_ = false;
  bool read_only_ = false;
};

}  // namespace cairn::db
