// What `cairn tune apply` changed in a database, written down in that database: docs/formats/tune-journal.md has the
// tables, the states and their invariants.
//
// Rows are written by whoever holds the session's lock, and each state before what it announces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tuner/advise/advice.h"
#include "tuner/apply/apply_session.h"

namespace cairn::tuner {

enum class ChangeState { kPlanned, kApplying, kApplied, kFailed, kVerified, kUndoing, kUndone, kReverted };

std::string_view state_name(ChangeState state);

// One index of a change. A partitioned table's has one for each table of its tree, parents first.
struct IndexPart {
  TableName table = {};
  std::string name = {};       // in the table's schema
  std::string statement = {};  // that makes it: CONCURRENTLY, or ON ONLY a partitioned table
  int64_t parent = -1;         // position of the part that it is attached to
  bool leaf = true;            // it holds entries

  bool operator==(const IndexPart&) const = default;
};

std::string to_json(const std::vector<IndexPart>& parts);
std::vector<IndexPart> parts_from_json(const std::string& text);

struct JournalEntry {
  int64_t id = 0;
  int64_t apply_id = 0;
  std::string advice = {};
  int64_t number = 0;  // in the advice
  ChangeKind kind = ChangeKind::kIndex;
  TableName table = {};
  std::string name = {};
  std::vector<std::string> statements = {};
  std::vector<std::string> inverse = {};
  std::vector<IndexPart> parts = {};
  std::vector<std::string> serves = {};  // fingerprints of statements
  std::string reason = {};
  double gain_ms = 0;
  int64_t bytes = 0;
  std::string before = {};
  std::string after = {};
  ChangeState state = ChangeState::kPlanned;
  std::string error = {};
  std::string role = {};
  std::optional<int64_t> started_at_ms = {};
  std::optional<int64_t> finished_at_ms = {};
  std::optional<int64_t> undone_at_ms = {};

  bool is_interrupted() const {  // when nobody holds the lock
    return state == ChangeState::kPlanned || state == ChangeState::kApplying || state == ChangeState::kUndoing;
  }
  bool is_in_force() const { return state == ChangeState::kApplied || state == ChangeState::kVerified; }
};

// One `cairn tune apply`.
struct ApplyRecord {
  int64_t id = 0;
  std::string advice = {};
  std::string reading_before = {};  // JSON; empty: pg_stat_statements could not be read
  std::string reading_after = {};
};

class Journal {
 public:
  explicit Journal(ApplySession& session) : session_(session) {}

  // Whether there is one. Throws Error where it is of another format, or may not be read.
  task<bool> exists();
  // Makes it where it is missing. Throws Error(kPermissionDenied) with the GRANT that is needed.
  task<> prepare();
  // Throws Error(kPermissionDenied) where the journal belongs to somebody whose statements must not be run by this
  // role.
  task<> check_owner();

  task<int64_t> begin_apply(std::string advice, std::string reading);
  task<> end_apply(int64_t apply, std::string reading);
  // All of them or none: who is killed here leaves no half of an apply. Gives the entries their ids.
  task<> plan(std::vector<JournalEntry>& entries);
  // Writes state, before, after and error, and the time that goes with the state.
  task<> set_state(JournalEntry& entry, ChangeState state, std::string error = "");

  // Oldest first.
  task<std::vector<JournalEntry>> entries();
  // The apply before it too, if there is one: its second reading begins the window before.
  task<std::vector<ApplyRecord>> applies();

 private:
  task<db::Rows> run(db::Statement statement, db::Params params = {});
  task<std::vector<db::Rows>> run(std::vector<db::Query> queries);  // in one transaction

  ApplySession& session_;
};

}  // namespace cairn::tuner
