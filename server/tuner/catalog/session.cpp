#include "tuner/catalog/session.h"

#include <openssl/evp.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace cairn::tuner {
namespace {

// Read by a signal handler.
std::atomic<PGcancel*> running{nullptr};
volatile sig_atomic_t interrupted = 0;
volatile sig_atomic_t holds = 0;
constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
std::array<struct sigaction, kSignals.size()> before{};

void on_signal(int) {
  interrupted = 1;
  if (holds > 0) return;
  char message[256];
  if (PGcancel* cancel = running.load()) PQcancel(cancel, message, sizeof message);  // made for handlers
}

// Marks the session whose statement a signal cancels.
class Running {
 public:
  explicit Running(PGcancel* cancel) { running = cancel; }
  ~Running() { running = nullptr; }
};

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

struct FinishDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// A row as a number: equal rows are equal, and the sum over rows does not depend on their order.
class RowHash {
 public:
  RowHash() : context_(EVP_MD_CTX_new()) {}
  uint64_t of(const PGresult* result, int row) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
    for (int column = 0; column < PQnfields(result); ++column) {
      const bool null = PQgetisnull(result, row, column) != 0;
      const int32_t length = null ? -1 : PQgetlength(result, row, column);
      EVP_DigestUpdate(context_.get(), &length, sizeof length);
      if (!null) EVP_DigestUpdate(context_.get(), PQgetvalue(result, row, column), static_cast<size_t>(length));
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(context_.get(), digest, nullptr);
    uint64_t number = 0;
    memcpy(&number, digest, sizeof number);
    return number;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, FinishDigest> context_;
};

constexpr const char* kTypeName = "/* cairn tune */ SELECT format_type($1::int8::oid, NULL)";

}  // namespace

Interrupts::Interrupts() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before[i]);
}

Interrupts::~Interrupts() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  interrupted = 0;
}

Interrupts::Hold::Hold() { holds = holds + 1; }
Interrupts::Hold::~Hold() { holds = holds - 1; }

void Interrupts::check() {
  if (interrupted != 0 && holds == 0)
    throw Error(ErrorCode::kAborted, "interrupted: what was made for the proof is removed");
}

Session::Session(const std::string& connection_string) {
  const char* names[] = {"connect_timeout", "fallback_application_name", "client_encoding", "dbname", nullptr};
  const char* values[] = {"10", "cairn tune", "UTF8", connection_string.c_str(), nullptr};
  connection_.reset(PQconnectdbParams(names, values, 1));
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw db::DbError("08001", PQerrorMessage(connection_.get()), "connect");
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  cancel_ = PQgetCancel(connection_.get());
}

Session::~Session() {
  if (cancel_ != nullptr) PQfreeCancel(cancel_);
}

std::string Session::password() const {
  const char* password = PQpass(connection_.get());
  return password == nullptr ? "" : password;
}

void Session::fail(const PGresult* result) {
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string message = primary != nullptr ? primary : PQerrorMessage(connection_.get());
  while (message.ends_with('\n')) message.pop_back();
  throw db::DbError(state != nullptr ? state : "08006", message, "");
}

void Session::send(const std::string& sql, const Values& parameters) {
  Interrupts::check();
  std::vector<const char*> values;
  for (const Value& value : parameters) values.push_back(value ? value->c_str() : nullptr);
  if (PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                        nullptr, nullptr, 0) == 0)
    fail(nullptr);
}

// Reads what is left of a statement that failed, then throws.
void Session::drain(PGresult* failed) {
  const Result owner(failed);
  while (PGresult* rest = PQgetResult(connection_.get())) PQclear(rest);
  Interrupts::check();
  fail(failed);
}

std::vector<Values> Session::query(const std::string& sql, const Values& parameters) {
  const Running mark(cancel_);
  send(sql, parameters);
  std::vector<Values> rows;
  while (PGresult* got = PQgetResult(connection_.get())) {
    const ExecStatusType status = PQresultStatus(got);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) drain(got);
    const Result owner(got);
    for (int row = 0; row < PQntuples(got); ++row) {
      Values& values = rows.emplace_back();
      for (int column = 0; column < PQnfields(got); ++column)
        values.push_back(PQgetisnull(got, row, column) != 0 ? Value() : Value(PQgetvalue(got, row, column)));
    }
  }
  return rows;
}

