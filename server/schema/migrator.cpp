#include "schema/migrator.h"

#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <ostream>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "db/pooler.h"

namespace cairn::schema {
namespace {

constexpr const char* kTableExists = "SELECT to_regclass('cairn.migrations') IS NOT NULL";
constexpr const char* kCreateTable = R"(CREATE SCHEMA IF NOT EXISTS cairn;
CREATE TABLE IF NOT EXISTS cairn.migrations (
  lineage text NOT NULL,
  number integer NOT NULL CHECK (number > 0),
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  applied_by text NOT NULL DEFAULT current_user,
  PRIMARY KEY (lineage, number)
);
COMMENT ON TABLE cairn.migrations IS 'The steps of the schema that are applied; written by cairn migrate.';
)";
constexpr const char* kReadApplied = R"(
SELECT number, name, checksum, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), applied_by
FROM cairn.migrations WHERE lineage = $1 ORDER BY number)";
// The number spells "cairn".
constexpr const char* kTryLock = "SELECT pg_try_advisory_lock(426836062830)";
constexpr auto kLockPoll = std::chrono::milliseconds(100);

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultSet = std::unique_ptr<PGresult, Clear>;

// " (line 3: CREATE TABEL x)" when PostgreSQL names a place in the statement.
std::string place_in(std::string_view sql, const PGresult* result) {
  const char* position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
  if (position == nullptr) return "";
  // The position counts characters, from 1.
  size_t at = 0;
  for (long left = strtol(position, nullptr, 10) - 1; left > 0 && at < sql.size(); --left) {
    ++at;
    while (at < sql.size() && (sql[at] & 0xC0) == 0x80) ++at;
  }
  const auto line = 1 + std::count(sql.begin(), sql.begin() + long(at), '\n');
  const size_t line_begin = at == 0 ? 0 : sql.rfind('\n', at - 1) + 1;
  return " (line " + std::to_string(line) + ": " +
         std::string(sql.substr(line_begin, sql.find('\n', at) - line_begin)) + ")";
}

int parse_count(const std::string& digits, const std::string& target) {
  if (digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != std::string::npos) {
    throw invalid("'" + target + "' names no step: give head, base, a number, or +n or -n steps");
  }
  return std::stoi(digits);
}

}  // namespace

struct Migrator::Applied {
  int number;
  std::string name;
  std::string checksum;
  std::string at;
  std::string by;
};

struct Migrator::Session {
  PGconn* connection;

  explicit Session(const std::string& connection_string) : connection(PQconnectdb(connection_string.c_str())) {
    if (PQstatus(connection) != CONNECTION_OK) {
      const std::string message = PQerrorMessage(connection);
      PQfinish(connection);
      throw Error(ErrorCode::kTemporarilyUnavailable, "cannot connect to the database: " + message);
    }
    PQsetNoticeProcessor(
        connection, [](void*, const char* notice) { log::debug("{}", notice); }, nullptr);
    execute("SET application_name = 'cairn migrate'");
  }
  ~Session() { PQfinish(connection); }

  bool ok(const ResultSet& result) const {
    const ExecStatusType status = PQresultStatus(result.get());
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
  }
  // One or several statements, without parameters.
  ResultSet execute(const std::string& sql) {
    ResultSet result(PQexec(connection, sql.c_str()));
    if (!ok(result)) {
      throw Error(ErrorCode::kInternalError,
                  PQresultErrorMessage(result.get()) + ("in: " + sql) + place_in(sql, result.get()));
    }
    return result;
  }
  std::string value(const char* sql) { return PQgetvalue(execute(sql).get(), 0, 0); }
  std::string literal(const std::string& text) {
    char* quoted = PQescapeLiteral(connection, text.data(), text.size());
    if (quoted == nullptr) throw invalid("the text '" + text + "' is not valid UTF-8");
    const std::string result = quoted;
    PQfreemem(quoted);
    return result;
  }
};

Migrator::Migrator(MigratorOptions options)
    : options_(std::move(options)), session_(std::make_unique<Session>(options_.connection_string)) {}
Migrator::~Migrator() = default;

