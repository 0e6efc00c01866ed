#include "tuner/apply/apply.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/table.h"
#include "db/pool.h"
#include "tuner/apply/index_build.h"
#include "tuner/catalog/local_disk.h"
#include "tuner/profile/snapshots.h"
#include "tuner/profile/statements.h"
#include "tuner/prove/proof.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

using db::Rows;
using db::Statement;
using Clock = std::chrono::steady_clock;

constexpr double kMiB = 1 << 20;
// A build writes the entries sorted into temporary files, then the index, and that into the log.
constexpr double kRoomPerByte = 3;
constexpr double kRoomBesides = 64 * kMiB;

std::string shown_name(const Change& change) {
  return on_one_line(change.table.schema.empty() ? change.name : change.table.schema + "." + change.name);
}

double seconds_since(Clock::time_point begun) { return std::chrono::duration<double>(Clock::now() - begun).count(); }

}  // namespace

ChangeSession::ChangeSession(Reactor& reactor, const ApplySessionOptions& options, std::ostream& progress)
    : reactor_(reactor),
      session_(options, progress),
      journal_(session_),
      changer_(session_, journal_),
      stop_(std::make_shared<std::function<void()>>([this] { session_.stop(); })) {
  reactor_.on_signal([stop = std::weak_ptr(stop_)](int) {
    if (const auto alive = stop.lock()) (*alive)();
  });
  reactor_.block_on(session_.open());
}

ChangeSession::~ChangeSession() {
  stop_.reset();
  reactor_.block_on(session_.close());
}

std::vector<JournalEntry> ChangeSession::entries() {
  if (!reactor_.block_on(journal_.exists())) return {};
  return reactor_.block_on(journal_.entries());
}

std::string counted_now(Reactor& reactor, const std::string& connection_string, std::vector<std::string>& notes) {
  db::PoolOptions options;
  options.connection_string = connection_string;
  options.size = 1;
  db::Pool pool(options);
  const Reading reading = reactor.block_on(read_statements(pool));
  for (const Note& note : reading.notes)
    notes.push_back(note.remedy.empty() ? note.what : note.what + ": " + note.remedy);
  return reading.extension_version.empty() ? "" : to_json(reading);
}

std::optional<std::map<int64_t, ProofVerdict>> load_verdicts(const std::string& state_directory,
                                                             const std::string& advice) {
  const auto proof = load_proof(state_directory, advice);
  if (!proof) return std::nullopt;
  std::map<int64_t, ProofVerdict> verdicts;
  for (const ChangeVerdict& change : proof->changes)
    verdicts[static_cast<int64_t>(change.change + 1)] = {change.verdict == Verdict::kKept, change.reason};
  return verdicts;
}

bool ApplyReport::ok() const {
  return std::none_of(changes.begin(), changes.end(),
                      [](const ChangeReport& change) { return change.outcome == ChangeOutcome::kFailed; });
}

namespace {

constexpr Statement kHere{"tune_apply_here", R"(/* cairn tune */
SELECT current_database()::text, pg_is_in_recovery(), coalesce(current_setting('default_tablespace'), ''),
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       extract(epoch FROM pg_postmaster_start_time())::int8)"};

// Bytes that are free where the database lies; nothing where that is not to be seen from here.
std::optional<double> free_bytes(const Rows& here) {
  if (here.is_null(0, 3) || !here.text(0, 2).empty()) return std::nullopt;
  const auto disk = local_disk(here.text(0, 3), here.integer(0, 4));
  return disk ? std::optional(disk->free_bytes) : std::nullopt;
}

class Applier {
 public:
  Applier(Reactor& reactor, const ApplyOptions& options, std::ostream& progress)
      : reactor_(reactor),
        options_(options),
        advice_(load_advice(options.state_directory, options.advice)),
        chosen_(choose()),
        all_(reactor, {options.connection_string, "cairn tune apply", options.wait_s}, progress) {}

  ApplyReport run() {
    report_.advice = advice_.id;
    reactor_.block_on(check_database());
    reactor_.block_on(all_.session().lock());
    reactor_.block_on(all_.journal().prepare());
    report_.apply_id = 0;
    before_ = reactor_.block_on(all_.journal().entries());
    note_interrupted();
    for (const size_t position : chosen_) plan(position);
    if (!entries_.empty()) carry_out();
    std::sort(report_.changes.begin(), report_.changes.end(),
              [](const ChangeReport& a, const ChangeReport& b) { return a.number < b.number; });
    return std::move(report_);
  }

