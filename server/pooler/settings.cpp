#include "pooler/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "base/error.h"

namespace cairn::pooler {
namespace {

constexpr int kMostByDefault = 100;
// For psql, backups and migrations, which go to PostgreSQL itself.
constexpr int kTools = 10;

bool is_loopback(const std::string& address) {
  return address == "127.0.0.1" || address == "::1" || address == "localhost";
}

// PgBouncer's quoting: the quote is doubled inside of it, and there is no escape.
std::string quoted(const std::string& text, char quote) {
  if (text.find_first_of(std::string("\n\r\0", 3)) != std::string::npos)
    throw invalid("PgBouncer's files cannot hold a line break, and there is one in a name or password of the database");
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) out += quote;
    out += c;
  }
  return out + quote;
}

// The name by which clients ask for the database. The file knows no quotes there: where the name would need them, any
// name is it.
std::string alias(const std::string& database) {
  const bool plain = std::ranges::all_of(database, [](unsigned char c) { return isalnum(c) || c == '_' || c == '-'; });
  return plain ? database : "*";
}

}  // namespace

int database_connections(const Options& options, const Backend& backend, int others) {
  const int spare = backend.connections - others - kTools;
  if (options.max_db_connections > spare || spare < 1)
    throw Error(
        ErrorCode::kInvalidState,
        fmt::format("PostgreSQL takes {} connections, and the server's own pool ({}) and tools ({}) leave {} to "
                    "PgBouncer: raise max_connections, or ask for fewer with --max-db-connections",
                    backend.connections, others, kTools, std::max(spare, 0)));
  return options.max_db_connections > 0 ? options.max_db_connections : std::min(spare, kMostByDefault);
}

std::string render_ini(const Options& options, const Backend& backend, const std::string& directory,
                       const std::string& socket_directory) {
  std::string out = "; Made by `cairn pool config`; what is changed here is lost when it runs again.\n[databases]\n";
  out += fmt::format("{} = host={} port={} dbname={}\n\n[pgbouncer]\n", alias(backend.database),
                     quoted(backend.host, '\''), backend.port, quoted(backend.database, '\''));
  const auto set = [&out](const char* key, const auto& value) { out += fmt::format("{} = {}\n", key, value); };
  set("listen_addr", options.listen_addr);
  set("listen_port", options.listen_port);
  set("unix_socket_dir", socket_directory);
  set("unix_socket_mode", "0700");
  set("pool_mode", options.pool_mode);
  set("max_client_conn", options.max_client_conn);
  set("default_pool_size", std::min(options.default_pool_size, options.max_db_connections));
  set("reserve_pool_size", options.reserve_pool_size);
  set("reserve_pool_timeout", options.reserve_pool_timeout_s);
  set("server_idle_timeout", options.server_idle_timeout_s);
  set("max_db_connections", options.max_db_connections);
  set("auth_type", "hba");
  set("auth_hba_file", directory + "/hba.conf");
  set("auth_file", directory + "/userlist.txt");
  if (!backend.auth_user.empty()) {
    set("auth_user", backend.auth_user);
    // Not of those that may not log in or no longer.
    set("auth_query",
        "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin AND NOT rolsuper"
        " AND (rolvaliduntil IS NULL OR rolvaliduntil > now())");
  }
  set("admin_users", backend.user);
  if (!backend.sslmode.empty()) set("server_tls_sslmode", backend.sslmode);
  if (!backend.sslrootcert.empty()) set("server_tls_ca_file", backend.sslrootcert);
  if (!options.tls_certificate.empty()) {
    set("client_tls_sslmode", is_loopback(options.listen_addr) ? "prefer" : "require");
    set("client_tls_cert_file", options.tls_certificate);
    set("client_tls_key_file", options.tls_key);
  }
  // What drivers send first and nothing here depends on.
  set("ignore_startup_parameters", "extra_float_digits");
  set("log_stats", 0);
  set("log_connections", 0);
  set("log_disconnections", 0);
  return out;
}

std::string render_hba(const Options& options, const Backend& backend) {
  std::string out =
      "# Made by `cairn pool config`; what is changed here is lost when it runs again.\n"
      "# The socket's directory (mode 0700) lets nobody in but the user that PgBouncer and the server are.\n";
  out += fmt::format("local all {} trust\n", quoted(backend.user, '"'));
  if (is_loopback(options.listen_addr))
    return out + "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";
  if (options.tls_certificate.empty())
    throw invalid("PgBouncer would take passwords and data from other machines (" + options.listen_addr +
                  ") without encryption: give tls_certificate and tls_key, or listen on 127.0.0.1");
  return out + "hostssl all all 0.0.0.0/0 scram-sha-256\nhostssl all all ::/0 scram-sha-256\n";
}

std::string render_userlist(const Backend& backend, const std::string& unknown) {
  const auto entry = [&unknown](const std::string& user, const std::string& secret) {
    return quoted(user, '"') + " " + quoted(secret.empty() ? unknown : secret, '"') + "\n";
  };
  std::string out = entry(backend.user, backend.secret);
  if (!backend.auth_user.empty() && backend.auth_user != backend.user) out += entry(backend.auth_user, "");
  return out;
}

std::string ini_value(const std::string& ini, const std::string& key) {
  std::istringstream in(ini);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + " = ")) return line.substr(key.size() + 3);
  return "";
}

}  // namespace cairn::pooler