const Migration* Migrator::find(int number) const {
  for (const Migration& migration : options_.migrations) {
    if (migration.number == number) return &migration;
  }
  return nullptr;
}

int Migrator::head() const { return options_.migrations.empty() ? 0 : options_.migrations.back().number; }

std::vector<Migrator::Applied> Migrator::read_applied() {
  if (session_->value(kTableExists) != "t") return {};
  const char* parameters[] = {options_.lineage.c_str()};
  ResultSet rows(PQexecParams(session_->connection, kReadApplied, 1, nullptr, parameters, nullptr, nullptr, 0));
  if (!session_->ok(rows)) {
    throw Error(ErrorCode::kInternalError,
                std::string("cannot read cairn.migrations: ") + PQresultErrorMessage(rows.get()));
  }
  std::vector<Applied> applied;
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    auto text = [&](int column) { return std::string(PQgetvalue(rows.get(), row, column)); };
    applied.push_back({std::stoi(text(0)), text(1), text(2), text(3), text(4)});
  }
  return applied;
}

std::vector<Migrator::Applied> Migrator::checked_applied() {
  std::vector<Applied> applied = read_applied();
  for (const Applied& row : applied) {
    const Migration* migration = find(row.number);
    if (migration == nullptr) {
      const std::string known = head() == 0 ? "no step at all" : "steps up to " + label(head(), find(head())->name);
      throw Error(ErrorCode::kResourceConflict,
                  "the database has the migration " + label(row.number, row.name) + ", but here are " + known +
                      ": the database is newer; use the version of Cairn that made it, or a newer one");
    }
    if (migration->name != row.name || checksum(*migration) != row.checksum) {
      throw Error(ErrorCode::kResourceConflict, "the migration " + label(migration->number, migration->name) +
                                                    " was edited after it was applied (as " +
                                                    label(row.number, row.name) + " on " + row.at +
                                                    "): restore its file, and put the change into a new migration");
    }
  }
  return applied;
}

// Asks again and again instead of waiting inside one statement: that would hold a snapshot, for which a CREATE INDEX
// CONCURRENTLY of the other migrator would wait in turn.
void Migrator::lock() {
  db::require_session(session_->connection, "cairn migrate");
  bool told = false;
  while (session_->value(kTryLock) != "t") {
    if (!told) options_.report("another migrator is at work on this database; waiting for it");
    told = true;
    std::this_thread::sleep_for(kLockPoll);
  }
}

void Migrator::prepare_bookkeeping() {
  const bool exists = session_->value(kTableExists) == "t";
  if (options_.print_sql != nullptr) {
    if (!exists) *options_.print_sql << kCreateTable << "\n";
    return;
  }
  lock();
  // Looked at again under the lock: another migrator may have made it meanwhile.
  if (session_->value(kTableExists) != "t") session_->execute(kCreateTable);
}

std::string Migrator::bookkeeping_sql(const Migration& migration, bool up) const {
  const std::string lineage = session_->literal(options_.lineage), number = std::to_string(migration.number);
  if (!up) return "DELETE FROM cairn.migrations WHERE lineage = " + lineage + " AND number = " + number;
  return "INSERT INTO cairn.migrations (lineage, number, name, checksum) VALUES (" + lineage + ", " + number + ", " +
         session_->literal(migration.name) + ", " + session_->literal(checksum(migration)) + ")";
}

void Migrator::print(const Migration& migration, bool up) {
  const std::string& script = up ? migration.up : migration.down;
  const bool transaction = !runs_without_transaction(script);
  *options_.print_sql << "-- " << (up ? "" : "takes back ") << label(migration.number, migration.name) << "\n"
                      << (transaction ? "BEGIN;\n" : "") << script << (script.ends_with('\n') ? "" : "\n")
                      << bookkeeping_sql(migration, up) << ";\n"
                      << (transaction ? "COMMIT;\n\n" : "\n");
}