 private:
  // Positions of the changes that are wanted and may be made.
  std::vector<size_t> choose() {
    for (const int number : options_.only) {
      if (number < 1 || static_cast<size_t>(number) > advice_.changes.size())
        throw invalid(
            fmt::format("advice {} has {} changes: there is no change {}", advice_.id, advice_.changes.size(), number));
    }
    const auto verdicts = load_verdicts(options_.state_directory, advice_.id);
    if (!verdicts && !options_.unproven && !advice_.changes.empty())
      throw Error(ErrorCode::kInvalidState, "advice " + advice_.id + " was not proved: run `cairn tune prove " +
                                                advice_.id + "` first, or give --unproven");
    std::vector<size_t> chosen;
    for (size_t i = 0; i < advice_.changes.size(); ++i) {
      const int number = static_cast<int>(i + 1);
      const bool named = std::find(options_.only.begin(), options_.only.end(), number) != options_.only.end();
      if (!options_.only.empty() && !named) continue;
      const auto verdict = verdicts ? verdicts->find(number) : decltype(verdicts->find(number))();
      const bool kept = verdicts && verdict != verdicts->end() && verdict->second.kept;
      const std::string reason =
          verdicts && verdict != verdicts->end() ? verdict->second.reason : std::string("the proof did not try it");
      if (advice_.changes[i].on_request && !named)
        leave_out(number, "only on request (--only " + std::to_string(number) + ")");
      else if (kept || (options_.unproven && (named || !advice_.changes[i].only_proved)))
        chosen.push_back(i);
      else if (named)
        throw Error(ErrorCode::kInvalidState, fmt::format("the proof did not keep change {} ({}): give --unproven to "
                                                          "apply it all the same",
                                                          number, reason));
      else if (options_.unproven)
        leave_out(number, "what it gains was not estimated, and no proof kept it: name it (--only " +
                              std::to_string(number) + ") to apply it all the same");
      else
        leave_out(number, "not kept by the proof: " + reason);
    }
    return chosen;
  }

  void leave_out(int number, const std::string& why) {
    const Change& change = advice_.changes[static_cast<size_t>(number - 1)];
    report_.left_out.push_back(fmt::format("{} {}: {}", number, shown_name(change), why));
  }

  task<> check_database() {
    const Rows here = co_await all_.session().look(kHere);
    report_.database = here.text(0, 0);
    if (advice_.database != report_.database)
      throw invalid("advice " + advice_.id + " is for database " + advice_.database + ", and this is " +
                    report_.database);
    if (here.boolean(0, 1))
      throw Error(ErrorCode::kInvalidState, "this is a standby, where nothing can be changed: connect to the primary");
    const auto room = free_bytes(here);
    double needed = kRoomBesides;
    for (const size_t position : chosen_)
      needed += kRoomPerByte * static_cast<double>(std::max<int64_t>(0, advice_.changes[position].bytes));
    if (!room)
      report_.notes.emplace_back("disk space was not checked: the database's disk is not to be seen from here");
    else if (*room < needed)
      throw Error(ErrorCode::kInsufficientStorage,
                  fmt::format("the changes need about {:.0f} MB on the database's disk while they are made, and {:.0f} "
                              "MB are free: make room, or choose fewer (--only)",
                              needed / kMiB, *room / kMiB));
  }

  void note_interrupted() {
    const auto count =
        std::count_if(before_.begin(), before_.end(), [](const JournalEntry& entry) { return entry.is_interrupted(); });
    if (count > 0)
      report_.notes.push_back(fmt::format("a killed apply or undo left {} {}: `cairn tune status`", count,
                                          count == 1 ? "change" : "changes"));
  }

  // What a killed apply left of the same index is dropped, and it is built again.
  task<> remove_leftovers(const Change& change) {
    for (JournalEntry& old : before_) {
      if (!old.is_interrupted() || old.kind != change.kind || old.table != change.table || old.name != change.name)
        continue;
      all_.session().say("removing what a killed apply left of " + shown_name(change));
      co_await all_.changer().remove(old);
    }
  }

  JournalEntry entry_of(size_t position) const {
    const Change& change = advice_.changes[position];
    JournalEntry entry{.advice = advice_.id,
                       .number = static_cast<int64_t>(position + 1),
                       .kind = change.kind,
                       .table = change.table,
                       .name = change.name,
                       .statements = change.statements,
                       .inverse = change.inverse,
                       .reason = change.reason,
                       .gain_ms = change.gain_ms,
                       .bytes = change.bytes};
    for (const AdviceStatement& statement : advice_.statements) {
      if (std::find(statement.uses.begin(), statement.uses.end(), position) == statement.uses.end()) continue;
      if (const auto id = fingerprint(statement.text)) entry.serves.push_back(*id);
    }
    return entry;
  }

