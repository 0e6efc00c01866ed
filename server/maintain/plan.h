// What a database needs done, and why: VACUUM, ANALYZE, REINDEX CONCURRENTLY, DROP INDEX. make_plan() is pure;
// read_facts() only reads, by a role that may read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "tuner/api.h"

namespace cairn::db {
class Pool;
}

namespace cairn::maintain {

// In the order in which they are done.
enum class Kind {
  kFreeze,
  kDropInvalid,
  kDropDuplicate,  // on request, as the next two
  kDropCovered,
  kDropUnused,
  kVacuum,
  kAnalyze,
  kReindex,
  kVacuumFull,  // never done by the program: it locks the table
};

std::string_view kind_name(Kind kind);
// Throws Error(kInvalidParameterValue) that lists those that there are.
Kind kind_of(const std::string& name);
// Done unless something else was asked for.
bool is_usual(Kind kind);

struct Action {
  Kind kind = Kind::kVacuum;
  int64_t oid = 0;  // of the table or index
  int64_t table_oid = 0;
  tuner::TableName table = {};
  std::string object = {};  // quoted, with its schema
  std::string statement = {};
  std::string undo = {};
  std::string reason = {};
  int64_t bytes = 0;       // of the object
  int64_t gain_bytes = 0;  // about so many of them are won
};

struct AutovacuumSettings {
  bool on = true;
  double vacuum_threshold = 50, vacuum_scale = 0.2;
  double insert_threshold = 1000, insert_scale = 0.2;  // a negative threshold: inserts do not count
  double analyze_threshold = 50, analyze_scale = 0.1;
  int64_t freeze_max_age = 200'000'000, multixact_freeze_max_age = 400'000'000;
};

struct TableState {
  int64_t oid = 0;
  tuner::TableName name = {};
  char kind = 'r';   // r, p (partitioned) or m (materialized view)
  double rows = -1;  // by the last ANALYZE or VACUUM; -1: there was none
  int64_t bytes = 0;
  double live = 0, dead = 0, changed = 0, inserted = 0;    // the last two since ANALYZE and VACUUM
  std::optional<double> vacuumed_s = {}, analyzed_s = {};  // ago
  std::optional<double> partition_analyzed_s = {};         // of a partitioned table: the newest of its partitions
  int64_t age = 0, multixact_age = 0;                      // of its oldest transaction, TOAST included
  std::map<std::string, double> options = {};              // that it has of its own
  bool may_vacuum = true;
  // By pgstattuple_approx; nothing: not measured.
  std::optional<double> free_percent = {}, dead_percent = {};
};

struct IndexState {
  int64_t oid = 0;
  // By pgstatindex; nothing: not measured.
  std::optional<double> leaf_density = {}, empty_percent = {};
  bool rebuilt_lately = false;
  bool may_rebuild = true;
};

struct Facts {
  AutovacuumSettings settings = {};
  std::vector<TableState> tables = {};
  std::map<int64_t, IndexState> indexes = {};  // of those in the catalog that are looked at
  tuner::Catalog catalog = {};
  bool counts = true;  // track_counts
  std::vector<std::string> notes = {};
};

struct Plan {
  std::string database = {};
  int64_t taken_at_ms = 0;
  std::vector<Action> actions = {};
  int measured = 0, estimated = 0;  // tables and indexes whose bloat was
  int64_t age = 0;                  // of the oldest table, in transactions
  std::string oldest_table = {};
  int64_t freeze_max_age = 0;
  std::vector<std::string> notes = {};
};

struct PlanOptions {
  std::vector<Kind> kinds = {};          // none: all
  std::vector<std::string> tables = {};  // names as in SQL; none: all
  double measure_s = 60;                 // that pgstattuple may read for; 0: bloat is estimated
};

// Throws Error(kResourceDoesNotExist) for a table that is not there.
task<Facts> read_facts(db::Pool& pool, const PlanOptions& options);
Plan make_plan(const Facts& facts, const PlanOptions& options);
task<Plan> plan(db::Pool& pool, PlanOptions options);

// Bytes that a B-tree of these entries has when it is new; nothing where the statistics do not tell.
std::optional<int64_t> new_size(const tuner::Index& index, const tuner::Table& table);

}  // namespace cairn::maintain
