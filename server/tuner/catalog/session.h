// A session on a clone, for statements of which nothing is known: results as text, any number of rows without keeping
// them, a cancel at Ctrl-C. Elsewhere the program speaks through db::Connection, whose results are typed.
//
// Blocking, on the caller's thread. While an Interrupts lives, SIGINT, SIGTERM and SIGHUP cancel the statement under
// way (of the session that runs one), and every call after that throws Error(kAborted): so that what was made is
// removed on the way out.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "db/statement.h"

namespace cairn::tuner {

using Value = std::optional<std::string>;  // as text; absent: NULL
using Values = std::vector<Value>;

class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Throws when a signal came.
  static void check();

  // While one lives, what is under way is not cancelled: it removes what was made.
  class Hold {
   public:
    Hold();
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
  };
};

struct RunResult {
  double ms = 0;  // from sending it to having its last row
  int64_t rows = 0;
  // Of all rows, whatever their order; only when it was asked for.
  uint64_t hash = 0;
};

class Session {
 public:
  // Throws DbError.
  explicit Session(const std::string& connection_string);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // One statement, its result as rows of text. Throws DbError.
  std::vector<Values> query(const std::string& sql, const Values& parameters = {});
  // Any number of statements, of this program's own making.
  void execute(const std::string& sql);
  // One statement, whose rows are counted and forgotten.
  RunResult run(const std::string& sql, const Values& parameters, bool hashed);
  // COPY … TO STDOUT of this session into COPY … FROM STDIN of the other one; the number of rows. Throws DbError.
  int64_t copy_to(const std::string& out, Session& other, const std::string& in);
  // What PostgreSQL takes the placeholders for: the names of types, as format_type() has them.
  std::vector<std::string> parameter_types(const std::string& sql);

  bool broken() const { return PQstatus(connection_.get()) != CONNECTION_OK; }
  // That it was let in with; empty: none was asked for.
  std::string password() const;
  int version() const { return PQserverVersion(connection_.get()); }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  void send(const std::string& sql, const Values& parameters);
  void drain(PGresult* failed);
  void begin_copy(const std::string& sql, ExecStatusType wanted);
  int64_t end_copy();
  [[noreturn]] void fail(const PGresult* result);

  std::unique_ptr<PGconn, Finish> connection_;
  PGcancel* cancel_ = nullptr;
};

// A connection string like the other one, to another database of its server (or with other words of libpq's).
std::string with_options(const std::string& connection_string,
                         const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace cairn::tuner
