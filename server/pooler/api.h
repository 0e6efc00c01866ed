// `cairn pool`: PgBouncer before PostgreSQL, for clients of their own: written, started, watched, stopped, shown.
//
//   <data>/pgbouncer/pgbouncer.ini, hba.conf, userlist.txt   mode 0600, of the user that runs PgBouncer
//   <data>/pgbouncer/pool.lock                               locked by the process that watches PgBouncer; its id
//   <data>/pgbouncer/pgbouncer.log
//
// PgBouncer refuses to be root: then it is the user `postgres`, as PostgreSQL is. It is a child of the watcher and dies
// with it.
#pragma once

#include <iosfwd>
#include <string>

#include "pooler/settings.h"

namespace cairn::pooler {

struct Context {
  std::string data_dir;
  std::string connection_string;     // of the server's role
  std::string superuser_connection;  // of the embedded database; empty: someone else's
  int server_connections = 0;        // that the server's own pool may take
};

// Writes the files, or with `dry_run` prints what pgbouncer.ini would be. One that runs takes it over.
int configure(const Context& context, Options options, bool dry_run, std::ostream& out);
// Runs PgBouncer with the files that are there, and starts it again when it dies, until SIGINT or SIGTERM: clients'
// transactions are finished first, for up to ten seconds.
int watch(const std::string& data_dir, std::ostream& out);
// The same in the background, once it takes connections. `program` is this binary.
int start(const std::string& data_dir, const std::string& program, std::ostream& out);
int stop(const std::string& data_dir, std::ostream& out);
// Exit code 3 when it does not run.
int show_status(const std::string& data_dir, bool as_json, std::ostream& out);

}  // namespace cairn::pooler
