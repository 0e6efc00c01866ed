#include "db/connection.h"

#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "base/log.h"
#include "db/socket.h"
#include "db/statement_times.h"

namespace cairn::db {

struct Connection::Socket : db::Socket {
  using db::Socket::Socket;
  // A pooler stands at the other end (db/pooler.h): a statement that was prepared may not be there the next time.
  bool pooled = false;
};

// Cancels the wait for a connection that takes too long: libpq's own time-out is not for PQconnectPoll.
class Connection::Watchdog {
 public:
  Watchdog(Connection& connection, std::chrono::seconds patience) : timer_(Reactor::current().io(), patience) {
    if (patience.count() <= 0) return;
    timer_.async_wait([state = state_, &connection](const boost::system::error_code& ec) {
      if (ec || state->over) return;
      state->late = true;
      if (connection.socket_) connection.socket_->descriptor.cancel();
    });
  }
  // The handler may be on its way already.
  ~Watchdog() { state_->over = true; }
  bool late() const { return state_->late; }

 private:
  struct State {
    bool over = false;
    bool late = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  boost::asio::steady_timer timer_;
};

namespace {

DbError result_error(const PGresult* result, std::string statement) {
  const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char* detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
  std::string message = primary ? primary : PQresultErrorMessage(result);
  if (detail) message += std::string(" (") + detail + ")";
  return DbError(sqlstate ? sqlstate : "08006", message, std::move(statement));
}

// Zero: for ever.
std::chrono::seconds connect_timeout(PGconn* connection) {
  int seconds = 0;
  PQconninfoOption* options = PQconninfo(connection);
  for (PQconninfoOption* option = options; option != nullptr && option->keyword != nullptr; ++option) {
    if (std::string_view(option->keyword) == "connect_timeout" && option->val != nullptr) seconds = atoi(option->val);
  }
  PQconninfoFree(options);
  return std::chrono::seconds(seconds);
}

void on_notice(void*, const PGresult* result) { log::debug("PostgreSQL: {}", PQresultErrorMessage(result)); }

}  // namespace

StatementTimes& statement_times() {
  thread_local StatementTimes times;
  return times;
}

DbError disk_full(std::string statement) {
  return DbError("53100", "the disk is full: nothing is written until there is room", std::move(statement));
}

Connection::Connection(PGconn* connection) : connection_(connection) {}

Connection::~Connection() {
  socket_.reset();
  PQfinish(connection_);
}

task<std::unique_ptr<Connection>> Connection::connect(const std::string& connection_string) {
  // What the connection string says of these wins. A host that is gone without a word is found out within a minute.
  const char* names[] = {"connect_timeout",
                         "keepalives_idle",
                         "keepalives_interval",
                         "keepalives_count",
                         "tcp_user_timeout",
                         "fallback_application_name",
                         "dbname",
                         nullptr};
  const char* values[] = {"10", "30", "10", "3", "30000", "cairn", connection_string.c_str(), nullptr};
  std::unique_ptr<Connection> self(new Connection(PQconnectStartParams(names, values, 1)));
  co_await self->finish_connect();
  co_return self;
}

task<> Connection::finish_connect() {
  if (connection_ == nullptr) throw DbError("08001", "out of memory", "connect");
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  const Watchdog watchdog(*this, connect_timeout(connection_));
  while (!watchdog.late() && PQstatus(connection_) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
         state != PGRES_POLLING_FAILED) {
    // libpq may open a new socket for each address it tries.
    socket_ = std::make_unique<Socket>(PQsocket(connection_));
    if (state == PGRES_POLLING_READING) {
      co_await socket_->readable();
    } else {
      co_await socket_->writable();
    }
    socket_.reset();
    if (!watchdog.late()) state = PQconnectPoll(connection_);
  }
  if (watchdog.late()) throw DbError("08001", "no answer to the attempt to connect within connect_timeout", "connect");
  if (PQstatus(connection_) != CONNECTION_OK) {
    const std::string message = PQerrorMessage(connection_);
    throw DbError("08001", message, "connect");
  }
  PQsetNoticeReceiver(connection_, on_notice, nullptr);
  socket_ = std::make_unique<Socket>(PQsocket(connection_));
  if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) != 1) fail("connect");
  // Marked as the tuner's own statements are, which its profile leaves out.
  static constexpr Statement kBackend{"", "/* cairn tune */ SELECT pg_backend_pid()"};
  const Rows backend = co_await query(kBackend);
  socket_->pooled = backend.integer(0, 0) != PQbackendPID(connection_);
}

bool Connection::in_transaction() const { return PQtransactionStatus(connection_) != PQTRANS_IDLE; }

void Connection::fail(const std::string& statement) {
  broken_ = true;
  throw DbError("08006", PQerrorMessage(connection_), statement);
}

