// What PgBouncer is started with: pgbouncer.ini, who may connect (hba.conf) and with which passwords (userlist.txt).
// Pure functions; files.h writes what they give.
#pragma once

#include <string>
#include <vector>

namespace cairn::pooler {

// Named as in pgbouncer.ini.
struct Options {
  std::string listen_addr = "127.0.0.1";
  int listen_port = 6432;
  std::string pool_mode = "transaction";
  int max_client_conn = 1000;
  int default_pool_size = 25;
  int reserve_pool_size = 5;
  int reserve_pool_timeout_s = 3;
  int server_idle_timeout_s = 600;
  int max_db_connections = 0;  // 0: what PostgreSQL can spare, at most 100
  std::string tls_certificate, tls_key;
};

// The PostgreSQL behind it, and the role of the server that uses it.
struct Backend {
  std::string host;  // a socket's directory too
  std::string port;
  std::string database;
  std::string user;
  std::string secret;  // its password, or what PostgreSQL keeps of one (SCRAM-SHA-256$…); empty: it has none
  std::string sslmode;
  std::string sslrootcert;
  // A role that may read every role's secret, so that all of them can connect; empty: there is none, only `user` can.
  std::string auth_user;
  // What PostgreSQL takes for roles that are no superusers.
  int connections = 0;
};

// How many of PostgreSQL's connections are PgBouncer's: what is asked for, or what `others` and a few tools leave of
// them. Throws Error when that is nothing, or fewer than were asked for.
int database_connections(const Options& options, const Backend& backend, int others);

// `directory` has the other two files; the socket is in `socket_directory`.
std::string render_ini(const Options& options, const Backend& backend, const std::string& directory,
                       const std::string& socket_directory);
std::string render_hba(const Options& options, const Backend& backend);
// `unknown` is a password that nobody knows, for roles that have none.
std::string render_userlist(const Backend& backend, const std::string& unknown);

// The value of a key of the section [pgbouncer]; empty when it is not there.
std::string ini_value(const std::string& ini, const std::string& key);

}  // namespace cairn::pooler