  ChangeReport report_of(const JournalEntry& entry) const {
    return {.id = entry.id,
            .number = entry.number,
            .kind = entry.kind,
            .name = entry.table.schema.empty() ? entry.name : entry.table.schema + "." + entry.name,
            .statement = entry.parts.empty() || entry.kind != ChangeKind::kIndex ? entry.statements.front()
                                                                                 : entry.parts.front().statement};
  }

  void plan(size_t position) {
    JournalEntry entry = entry_of(position);
    ChangeReport change = report_of(entry);
    try {
      const std::string there = reactor_.block_on(plan_entry(entry, advice_.changes[position]));
      if (there.empty()) {
        entries_.push_back(std::move(entry));
        return;
      }
      change.outcome = ChangeOutcome::kThereAlready;
      change.detail = there;
    } catch (const db::DbError& error) {
      if (error.is_unavailable()) throw;
      change.outcome = ChangeOutcome::kFailed;
      change.detail = error.what();
    } catch (const Error& error) {
      if (all_.session().stopped()) throw;
      change.outcome = ChangeOutcome::kFailed;
      change.detail = error.what();
    }
    report_.changes.push_back(std::move(change));
  }

  // Says what is there already; empty: to be done.
  task<std::string> plan_entry(JournalEntry& entry, const Change& change) {
    co_await remove_leftovers(change);
    if (entry.kind == ChangeKind::kIndex) {
      if (!change.index) throw invalid("the change has no definition of its index: make the advice anew");
      entry.parts = co_await plan_index(all_.session(), *change.index, change.name);
      const std::string equal = co_await find_equal_index(all_.session(), *change.index);
      if (!equal.empty()) co_return "the table has this index already, as " + on_one_line(equal);
      const auto found = co_await find_index(all_.session(), entry.parts.front());
      if (found)
        throw Error(ErrorCode::kResourceConflict,
                    "there is something else of this name, and it stays: " +
                        on_one_line(found->definition.empty() ? "no index" : found->definition) +
                        (found->is_index && !found->valid ? " (not valid)" : ""));
    }
    co_await all_.changer().prepare(entry);
    if (entry.kind == ChangeKind::kDropIndex && entry.before.empty()) co_return "the index is gone already";
    const bool makes = entry.kind == ChangeKind::kMaterializedView ||
                       (entry.kind == ChangeKind::kStatistics && entry.before.starts_with("CREATE STATISTICS"));
    if (makes && !entry.before.empty()) co_return "there is one of this name already";
    co_return "";
  }

  void carry_out() {
    Journal& journal = all_.journal();
    report_.apply_id = reactor_.block_on(
        journal.begin_apply(advice_.id, counted_now(reactor_, options_.connection_string, report_.notes)));
    for (JournalEntry& entry : entries_) entry.apply_id = report_.apply_id;
    reactor_.block_on(journal.plan(entries_));
    for (JournalEntry& entry : entries_) {
      if (report_.ended_by)
        reactor_.block_on(give_up(entry));
      else
        carry_out_one(entry);
    }
    std::vector<std::string> said_before;
    try {
      reactor_.block_on(
          journal.end_apply(report_.apply_id, counted_now(reactor_, options_.connection_string, said_before)));
    } catch (const db::DbError&) {
      if (!report_.ended_by) throw;
    }
  }

  task<> give_up(JournalEntry& entry) {
    try {
      co_await all_.journal().set_state(entry, ChangeState::kFailed, "not begun: the apply ended before");
    } catch (const db::DbError&) {
      // It stays `planned`; status finds it.
    }
  }

  void carry_out_one(JournalEntry& entry) {
    ChangeReport change = report_of(entry);
    const auto begun = Clock::now();
    try {
      reactor_.block_on(all_.changer().carry_out(entry, false));
    } catch (const Error& error) {
      change.outcome = ChangeOutcome::kFailed;
      change.detail = error.what();
      if (all_.session().stopped() || error.code() == ErrorCode::kTemporarilyUnavailable)
        report_.ended_by = Error(error.code(), error.what());
    }
    change.seconds = seconds_since(begun);
    report_.changes.push_back(std::move(change));
  }

  Reactor& reactor_;
  const ApplyOptions& options_;
  ApplyReport report_;
  Advice advice_;
  std::vector<size_t> chosen_;
  ChangeSession all_;
  std::vector<JournalEntry> before_;
  std::vector<JournalEntry> entries_;
};

}  // namespace

ApplyReport apply(Reactor& reactor, const ApplyOptions& options, std::ostream& progress) {
  return Applier(reactor, options, progress).run();
}

}  // namespace cairn::tuner
