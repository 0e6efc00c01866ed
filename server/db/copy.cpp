#include "db/copy.h"

#include <charconv>

#include "base/log.h"
#include "db/pooler.h"
#include "db/socket.h"

namespace cairn::db {
namespace {

constexpr size_t kPiece = 64u << 10;
constexpr const char* kBackend = "SELECT pg_backend_pid()";
// A statement whose caller has gone ends soon; and values have one text, whatever the database's settings are. A SELECT
// of hundreds of features would be compiled for as long as it runs.
constexpr const char* kSettings =
    "SELECT set_config('client_connection_check_interval', '5s', false), set_config('TimeZone', 'UTC', false),"
    " set_config('DateStyle', 'ISO', false), set_config('IntervalStyle', 'postgres', false),"
    " set_config('extra_float_digits', '1', false), set_config('bytea_output', 'hex', false), set_config('jit', 'off', "
    "false),"
    " set_config('temp_buffers', '64MB', false)";

DbError result_error(const PGresult* result) {
  const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string message = primary ? primary : PQresultErrorMessage(result);
  for (const int field : {PG_DIAG_MESSAGE_DETAIL, PG_DIAG_CONTEXT}) {
    if (const char* more = PQresultErrorField(result, field)) message += std::string(" (") + more + ")";
  }
  return DbError(sqlstate ? sqlstate : "08006", message, "");
}

int64_t row_count(PGresult* result) {
  const std::string_view count = PQcmdTuples(result);
  int64_t rows = 0;
  std::from_chars(count.data(), count.data() + count.size(), rows);
  return rows;
}

void on_notice(void*, const PGresult* result) { log::debug("PostgreSQL: {}", PQresultErrorMessage(result)); }

PGconn* connect_blocking(const std::string& connection_string) {
  const char* names[] = {"connect_timeout", "keepalives_idle", "fallback_application_name", "dbname", nullptr};
  const char* values[] = {"10", "30", "cairn copy", connection_string.c_str(), nullptr};
  return PQconnectdbParams(names, values, 1);
}

}  // namespace

struct CopySession::Socket : db::Socket {
  using db::Socket::Socket;
};

CopySession::CopySession(PGconn* connection) : connection_(connection) {}

CopySession::~CopySession() {
  socket_.reset();
  PQfinish(connection_);
}

task<std::unique_ptr<CopySession>> CopySession::connect(std::string connection_string) {
  auto connecting = [&connection_string] { return connect_blocking(connection_string); };
  auto offloaded = offload(connecting);
  std::unique_ptr<CopySession> self(new CopySession(co_await offloaded));
  if (PQstatus(self->connection_) != CONNECTION_OK)
    throw DbError("08001", PQerrorMessage(self->connection_), "connect");
  PQsetNoticeReceiver(self->connection_, on_notice, nullptr);
  PQsetnonblocking(self->connection_, 1);
  self->socket_ = std::make_unique<Socket>(PQsocket(self->connection_));
  const Rows backend = co_await self->query(kBackend);
  if (backend.integer(0, 0) != PQbackendPID(self->connection_)) throw needs_session("what copies rows in bulk");
  co_await self->query(kSettings);
  co_return self;
}

void CopySession::fail(const char* what) { throw DbError("08006", PQerrorMessage(connection_), what); }

task<> CopySession::flush() {
  for (;;) {
    const int state = PQflush(connection_);
    if (state == 0) co_return;
    if (state < 0) fail("send");
    // While PostgreSQL sends an answer it may not read: take what it has, or both sides would wait for ever.
    co_await socket_->ready();
    if (!PQconsumeInput(connection_)) fail("send");
  }
}

task<CopySession::Result> CopySession::next_result() {
  while (PQisBusy(connection_)) {
    co_await socket_->readable();
    if (!PQconsumeInput(connection_)) fail("receive");
  }
  co_return Result(PQgetResult(connection_));
}

task<CopySession::Result> CopySession::finish() {
  Result last;
  std::optional<DbError> error;
  for (;;) {
    Result result = co_await next_result();
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_FATAL_ERROR && !error) error = result_error(result.get());
    // Neither copy was asked for: end it, or it would be given for ever.
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) fail("unexpected COPY");
    last = std::move(result);
  }
  if (error) throw *error;
  if (PQstatus(connection_) == CONNECTION_BAD) fail("receive");
  co_return last;
}

