// What the server needs inside a fresh embedded PostgreSQL: roles, the database and the extensions. Every step may be
// run again.
#pragma once

#include <span>
#include <string>

namespace cairn::cluster {

struct Extension {
  const char* name;
  // The Debian package that brings it, for the advice when it is missing; {} is PostgreSQL's major version.
  const char* package;
  const char* purpose;
};
std::span<const Extension> wanted_extensions();
std::string package_of(const Extension& extension, int major);

// Makes what is missing. Both strings are a superuser's: to the database `postgres` and to the database `cairn`. A
// missing extension is a warning in the log: only what uses it fails.
void prepare_database(const std::string& maintenance_connection, const std::string& cairn_connection);

void set_auto_explain(const std::string& superuser_connection, bool on);

}  // namespace cairn::cluster
