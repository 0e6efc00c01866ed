// For *_pgtest.cpp only: a database of the test's own with every table in it.
#pragma once

#include "db/testing.h"
#include "schema/embedded_migrations.h"

namespace cairn::schema {

class MigratedDatabase : public db::TestDatabase {
 public:
  MigratedDatabase() {
    for (const EmbeddedMigration& migration : embedded_migrations()) execute(std::string(migration.up));
  }
};

}  // namespace cairn::schema