void Session::execute(const std::string& sql) {
  const Running mark(cancel_);
  Interrupts::check();
  if (PQsendQuery(connection_.get(), sql.c_str()) == 0) fail(nullptr);
  while (PGresult* got = PQgetResult(connection_.get())) {
    const ExecStatusType status = PQresultStatus(got);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) drain(got);
    PQclear(got);
  }
}

RunResult Session::run(const std::string& sql, const Values& parameters, bool hashed) {
  const Running mark(cancel_);
  RunResult run;
  RowHash hash;
  const auto begun = std::chrono::steady_clock::now();
  send(sql, parameters);
  PQsetSingleRowMode(connection_.get());
  while (PGresult* got = PQgetResult(connection_.get())) {
    const ExecStatusType status = PQresultStatus(got);
    if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
        status != PGRES_EMPTY_QUERY)
      drain(got);
    const Result owner(got);
    for (int row = 0; row < PQntuples(got); ++row) {
      ++run.rows;
      if (hashed) run.hash += hash.of(got, row);
    }
    if (status == PGRES_COMMAND_OK) run.rows += std::atoll(PQcmdTuples(got));
  }
  run.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
  return run;
}

void Session::begin_copy(const std::string& sql, ExecStatusType wanted) {
  Interrupts::check();
  PGresult* got = PQexec(connection_.get(), sql.c_str());
  if (PQresultStatus(got) != wanted) drain(got);
  PQclear(got);
}

int64_t Session::end_copy() {
  int64_t rows = 0;
  while (PGresult* got = PQgetResult(connection_.get())) {
    if (PQresultStatus(got) != PGRES_COMMAND_OK) drain(got);
    rows = std::atoll(PQcmdTuples(got));
    PQclear(got);
  }
  return rows;
}

int64_t Session::copy_to(const std::string& out, Session& other, const std::string& in) {
  const Running mark(cancel_);
  other.begin_copy(in, PGRES_COPY_IN);
  try {
    begin_copy(out, PGRES_COPY_OUT);
    char* line = nullptr;
    int length = 0;
    while ((length = PQgetCopyData(connection_.get(), &line, 0)) > 0) {
      const std::unique_ptr<char, decltype(&PQfreemem)> owner(line, PQfreemem);
      // What the other one refuses, it says at the end.
      if (PQputCopyData(other.connection_.get(), line, length) != 1) other.fail(nullptr);
    }
    end_copy();
  } catch (const db::DbError&) {
    PQputCopyEnd(other.connection_.get(), "its source failed");
    while (PGresult* rest = PQgetResult(other.connection_.get())) PQclear(rest);
    throw;
  }
  if (PQputCopyEnd(other.connection_.get(), nullptr) != 1) other.fail(nullptr);
  return other.end_copy();
}

std::vector<std::string> Session::parameter_types(const std::string& sql) {
  const Running mark(cancel_);
  Interrupts::check();
  Result prepared(PQprepare(connection_.get(), "", sql.c_str(), 0, nullptr));
  if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) fail(prepared.get());
  const Result described(PQdescribePrepared(connection_.get(), ""));
  if (PQresultStatus(described.get()) != PGRES_COMMAND_OK) fail(described.get());
  std::vector<std::string> types;
  for (int i = 0; i < PQnparams(described.get()); ++i)
    types.push_back(query(kTypeName, {std::to_string(PQparamtype(described.get(), i))}).at(0).at(0).value_or(""));
  return types;
}

std::string with_options(const std::string& connection_string,
                         const std::vector<std::pair<std::string, std::string>>& options) {
  char* message = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(connection_string.c_str(), &message);
  if (parsed == nullptr) {
    const std::string reason = message == nullptr ? "out of memory" : message;
    PQfreemem(message);
    throw invalid("the connection string cannot be read: " + reason);
  }
  std::string made;
  const auto add = [&](const std::string& name, const std::string& value) {
    made += (made.empty() ? "" : " ") + name + "='";
    for (const char c : value) {
      if (c == '\'' || c == '\\') made += '\\';
      made += c;
    }
    made += "'";
  };
  for (const PQconninfoOption* option = parsed; option->keyword != nullptr; ++option) {
    const auto replaces = [&](const auto& wanted) { return wanted.first == option->keyword; };
    if (option->val != nullptr && std::none_of(options.begin(), options.end(), replaces))
      add(option->keyword, option->val);
  }
  PQconninfoFree(parsed);
  for (const auto& [name, value] : options) add(name, value);
  return made;
}

}  // namespace cairn::tuner