void Migrator::run_script(const Migration& migration, bool up) {
  const std::string& script = up ? migration.up : migration.down;
  const std::string what =
      (up ? "the migration " : "taking back the migration ") + label(migration.number, migration.name);
  const bool transaction = !runs_without_transaction(script);
  const std::vector<std::string> parts = transaction ? std::vector<std::string>{script} : split_statements(script);
  for (const std::string& part : parts) {
    const ResultSet result(PQexec(session_->connection, part.c_str()));
    if (!session_->ok(result) && PQresultStatus(result.get()) != PGRES_EMPTY_QUERY) {
      const std::string message = PQresultErrorMessage(result.get()) + place_in(part, result.get());
      throw Error(ErrorCode::kInvalidState,
                  what + " failed: " + message +
                      (transaction ? "; nothing of it was kept"
                                   : "; it runs outside a transaction, so what came before in its "
                                     "script stays: clean up by hand, then run it again"));
    }
  }
  if (transaction && PQtransactionStatus(session_->connection) != PQTRANS_INTRANS) {
    throw Error(ErrorCode::kInvalidState,
                what +
                    " ends its own transaction: take COMMIT and ROLLBACK out of the script, or mark it "
                    "`-- cairn: no transaction`");
  }
}

void Migrator::apply(const Migration& migration, bool up) {
  const std::string& script = up ? migration.up : migration.down;
  const std::string name = label(migration.number, migration.name);
  if (!up && script.empty()) {
    throw Error(ErrorCode::kInvalidState, "the migration " + name + " cannot be taken back: it has no down.sql");
  }
  if (options_.print_sql != nullptr) return print(migration, up);
  const auto begun = std::chrono::steady_clock::now();
  const bool transaction = !runs_without_transaction(script);
  if (transaction) session_->execute("BEGIN");
  try {
    run_script(migration, up);
    session_->execute(bookkeeping_sql(migration, up));
    if (transaction) session_->execute("COMMIT");
  } catch (...) {
    ResultSet(PQexec(session_->connection, "ROLLBACK"));
    throw;
  }
  // A script may set what is meant for itself only.
  session_->execute("RESET ALL; SET application_name = 'cairn migrate'");
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  options_.report((up ? "applied " : "took back ") + name + " in " + std::to_string(ms) + " ms");
}

int Migrator::upgrade(const std::string& target) {
  prepare_bookkeeping();
  std::set<int> applied;
  for (const Applied& row : checked_applied()) applied.insert(row.number);
  std::vector<const Migration*> pending;
  for (const Migration& migration : options_.migrations) {
    if (!applied.contains(migration.number)) pending.push_back(&migration);
  }
  if (target.starts_with('+')) {
    pending.resize(std::min(pending.size(), size_t(parse_count(target.substr(1), target))));
  } else if (target != "head") {
    const int number = parse_count(target, target);
    if (find(number) == nullptr)
      throw not_found("there is no migration " + target + ": the highest is " + std::to_string(head()));
    std::erase_if(pending, [&](const Migration* migration) { return migration->number > number; });
  }
  for (const Migration* migration : pending) apply(*migration, true);
  return int(pending.size());
}

int Migrator::downgrade(const std::string& target) {
  prepare_bookkeeping();
  std::vector<Applied> applied = checked_applied();
  std::reverse(applied.begin(), applied.end());
  if (target.starts_with('-')) {
    applied.resize(std::min(applied.size(), size_t(parse_count(target.substr(1), target))));
  } else {
    const int number = target == "base" ? 0 : parse_count(target, target);
    if (number != 0 && find(number) == nullptr) throw not_found("there is no migration " + target);
    std::erase_if(applied, [&](const Applied& row) { return row.number <= number; });
  }
  for (const Applied& row : applied) apply(*find(row.number), false);
  return int(applied.size());
}

int Migrator::current() {
  const std::vector<Applied> applied = checked_applied();
  return applied.empty() ? 0 : applied.back().number;
}

std::vector<Step> Migrator::history() {
  std::vector<Step> steps;
  for (const Migration& migration : options_.migrations)
    steps.push_back({migration.number, migration.name, std::nullopt, ""});
  for (const Applied& row : checked_applied()) {
    for (Step& step : steps) {
      if (step.number == row.number) step.applied_at = row.at, step.applied_by = row.by;
    }
  }
  return steps;
}

}  // namespace cairn::schema