// Appends one step for each message that will have a result: the name that it prepares, or "" for an execution.
void Connection::send(const Query& query, std::vector<std::string_view>& steps) {
  const Params& p = query.params;
  const int count = static_cast<int>(p.types_.size());
  std::vector<const char*> values(count);
  std::vector<int> formats(count, 1);
  for (int i = 0; i < count; ++i) {
    values[i] = p.offsets_[i] == Params::kNull ? nullptr : p.bytes_.data() + p.offsets_[i];
  }
  const std::string sql(query.statement.sql);
  if (query.statement.name.empty() || socket_->pooled) {
    if (!PQsendQueryParams(connection_, sql.c_str(), count, p.types_.data(), values.data(), p.lengths_.data(),
                           formats.data(), 1)) {
      fail("");
    }
    steps.emplace_back();
    return;
  }
  const std::string name(query.statement.name);
  if (prepared_.insert(query.statement.name).second) {
    if (!PQsendPrepare(connection_, name.c_str(), sql.c_str(), count, p.types_.data())) fail(name);
    steps.push_back(query.statement.name);
  }
  if (!PQsendQueryPrepared(connection_, name.c_str(), count, values.data(), p.lengths_.data(), formats.data(), 1)) {
    fail(name);
  }
  steps.emplace_back();
}

task<> Connection::flush() {
  for (;;) {
    const int state = PQflush(connection_);
    if (state == 0) co_return;
    if (state < 0) fail("");
    // While PostgreSQL sends results it may not read: take what it has, or both sides would wait for ever.
    co_await socket_->ready();
    if (!PQconsumeInput(connection_)) fail("");
  }
}

task<PGresult*> Connection::next_result() {
  while (PQisBusy(connection_)) {
    co_await socket_->readable();
    if (!PQconsumeInput(connection_)) fail("");
  }
  co_return PQgetResult(connection_);
}

task<std::vector<Rows>> Connection::run(std::vector<Query> queries) {
  if (broken_) throw DbError("08003", "the connection is closed", "");
  std::vector<std::string_view> steps;
  for (const Query& query : queries) send(query, steps);
  if (PQpipelineSync(connection_) != 1) fail("");
  auto since = std::chrono::steady_clock::now();
  co_await flush();

  std::vector<Rows> results;
  results.reserve(queries.size());
  std::optional<DbError> error;
  size_t step = 0;
  for (;;) {
    PGresult* result = nullptr;
    try {
      result = co_await next_result();
    } catch (const DbError&) {
      // PostgreSQL's last word before it closed the connection says more than that it did.
      if (!error) throw;
      break;
    }
    if (result == nullptr) {  // the end of one step's results
      if (PQstatus(connection_) == CONNECTION_BAD) fail("");
      continue;
    }
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(result);
      break;
    }
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
      if (steps[step++].empty()) {
        const auto now = std::chrono::steady_clock::now();
        if (std::string_view(PQcmdStatus(result)) != "BEGIN")  // takes no time, and would hide what does
          statement_times().add(std::chrono::duration<double, std::milli>(now - since).count());
        since = now;
        results.emplace_back(result);
      } else {
        PQclear(result);
      }
      continue;
    }
    if (status != PGRES_PIPELINE_ABORTED && !error) {
      // Past the last one it is the commit's: a deferred constraint's, or that the session was ended.
      const bool of_commit = results.size() == queries.size();
      error = result_error(result, of_commit ? "commit" : std::string(queries[results.size()].statement.name));
      if (read_only_ && error->sqlstate() == "25006") {
        error = disk_full(error->statement());
      }
    }
    PQclear(result);
    if (PQstatus(connection_) == CONNECTION_BAD) break;
  }
  if (error) {
    if (error->sqlstate().starts_with("08") || PQstatus(connection_) == CONNECTION_BAD) broken_ = true;
    for (; step < steps.size(); ++step) prepared_.erase(steps[step]);  // what was not reached was not prepared
    throw *error;
  }
  if (PQstatus(connection_) == CONNECTION_BAD) fail("");
  co_return results;
}

task<> Connection::set_read_only(bool read_only) {
  static constexpr Statement kReadOnly{"read_only", "SET default_transaction_read_only = on"};
  static constexpr Statement kReadWrite{"read_write", "SET default_transaction_read_only = off"};
  co_await query(read_only ? kReadOnly : kReadWrite);
  read_only_ = read_only;
}

bool Connection::alive() {
  // Twice: the first may read a farewell, the second then finds the end.
  if (broken_ || !PQconsumeInput(connection_) || !PQconsumeInput(connection_) ||
      PQstatus(connection_) == CONNECTION_BAD)
    broken_ = true;
  return !broken_;
}

task<Rows> Connection::query(Statement statement, Params params) {
  std::vector<Query> queries;
  queries.push_back({statement, std::move(params)});
  auto results = co_await run(std::move(queries));
  co_return std::move(results.front());
}

}  // namespace cairn::db
