#include "tuner/prove/changes_on_clone.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "base/log.h"
#include "tuner/profile/statements.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

// Statements that reach no further than the database that they are run in.
constexpr std::string_view kWithin[] = {"IndexStmt",       "DropStmt",       "CreateStatsStmt", "CreateTableAsStmt",
                                        "VacuumStmt",      "AlterTableStmt", "AlterStatsStmt",  "RefreshMatViewStmt",
                                        "VariableSetStmt", "CommentStmt"};
constexpr std::string_view kReload = "SELECT pg_reload_conf()";  // beside ALTER SYSTEM

std::string qualified(const TableName& name) {
  return db::quote_identifier(name.schema) + "." + db::quote_identifier(name.name);
}

// ALTER SYSTEM SET x = 1 and ALTER DATABASE d SET x = 1 as SET x = 1.
std::string in_session(const std::string& statement, const std::string& database) {
  for (const std::string& prefix :
       {std::string("ALTER SYSTEM "), "ALTER DATABASE " + db::quote_identifier(database) + " "})
    if (statement.starts_with(prefix)) return statement.substr(prefix.size());
  return statement;
}

bool is_of_autovacuum(const Change& change) {
  return change.kind == ChangeKind::kSetting && !change.table.name.empty();
}

// Of what the server does by itself, or of ANALYZE: setting it in a session changes no statement's time.
bool is_of_maintenance(const Change& change) {
  constexpr std::string_view kNames[] = {"default_statistics_target", "maintenance_work_mem", "max_wal_size",
                                         "wal_compression"};
  return change.kind == ChangeKind::kSetting && std::ranges::find(kNames, change.name) != std::end(kNames);
}

}  // namespace

std::vector<std::string> ChangesOnClone::statements(const Change& change, bool inverse) const {
  // Nobody writes to the clone: an index is built and dropped the quick way there.
  if (change.kind == ChangeKind::kIndex && change.index) {
    if (inverse) return {"DROP INDEX IF EXISTS " + qualified({change.index->table.schema, change.name})};
    std::vector<std::string> made{create_statement(*change.index, change.name, false)};
    // An expression has statistics only once its index was there when its table was analysed.
    if (std::ranges::any_of(change.index->keys, &IndexKey::is_expression))
      made.push_back("ANALYZE " + qualified(change.index->table));
    return made;
  }
  std::vector<std::string> all;
  for (const std::string& statement : inverse ? change.inverse : change.statements)
    if (statement != kReload) all.push_back(in_session(statement, advice_.database));
  return all;
}

std::string ChangesOnClone::refusal(size_t position) const {
  const Change& change = advice_.changes.at(position);
  const bool reaches_far = change.kind == ChangeKind::kSetting || change.kind == ChangeKind::kDropIndex;
  if (change.on_request && reaches_far) return "what it does to others than these statements cannot be told from here";
  if (is_of_autovacuum(change)) return "what it does shows over days, not in a trial";
  if (is_of_maintenance(change)) return "what it does shows in writes and maintenance, not in these statements";
  for (const bool inverse : {false, true})
    for (const std::string& statement : statements(change, inverse)) {
      const StatementShape shape = statement_shape(statement);
      const bool known = std::ranges::find(kWithin, shape.kind) != std::end(kWithin);
      if (shape.error || shape.statements != 1 || !known)
        return "it reaches beyond the clone's database: " + statement.substr(0, 80);
    }
  return {};
}

bool ChangesOnClone::make(size_t position) {
  const Change& change = advice_.changes.at(position);
  const auto begun = std::chrono::steady_clock::now();
  made_.insert(position);
  const bool limited = change.kind == ChangeKind::kMaterializedView;
  try {
    session_.execute(
        fmt::format("{} SET statement_timeout = {}", kOwnStatement, limited ? std::llround(view_s_ * 1000) : 0));
    for (const std::string& statement : statements(change, false))
      session_.execute(std::string(kOwnStatement) + " " + statement);
    if (!statistics_.empty()) session_.execute(statistics_);
  } catch (const db::DbError& error) {
    if (session_.broken()) throw;
    failures_[position] = error.is_statement_timeout()
                              ? fmt::format("making it took longer than {:.0f} s (--seconds)", view_s_)
                              : error.what();
    if (change.kind == ChangeKind::kSetting)
      made_.erase(position);
    else
      take_back(position);
    return false;
  }
  build_ms_[position] = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
  look_at(position);
  return true;
}

constexpr const char* kParts =
    "/* cairn tune */ SELECT c.relname::text, pg_relation_size(c.oid)::text FROM pg_class c "
    "WHERE c.oid = to_regclass($1) OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))";

void ChangesOnClone::look_at(size_t position) {
  const Change& change = advice_.changes.at(position);
  names_[position].clear();
  bytes_[position] = 0;
  if (change.kind != ChangeKind::kIndex && change.kind != ChangeKind::kMaterializedView) return;
  const std::string schema = change.index ? change.index->table.schema : change.table.schema;
  for (const Values& row : session_.query(kParts, {qualified({schema, change.name})})) {
    names_[position].insert(*row[0]);
    bytes_[position] += std::strtoll(row[1].value_or("0").c_str(), nullptr, 10);
  }
  if (names_[position].empty()) names_[position].insert(change.name);
}

void ChangesOnClone::take_back(size_t position) {
  if (made_.erase(position) == 0) return;
  session_.execute("/* cairn tune */ SET statement_timeout = 0");
  std::vector<std::string> all = statements(advice_.changes.at(position), true);
  // RESET would undo what the session was given of the target's settings, too.
  if (advice_.changes.at(position).kind == ChangeKind::kSetting) {
    all.insert(all.end(), settings_.begin(), settings_.end());
    for (const size_t other : made_)
      if (advice_.changes.at(other).kind == ChangeKind::kSetting)
        for (const std::string& statement : statements(advice_.changes.at(other), false)) all.push_back(statement);
  }
  if (!statistics_.empty()) all.push_back(statistics_);
  for (const std::string& statement : all) {
    try {
      session_.execute(std::string(kOwnStatement) + " " + statement);
    } catch (const db::DbError& error) {
      if (session_.broken()) throw;
      log::warn("a change could not be taken back on the clone: {}: {}", statement, error.what());
    }
  }
}

std::string ChangesOnClone::drop_index(size_t position) const {
  const Change& change = advice_.changes.at(position);
  if (change.kind != ChangeKind::kIndex || !change.index) return {};
  return "/* cairn tune */ DROP INDEX " + qualified({change.index->table.schema, change.name}) + ";";
}

std::string ChangesOnClone::drop_indexes() const {
  std::string text;
  for (const size_t position : made_) text += drop_index(position);
  return text;
}

ChangesOnClone::~ChangesOnClone() {
  const Interrupts::Hold hold;
  try {
    while (!made_.empty()) take_back(*made_.rbegin());
  } catch (const std::exception&) {
    // The clone is gone.
  }
}

}  // namespace cairn::tuner
