// Statements really run on a clone, and timed. What reads runs in a READ ONLY transaction, what writes in one of its
// own that is rolled back; what could do more than that is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tuner/catalog/index_definition.h"
#include "tuner/catalog/session.h"
#include "tuner/plan/plan.h"
#include "tuner/prove/proof.h"

namespace cairn::tuner {

// A statement that may be run, and what for.
struct Runnable {
  std::string sql = {};
  std::vector<Values> sets = {};
  bool writes = false;
};

// Why the statement is not to be run: empty when it may be. `session` tells what its functions are.
std::string refusal_to_run(Session& session, const std::string& sql);
// Whether it must run in a transaction that may write.
bool writes_or_locks(const std::string& sql);

struct SetRun {
  std::vector<double> ms = {};
  int64_t rows = 0;
  std::optional<uint64_t> hash = {};  // absent: it writes, or was stopped
  bool stopped = false;               // by the time limit, which is then its only time
};

struct Measured {
  std::vector<SetRun> sets = {};        // as Runnable::sets
  std::set<std::string> used = {};      // names of indexes and of relations in the plans
  std::set<TableName> written = {};     // tables
  std::set<std::string> read = {};      // names of relations
  int64_t blocks = 0;                   // of one run of each set
  PlanSketch plan = {};                 // of the first set
  std::vector<std::string> nodes = {};  // of all sets' plans, from the top: what they are, not what they took
  std::string failure = {};             // of the first set that failed
};

struct RunLimits {
  int rounds = 11;
  double statement_s = 30;      // one run
  double all_rounds_ms = 2000;  // of one statement in one phase; two rounds are run in any case
};

// Sets search_path and what else the target's sessions have, and how results are compared.
void prepare_session(Session& session, const std::vector<std::string>& settings);

PlanSketch sketch_of(const Plan& plan);

Measured measure(Session& session, const Runnable& statement, const RunLimits& limits);

// Of a statement that reads, in one transaction after `change` (statements, or none; rolled back). No plans are looked
// at.
Measured measure_with(Session& session, const Runnable& statement, const std::string& change, const RunLimits& limits);

// Both in turn, on the same data; `second` has as many sets.
std::pair<Measured, Measured> measure_in_turn(Session& session, const Runnable& first, const Runnable& second,
                                              const RunLimits& limits);

struct RowsCheck {
  std::optional<bool> same = {};  // absent: it cannot be told
  std::string note = {};
};
// Whether `change` (statements; rolled back) or `other`, in the place of the statement, changes its rows: at one
// moment, in one transaction, so that neither time nor other sessions do. `set` is a position in the sets.
RowsCheck compare_rows(Session& session, const Runnable& statement, size_t set, const std::string& change,
                       const std::string& other, double statement_s);

// The share of the rows that the statement gives without `change`'s indexes (DROP INDEX statements; rolled back) that
// it gives with them. Throws DbError.
double recall_of(Session& session, const Runnable& statement, size_t set, const std::string& change,
                 double statement_s);

}  // namespace cairn::tuner
