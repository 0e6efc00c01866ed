#include "app/doctor.h"

#include <libpq-fe.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <set>
#include <vector>

#include "app/database.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "cluster/database.h"
#include "schema/migrator.h"

namespace cairn::app {
namespace {

namespace fs = std::filesystem;

constexpr int kOldestPostgres = 15;
constexpr double kGiB = 1u << 30;
constexpr double kLittleDisk = 1 * kGiB;
constexpr double kTooLittleDisk = 0.25 * kGiB;

enum class Level { kOk, kWarning, kProblem };

struct Finding {
  Level level;
  std::string what;
  std::string to_do;
};

class Findings {
 public:
  void ok(std::string what) { list_.push_back({Level::kOk, std::move(what), ""}); }
  void warn(std::string what, std::string to_do) {
    list_.push_back({Level::kWarning, std::move(what), std::move(to_do)});
  }
  void problem(std::string what, std::string to_do) {
    list_.push_back({Level::kProblem, std::move(what), std::move(to_do)});
  }
  const std::vector<Finding>& list() const { return list_; }

 private:
  std::vector<Finding> list_;
};

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, Finish>;
using ResultSet = std::unique_ptr<PGresult, decltype(&PQclear)>;

// The rows as text; none when the statement fails.
std::vector<std::vector<std::string>> query(const Connection& connection, const char* sql) {
  const ResultSet result(PQexec(connection.get(), sql), &PQclear);
  std::vector<std::vector<std::string>> rows;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    rows.emplace_back();
    for (int column = 0; column < PQnfields(result.get()); ++column)
      rows.back().emplace_back(PQgetvalue(result.get(), row, column));
  }
  return rows;
}

void check_installation(const ServerConfig& config, Findings& findings) {
  if (!config.database_url.empty()) return;
  const auto installed = cluster::installed_postgres();
  if (installed.empty() && config.postgres_bin.empty()) {
    findings.problem("no PostgreSQL server is installed", "install the package postgresql, or give a --database-url");
  } else if (!installed.empty()) {
    findings.ok("PostgreSQL " + std::to_string(installed.front().major) + " is installed in " +
                installed.front().binary_dir);
  }
}

void check_disk(const std::string& directory, const char* what, Findings& findings) {
  fs::path existing = fs::absolute(directory);
  while (!fs::exists(existing)) existing = existing.parent_path();
  if (::access(existing.c_str(), W_OK | X_OK) != 0) {
    findings.problem(std::string(what) + " " + directory + " cannot be written",
                     "give " + existing.string() + " to the user that runs the server");
    return;
  }
  struct statvfs disk;
  if (statvfs(existing.c_str(), &disk) != 0) return;
  const double available = double(disk.f_bavail) * double(disk.f_frsize);
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", available / kGiB);
  const std::string line = std::string(what) + " " + directory + ": " + text + " free";
  if (available < kTooLittleDisk)
    findings.problem(line, "make room: writes are refused with 507 once the disk is full");
  else if (available < kLittleDisk)
    findings.warn(line, "make room, or move the directory to a larger disk");
  else
    findings.ok(line);
}

constexpr const char* kServer =
    "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version')";
constexpr const char* kExtensions = "SELECT extname FROM pg_extension";
constexpr const char* kRole =
    "SELECT rolsuper, has_database_privilege(current_database(), 'CREATE'), current_user, "
    "pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') FROM pg_roles WHERE rolname = current_user";
constexpr const char* kSettings =
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', "
    "'data_checksums', "
    "'autovacuum', 'server_encoding')";
constexpr const char* kConnections =
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int";

void check_role(const Connection& connection, bool embedded, Findings& findings) {
  for (const auto& row : query(connection, kRole)) {
    if (row[1] != "t") {
      findings.problem("role " + row[2] + " may not create schemas in the database",
                       "as its owner: GRANT CREATE ON DATABASE ... TO " + row[2]);
    } else {
      findings.ok("role " + row[2] + " may create schemas in the database");
    }
    if (row[0] == "t" && !embedded)
      findings.warn("role " + row[2] + " is a superuser", "let the server use a role that only owns the database");
    if (row[3] != "t")
      findings.warn("role " + row[2] + " sees only its own statements' statistics", "GRANT pg_monitor TO " + row[2]);
  }
}

void check_settings(const Connection& connection, Findings& findings) {
  for (const auto& row : query(connection, kSettings)) {
    const std::string line = row[0] + " is " + row[1];
    const bool right = row[0] == "server_encoding" ? row[1] == "UTF8" : row[1] != "off";
    if (right)
      findings.ok(line);
    else if (row[0] == "data_checksums")
      findings.warn(line, "stop PostgreSQL and run pg_checksums --enable");
    else if (row[0] == "autovacuum")
      findings.warn(line, "set autovacuum = on: tables bloat without it");
    else if (row[0] == "server_encoding")
      findings.problem(line, "make the database anew WITH ENCODING 'UTF8'");
    else
      findings.problem(line, "set " + row[0] + " = on: what is acknowledged may be lost otherwise");
  }
}

void check_database(const std::string& connection_string, const ServerConfig& config, Findings& findings) {
  const bool embedded = config.database_url.empty();
  const Connection connection(PQconnectdb(connection_string.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    findings.problem(
        std::string("the database cannot be reached: ") + PQerrorMessage(connection.get()),
        embedded ? "look into the log directory of the data directory" : "check the URL, the network and pg_hba.conf");
    return;
  }
  int major = 0;
  for (const auto& row : query(connection, kServer)) {
    major = std::stoi(row[0]);
    if (major < kOldestPostgres)
      findings.problem("the server is PostgreSQL " + row[1], "Cairn needs PostgreSQL 15 or newer");
    else
      findings.ok("the server is PostgreSQL " + row[1]);
  }
  if (!embedded && PQsslInUse(connection.get()) == 0 && !std::string_view(PQhost(connection.get())).starts_with('/') &&
      !std::string_view(PQhost(connection.get())).empty()) {
    findings.warn("the connection to the database is not encrypted", "add sslmode=verify-full (or require) to the URL");
  }
  std::set<std::string> present;
  for (const auto& row : query(connection, kExtensions)) present.insert(row[0]);
  for (const cluster::Extension& extension : cluster::wanted_extensions()) {
    if (present.contains(extension.name)) {
      findings.ok(std::string("extension ") + extension.name);
    } else {
      findings.warn(
          std::string("extension ") + extension.name + " is missing (" + extension.purpose + ")",
          "install the package " + cluster::package_of(extension, major) +
              (embedded ? " and start the server again"
                        : "; then, as a superuser: CREATE EXTENSION \"" + std::string(extension.name) + "\""));
    }
  }
  check_role(connection, embedded, findings);
  check_settings(connection, findings);
  for (const auto& row : query(connection, kConnections)) {
    const int wanted = config.pool_size + config.max_overflow;
    if (std::stoi(row[0]) < wanted) {
      findings.problem("PostgreSQL takes " + row[0] + " connections and the pool may open " + std::to_string(wanted),
                       "lower pool_size and max_overflow, or raise max_connections");
    } else {
      findings.ok("PostgreSQL takes " + row[0] + " connections, the pool opens " + std::to_string(wanted) + " at most");
    }
  }
}

void check_schema(const std::string& connection_string, Findings& findings) {
  schema::MigratorOptions options;
  options.connection_string = connection_string;
  options.migrations = schema::embedded();
  schema::Migrator migrator(std::move(options));
  const int current = migrator.current();
  const std::string line =
      "the schema is at step " + std::to_string(current) + " of " + std::to_string(migrator.head());
  if (current == migrator.head())
    findings.ok(line);
  else
    findings.warn(line, "run `cairn migrate upgrade head` (the server does so itself for its own database)");
}

void print_text(const std::vector<Finding>& findings, std::ostream& out) {
  const bool colours = isatty(STDOUT_FILENO) != 0;
  auto paint = [&](const char* code, const char* word) {
    return colours ? std::string("\x1b[") + code + "m" + word + "\x1b[0m" : word;
  };
  for (const Finding& finding : findings) {
    out << (finding.level == Level::kOk        ? paint("32", "ok      ")
            : finding.level == Level::kWarning ? paint("33", "warning ")
                                               : paint("31", "problem "))
        << finding.what << "\n";
    if (!finding.to_do.empty()) out << "        -> " << finding.to_do << "\n";
  }
}

void print_json(const std::vector<Finding>& findings, bool healthy, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("version", std::string(kVersion));
  writer.field("healthy", healthy);
  writer.key("findings");
  writer.begin_array();
  for (const Finding& finding : findings) {
    writer.begin_object();
    writer.field("level", finding.level == Level::kOk        ? "ok"
                          : finding.level == Level::kWarning ? "warning"
                                                             : "problem");
    writer.field("what", finding.what);
    writer.field("to_do", finding.to_do);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

int run_doctor(const ServerConfig& config, bool as_json, std::ostream& out) {
  Findings findings;
  findings.ok("cairn " + std::string(kVersion));
  check_installation(config, findings);
  if (config.database_url.empty()) check_disk(config.data_dir, "data directory", findings);
  check_disk(config.artifact_directory(), "artifact directory", findings);
  if (config.database_url.empty() && !fs::exists(fs::path(config.data_dir) / "postgres")) {
    findings.ok("there is no embedded database in " + config.data_dir + " yet: `cairn serve` makes it");
  } else {
    try {
      const CommandDatabase database(config);
      check_database(database.connection_string(), config, findings);
      check_schema(database.connection_string(), findings);
    } catch (const Error& error) {
      findings.problem(error.what(), "the checks of the database were left out");
    }
  }
  const bool healthy = std::none_of(findings.list().begin(), findings.list().end(),
                                    [](const Finding& finding) { return finding.level == Level::kProblem; });
  if (as_json)
    print_json(findings.list(), healthy, out);
  else
    print_text(findings.list(), out);
  return healthy ? 0 : exit_code(ErrorCode::kTemporarilyUnavailable);
}

}  // namespace cairn::app