task<Rows> CopySession::query(std::string sql, Texts parameters) {
  std::vector<const char*> values;
  for (const auto& text : parameters) values.push_back(text ? text->c_str() : nullptr);
  if (!PQsendQueryParams(connection_, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                         nullptr, 1))
    fail("send");
  co_await flush();
  Result result = co_await finish();
  co_return Rows(result.release());
}

task<std::vector<CopySession::Column>> CopySession::describe(std::string sql) {
  if (!PQsendPrepare(connection_, "", sql.c_str(), 0, nullptr)) fail("send");
  co_await flush();
  co_await finish();
  if (!PQsendDescribePrepared(connection_, "")) fail("send");
  co_await flush();
  const Result described = co_await finish();
  std::vector<Column> columns;
  std::string types = "{", modifiers = "{";
  for (int i = 0; i < PQnfields(described.get()); ++i) {
    columns.push_back({PQfname(described.get(), i), ""});
    types += (i > 0 ? "," : "") + std::to_string(PQftype(described.get(), i));
    modifiers += (i > 0 ? "," : "") + std::to_string(PQfmod(described.get(), i));
  }
  Texts parameters;
  parameters.emplace_back(types + "}");
  parameters.emplace_back(modifiers + "}");
  const Rows names = co_await query(
      "SELECT pg_catalog.format_type(t, m) FROM unnest($1::oid[], $2::int[]) WITH ORDINALITY u (t, m, n)"
      " ORDER BY n",
      std::move(parameters));
  for (int i = 0; i < names.size(); ++i) columns[static_cast<size_t>(i)].type = names.text(i, 0);
  co_return columns;
}

task<> CopySession::begin_copy(std::string sql, ExecStatusType expected) {
  if (!PQsendQuery(connection_, sql.c_str())) fail("send");
  co_await flush();
  const Result result = co_await next_result();
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == expected) co_return;
  if (status != PGRES_FATAL_ERROR) fail("COPY");
  const DbError error = result_error(result.get());
  try {
    co_await finish();
  } catch (const DbError&) {
    // the first says what it was
  }
  throw error;
}

task<> CopySession::begin_reading(std::string copy_to_stdout) {
  ended_ = false;
  co_await begin_copy(std::move(copy_to_stdout), PGRES_COPY_OUT);
}

task<std::optional<std::string>> CopySession::read() {
  std::string piece;
  while (!ended_) {
    char* row = nullptr;
    const int length = PQgetCopyData(connection_, &row, 1);
    if (length > 0) {
      piece.append(row, static_cast<size_t>(length));
      PQfreemem(row);
      if (piece.size() >= kPiece) co_return piece;
    } else if (length == 0) {
      co_await socket_->readable();
      if (!PQconsumeInput(connection_)) fail("receive");
    } else {
      if (length == -2) fail("receive");
      ended_ = true;
    }
  }
  if (!piece.empty()) co_return piece;
  const Result result = co_await finish();
  rows_ = row_count(result.get());
  co_return std::nullopt;
}

task<> CopySession::begin_writing(std::string copy_from_stdin) {
  co_await begin_copy(std::move(copy_from_stdin), PGRES_COPY_IN);
}

task<> CopySession::write(std::string_view bytes) {
  if (bytes.empty()) co_return;
  for (;;) {
    const int queued = PQputCopyData(connection_, bytes.data(), static_cast<int>(bytes.size()));
    if (queued < 0) fail("send");
    co_await flush();
    if (queued > 0) co_return;
  }
}

task<int64_t> CopySession::end_writing() {
  int queued = 0;
  while ((queued = PQputCopyEnd(connection_, nullptr)) == 0) co_await flush();
  if (queued < 0) fail("send");
  co_await flush();
  const Result result = co_await finish();
  co_return row_count(result.get());
}

}  // namespace cairn::db
