// Carries out changes of an advice and takes them back, in a database that goes on being used: nobody who writes waits
// for it longer than a moment. What is done is in the journal before it is begun and after it is done, so that a
// program killed at any moment leaves nothing that nobody knows of.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/reactor.h"
#include "tuner/apply/journal.h"

namespace cairn::tuner {

struct ApplyOptions {
  std::string connection_string = {};
  std::string state_directory = {};
  std::string advice = {};     // an id, or "last"
  std::vector<int> only = {};  // numbers of changes; none: all that may be
  bool unproven = false;       // also what no proof kept
  double wait_s = 60;
};

enum class ChangeOutcome { kDone, kThereAlready, kFailed };

struct ChangeReport {
  int64_t id = 0;      // in the journal; 0: it is not there, for nothing was done
  int64_t number = 0;  // in its advice
  ChangeKind kind = ChangeKind::kIndex;
  std::string name = {};
  std::string statement = {};  // the first, for people
  ChangeOutcome outcome = ChangeOutcome::kDone;
  std::string detail = {};  // of what is not done, why
  double seconds = 0;
};

struct ApplyReport {
  std::string advice = {};
  std::string database = {};
  int64_t apply_id = 0;
  std::vector<ChangeReport> changes = {};
  std::vector<std::string> left_out = {};  // sentences: what was not chosen, and why
  std::vector<std::string> notes = {};
  std::optional<Error> ended_by = {};  // why no further change was tried; the one that failed is in `changes`

  bool ok() const;
};

// Progress and what it waits for go to `progress`. A change that fails is in the report, and the next one is tried,
// unless it was stopped, lost PostgreSQL, or waited in vain for open transactions. Throws Error where none may be made
// (no right, no proof, another at work, no room).
ApplyReport apply(Reactor& reactor, const ApplyOptions& options, std::ostream& progress);

// One change at a time, for apply, undo, status and verify. The session holds the lock.
class Changer {
 public:
  Changer(ApplySession& session, Journal& journal) : session_(session), journal_(journal) {}

  // Fills in what there is now of it: `before`. Throws Error where it cannot be carried out.
  task<> prepare(JournalEntry& entry);
  // From planned or applying to applied; or to failed, and then throws what was wrong. `ours`: parts of it that are
  // there were left by a killed apply.
  task<> carry_out(JournalEntry& entry, bool ours);
  // To `end` (undone, reverted). Throws Error where somebody else changed the object since, and then does nothing;
  // gives a sentence where there was nothing to take back.
  task<std::string> take_back(JournalEntry& entry, ChangeState end);
  // What there is now in the catalog, in the form of `before` and `after`.
  task<std::string> state_of(const JournalEntry& entry);
  // What a killed apply or undo left, as a sentence.
  task<std::string> describe(const JournalEntry& entry);
  // Removes what a killed apply left, or completes a killed undo.
  task<> remove(JournalEntry& entry);

 private:
  task<> run_statements(const std::vector<std::string>& statements);
  task<> run_inverse_anyhow(const JournalEntry& entry);
  task<> do_forward(JournalEntry& entry, bool ours);
  task<> do_backward(JournalEntry& entry, bool ours);
  task<> tidy_up(JournalEntry& entry, std::string reason);
  task<> check_unchanged(const JournalEntry& entry, const std::string& now);

  ApplySession& session_;
  Journal& journal_;
  std::vector<IndexPart> begun_;  // of the change that is under way
};

// The connection, the lock and the journal of one command, and SIGINT and SIGTERM while it runs.
class ChangeSession {
 public:
  ChangeSession(Reactor& reactor, const ApplySessionOptions& options, std::ostream& progress);
  ~ChangeSession();
  ChangeSession(const ChangeSession&) = delete;
  ChangeSession& operator=(const ChangeSession&) = delete;

  Reactor& reactor() { return reactor_; }
  ApplySession& session() { return session_; }
  Journal& journal() { return journal_; }
  Changer& changer() { return changer_; }
  // Those of the journal, oldest first; none where there is none.
  std::vector<JournalEntry> entries();

 private:
  Reactor& reactor_;
  ApplySession session_;
  Journal journal_;
  Changer changer_;
  std::shared_ptr<std::function<void()>> stop_;  // what signals call, as long as it lives
};

// What a proof said of each change, by its number; nothing where there is no proof.
struct ProofVerdict {
  bool kept = false;
  std::string reason = {};
};
std::optional<std::map<int64_t, ProofVerdict>> load_verdicts(const std::string& state_directory,
                                                             const std::string& advice);

// What pg_stat_statements has counted, as JSON; empty, and a note, where it cannot be read.
std::string counted_now(Reactor& reactor, const std::string& connection_string, std::vector<std::string>& notes);

}  // namespace cairn::tuner
