// `cairn migrate`: what its subcommands do. The command line itself is parsed in app.
#pragma once

#include <iosfwd>
#include <string>

#include "schema/autogenerate.h"

namespace cairn::schema {

struct MigrateOptions {
  enum class Action { kRevision, kUpgrade, kDowngrade, kCurrent, kHistory };
  Action action = Action::kCurrent;
  // head, base, N, +n, -n
  std::string target;
  // revision -m
  std::string message;
  // revision --autogenerate: an SQL file, what is made after it, and who may make a database to load them into.
  bool autogenerate = false;
  std::string schema_file;
  Wanted wanted;
  std::string scratch_connection;
  // Steps from files instead of those in the binary; a set of its own, under `lineage`.
  std::string directory;
  std::string lineage;
  bool print_sql = false;
  bool json = false;
  std::string connection_string;
};

// Prints to `out`; progress goes to `progress`. Throws Error. Returns the exit code.
int run_migrate(const MigrateOptions& options, std::ostream& out, std::ostream& progress);

// For the server's start: brings Cairn's own schema to the newest step, or, unless told to, throws Error(kInvalidState)
// when it is behind.
void prepare_schema(const std::string& connection_string, bool migrate);

}  // namespace cairn::schema
