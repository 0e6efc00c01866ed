// Brings a database's schema to a chosen step, and says where it stands.
//
// What is applied is written in cairn.migrations: one row a step, in the same transaction as the step itself. One
// migrator works at a time (an advisory lock); a second one waits. An applied step whose file was edited is refused,
// and so is a database that is newer than the steps given here.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schema/migration.h"

namespace cairn::schema {

struct MigratorOptions {
  // libpq URL or key=value string.
  std::string connection_string;
  std::vector<Migration> migrations;
  // Several sets of steps may live in one database, each with its own numbers: Cairn's own is `cairn`.
  std::string lineage = "cairn";
  // When set, upgrade() and downgrade() change nothing and write here the SQL that they would run.
  std::ostream* print_sql = nullptr;
  // Told of each step and of waiting.
  std::function<void(const std::string&)> report = [](const std::string&) {};
};

struct Step {
  int number = 0;
  std::string name;
  std::optional<std::string> applied_at;  // nothing: not applied
  std::string applied_by;
};

class Migrator {
 public:
  // Connects. Throws Error(kTemporarilyUnavailable) when that fails.
  explicit Migrator(MigratorOptions options);
  ~Migrator();

  // `head`, `+n` or a number. Returns how many steps were made.
  int upgrade(const std::string& target);
  // `-n`, `base` or a number. Returns how many steps were taken back.
  int downgrade(const std::string& target);
  // The highest step applied; 0: none. Throws when an applied step is edited or unknown.
  int current();
  int head() const;
  std::vector<Step> history();

 private:
  struct Session;
  struct Applied;

  std::vector<Applied> read_applied();
  std::vector<Applied> checked_applied();
  void lock();
  void prepare_bookkeeping();
  void apply(const Migration& migration, bool up);
  void run_script(const Migration& migration, bool up);
  void print(const Migration& migration, bool up);
  std::string bookkeeping_sql(const Migration& migration, bool up) const;
  const Migration* find(int number) const;

  MigratorOptions options_;
  std::unique_ptr<Session> session_;
};

}  // namespace cairn::schema
