#include "tuner/prove/prove.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "db/pool.h"
#include "tuner/profile/logged.h"
#include "tuner/prove/changes_on_clone.h"
#include "tuner/prove/constants.h"
#include "tuner/prove/run_statements.h"
#include "tuner/sql/constants_text.h"

namespace cairn::tuner {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kConfirmations = 3;
constexpr double kBeforeShare = 0.5;  // of the time, for running the statements as they are
constexpr double kPhases = 4;         // that a statement is timed in, about
constexpr double kLongestRunS = 30;
constexpr size_t kAlone = 40;  // statements that a change without a mark in plans is tried on

constexpr const char* kSearchPath = "/* cairn tune */ SELECT s::text FROM unnest(current_schemas(false)) s";

struct Tried {
  Runnable runnable = {};
  Measured before = {};
  Measured after = {};
  std::optional<Measured> again = {};  // without the changes once more, after them
  Values constants = {};               // of a call in the log, for the statement's text as the advice has it
};

std::vector<Sample> samples(const Measured& before, const Measured& after) {
  std::vector<Sample> all;
  for (size_t set = 0; set < std::min(before.sets.size(), after.sets.size()); ++set)
    if (!before.sets[set].ms.empty() && !after.sets[set].ms.empty())
      all.push_back({before.sets[set].ms, after.sets[set].ms});
  return all;
}

struct Compared {
  double before_ms = 0;
  double after_ms = 0;
  Ratio ratio = {};
  Outcome outcome = Outcome::kSame;
};

Compared compare(const Measured& before, const Measured& after, uint64_t seed) {
  const std::vector<Sample> all = samples(before, after);
  Compared compared;
  if (all.empty()) return compared;
  for (const Sample& sample : all) {
    compared.before_ms += median(sample.before) / static_cast<double>(all.size());
    compared.after_ms += median(sample.after) / static_cast<double>(all.size());
  }
  compared.ratio = ratio_of(all, seed);
  compared.outcome = outcome_of(compared.ratio, compared.before_ms, compared.after_ms);
  return compared;
}

bool any_stopped(const Measured& measured) { return std::ranges::any_of(measured.sets, &SetRun::stopped); }

class Prover {
 public:
  Prover(Reactor& reactor, const ProveOptions& options, const Advice& advice)
      : options_(options),
        advice_(advice),
        clone_(make_clone(options.clone)),
        session_(clone_->connection_string()),
        changes_(session_, advice, clone_->session_settings(), clone_->statistics(), options.seconds) {
    options_.progress("clone: " + clone_->description());
    prepare_session(session_, clone_->session_settings());
    db::PoolOptions pool_options;
    pool_options.connection_string = clone_->connection_string();
    pool_options.size = 1;
    db::Pool pool(pool_options);
    catalog_ = reactor.block_on(read_catalog(pool));
    catalog_.search_path.clear();
    for (const Values& row : session_.query(kSearchPath)) catalog_.search_path.push_back(*row[0]);
    logged_ = read_log_of(reactor);
    proof_.advice = advice.id;
    proof_.clone = clone_->description();
    proof_.seed = options.seed;
    proof_.notes = clone_->notes();
  }

  Proof run() {
    prepare_statements();
    measure_before();
    make_changes();
    measure_after();
    try_rewrites();
    decide();
    const bool fewer = confirm();
    if (reject_companions() || fewer) try_rewrites();
    measure_again();
    finish();
    return std::move(proof_);
  }

 private:
  // Of the database itself: the clone has none of its calls.
  Logged read_log_of(Reactor& reactor) const {
    if (options_.clone.target.empty()) return {};
    db::PoolOptions pool_options;
    pool_options.connection_string = options_.clone.target;
    pool_options.size = 1;
    db::Pool pool(pool_options);
    return reactor.block_on(read_logged(pool, options_.log));
  }

  double elapsed_s() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  RunLimits limits() const {
    const double count = std::max<double>(1, static_cast<double>(advice_.statements.size()));
    return {.rounds = options_.rounds,
            .statement_s = std::clamp(options_.seconds / 10, 1.0, kLongestRunS),
            .all_rounds_ms = std::max(200.0, options_.seconds * 1000 / count / kPhases)};
  }

  void prepare_statements() {
    ConstantsDrawer drawer(session_, catalog_, options_.seed);
    size_t logged = 0;
    for (size_t i = 0; i < advice_.statements.size(); ++i) {
      const AdviceStatement& statement = advice_.statements[i];
      StatementProof& proof = proof_.statements.emplace_back();
      proof.statement = i;
      proof.text = statement.text;
      proof.calls = statement.calls;
      Tried& tried = tried_.emplace_back();
      proof.not_run = refusal_to_run(session_, statement.text);
      if (!proof.not_run.empty()) continue;
      const LoggedConstants known =
          logged_constants(logged_, statement.text, static_cast<size_t>(options_.parameter_sets));
      Constants constants = drawer.draw(statement.text, options_.parameter_sets, known.sets);
      logged += constants.logged > 0 ? 1 : 0;
      if (!known.sets.empty()) tried.constants = known.sets[0];
      proof.not_run = constants.refusal;
      tried.runnable = {.sql = std::move(constants.sql),
                        .sets = std::move(constants.sets),
                        .writes = writes_or_locks(statement.text)};
    }
    if (!logged_.note.empty()) proof_.notes.push_back(logged_.note);
    if (logged > 0)
      proof_.notes.push_back(
          fmt::format("{} statements were run with constants of the server's log, {}", logged, logged_.read));
  }

  void measure_before() {
    begun_ = Clock::now();
    for (size_t i = 0; i < tried_.size(); ++i) {
      StatementProof& proof = proof_.statements[i];
      if (!proof.not_run.empty()) continue;
      if (i > 0 && elapsed_s() > options_.seconds * kBeforeShare) {
        proof.not_run = fmt::format("the time was up ({} s): give --seconds", options_.seconds);
        continue;
      }
      options_.progress(fmt::format("before: statement {} of {}", i + 1, tried_.size()));
      tried_[i].before = measure(session_, tried_[i].runnable, limits());
      keep_what_ran(tried_[i]);
      if (tried_[i].runnable.sets.empty()) proof.not_run = "it failed: " + tried_[i].before.failure;
    }
  }

  // A set of values that the statement fails with (a cast, a unique index) tells nothing.
  static void keep_what_ran(Tried& tried) {
    for (size_t set = tried.runnable.sets.size(); set-- > 0;) {
      if (!tried.before.sets[set].ms.empty()) continue;
      tried.runnable.sets.erase(tried.runnable.sets.begin() + static_cast<std::ptrdiff_t>(set));
      tried.before.sets.erase(tried.before.sets.begin() + static_cast<std::ptrdiff_t>(set));
    }
  }

  void make_changes() {
    for (size_t i = 0; i < advice_.changes.size(); ++i) {
      ChangeVerdict& verdict = proof_.changes.emplace_back();
      verdict.change = i;
      verdict.name = advice_.changes[i].name;
      verdict.reason = changes_.refusal(i);
      if (!verdict.reason.empty()) continue;
      options_.progress(fmt::format("making change {} of {}: {}", i + 1, advice_.changes.size(), verdict.name));
      if (changes_.make(i)) continue;
      const bool setting = advice_.changes[i].kind == ChangeKind::kSetting;
      verdict.verdict = setting ? Verdict::kNotTried : Verdict::kRejected;
      verdict.reason = (setting ? "it cannot be set in a session: " : "it could not be made: ") + changes_.failure(i);
    }
  }

  void measure_after() {
    for (size_t i = 0; i < tried_.size(); ++i) {
      if (!proof_.statements[i].not_run.empty()) continue;
      options_.progress(fmt::format("after: statement {} of {}", i + 1, tried_.size()));
      tried_[i].after = measure(session_, tried_[i].runnable, limits());
      describe(i);
      check_rows(i);
    }
  }

  // What the measurements say of a statement.
  void describe(size_t position) {
    StatementProof& proof = proof_.statements[position];
    const Tried& tried = tried_[position];
    const Compared compared = compare(tried.before, tried.after, options_.seed);
    proof.before_ms = compared.before_ms;
    proof.after_ms = compared.after_ms;
    proof.ratio = compared.ratio;
    proof.outcome = compared.outcome;
    if (tried.again) take_weaker(proof, compare(*tried.again, tried.after, options_.seed + 1));
    proof.parameter_sets = static_cast<int>(tried.runnable.sets.size());
    proof.rounds = 0;
    proof.rows = 0;
    for (const SetRun& run : tried.after.sets) {
      proof.rounds = std::max(proof.rounds, static_cast<int>(run.ms.size()));
      proof.rows += run.rows;
    }
    proof.before_stopped = any_stopped(tried.before);
    proof.after_stopped = any_stopped(tried.after);
    proof.blocks_before = tried.before.blocks;
    proof.blocks_after = tried.after.blocks;
    proof.plan_before = tried.before.plan;
    proof.used_before.assign(tried.before.used.begin(), tried.before.used.end());
    proof.used_after.assign(tried.after.used.begin(), tried.after.used.end());
    proof.uses.clear();
    proof.maintains.clear();
    for (size_t change = 0; change < advice_.changes.size(); ++change) {
      if (is_used(change, tried.after)) proof.uses.push_back(change);
      if (changes_.is_made(change) && advice_.changes[change].kind == ChangeKind::kIndex &&
          tried.after.written.contains(advice_.changes[change].table))
        proof.maintains.push_back(change);
    }
  }

  bool is_used(size_t change, const Measured& measured) {
    const bool view = advice_.changes[change].kind == ChangeKind::kMaterializedView;
    const auto is_seen = [&](const std::string& name) {
      return measured.used.contains(name) || (view && measured.read.contains(name));
    };
    return changes_.is_made(change) && std::ranges::any_of(changes_.names(change), is_seen);
  }

  // Two comparisons, of which one side was measured once, and the other before and after that: what the machine did in
  // the meantime is in one of them alone. The weaker of the two findings counts.
  static void take_weaker(StatementProof& proof, const Compared& second) {
    proof.ratio.low = std::min(proof.ratio.low, second.ratio.low);
    proof.ratio.high = std::max(proof.ratio.high, second.ratio.high);
    proof.before_ms = (proof.before_ms + second.before_ms) / 2;
    proof.after_ms = (proof.after_ms + second.after_ms) / 2;
    proof.ratio.value = std::sqrt(proof.ratio.value * second.ratio.value);
    if (second.outcome != proof.outcome) proof.outcome = Outcome::kSame;
  }

  void check_rows(size_t position) {
    StatementProof& proof = proof_.statements[position];
    const Tried& tried = tried_[position];
    proof.same_rows = true;
    proof.rows_note.clear();
    if (!tried.after.failure.empty()) {
      proof.same_rows = false;
      proof.rows_note = "with the changes it fails: " + tried.after.failure;
      return;
    }
    proof.recall.reset();
    const auto is_approximate = [&](size_t change) {
      const auto& index = advice_.changes[change].index;
      return index && index->is_approximate();
    };
    if (std::ranges::any_of(proof.uses, is_approximate) && !tried.runnable.writes) return check_recall(position);
    for (size_t set = 0; set < tried.before.sets.size(); ++set) {
      const SetRun &before = tried.before.sets[set], &after = tried.after.sets[set];
      if (before.stopped || after.stopped) {
        proof.same_rows.reset();
        proof.rows_note = "it was stopped, so its rows are not known";
        return;
      }
      if (before.rows == after.rows && before.hash == after.hash) continue;
      if (tried.runnable.writes) {
        proof.same_rows.reset();
        proof.rows_note = "it writes, and each time other rows";
        continue;
      }
      const RowsCheck check =
          compare_rows(session_, tried.runnable, set, changes_.drop_indexes(), "", limits().statement_s);
      proof.rows_note = check.note;
      if (check.same == true) continue;
      proof.same_rows = check.same;
      return;
    }
  }

  // Some of the rows may be others, if they are few enough.
  void check_recall(size_t position) {
    StatementProof& proof = proof_.statements[position];
    const Runnable& runnable = tried_[position].runnable;
    proof.same_rows.reset();
    try {
      double sum = 0;
      for (size_t set = 0; set < runnable.sets.size(); ++set)
        sum += recall_of(session_, runnable, set, changes_.drop_indexes(), limits().statement_s);
      proof.recall = sum / static_cast<double>(runnable.sets.size());
    } catch (const db::DbError& error) {
      if (session_.broken()) throw;
      proof.rows_note = std::string("how many of the rows are found could not be measured: ") + error.what();
      return;
    }
    proof.rows_note = fmt::format("approximate: {:.3g} % of an exact search's rows are found", *proof.recall * 100);
    if (*proof.recall >= options_.recall) return;
    proof.rows_note += fmt::format(", {:.3g} % are wanted (--recall)", options_.recall * 100);
    proof.same_rows = false;
  }

  bool is_seen_in_plans(size_t change) const { return advice_.changes[change].kind == ChangeKind::kIndex; }

  // Read by rewrites alone: the statements as they are know nothing of it.
  ChangeVerdict judge_view(size_t change) const {
    ChangeVerdict verdict{.change = change, .verdict = Verdict::kRejected};
    verdict.reason = "no rewrite that reads it gives the same rows in less time";
    for (const RewriteProof& rewrite : proof_.rewrites) {
      if (!rewrite.confirmed || std::ranges::find(rewrite.uses, change) == rewrite.uses.end()) continue;
      verdict.verdict = Verdict::kKept;
      verdict.reason = fmt::format("rewrite {} reads it: {}", rewrite.rewrite + 1, rewrite.reason);
      verdict.faster.push_back(rewrite.statement);
      verdict.saved_ms += advice_.statements[rewrite.statement].calls * (rewrite.before_ms - rewrite.after_ms);
    }
    return verdict;
  }

  void decide() {
    for (size_t i = 0; i < advice_.changes.size(); ++i) {
      if (!changes_.is_made(i)) continue;
      if (advice_.changes[i].kind == ChangeKind::kMaterializedView)
        proof_.changes[i] = judge_view(i);
      else if (is_seen_in_plans(i))
        proof_.changes[i] = judge(i, proof_.statements);
      else if (proof_.changes[i].verdict == Verdict::kNotTried)
        proof_.changes[i] = judge_alone(i);
      proof_.changes[i].name = advice_.changes[i].name;
      proof_.changes[i].bytes = changes_.bytes(i);
      proof_.changes[i].build_ms = changes_.build_ms(i);
    }
  }

  // Statistics, settings and dropped indexes leave no mark in plans: the statements are run without the change, with
  // all others there, and with it before and after that.
  ChangeVerdict judge_alone(size_t position) {
    const Change& change = advice_.changes[position];
    changes_.take_back(position);
    std::vector<StatementProof> alone;
    std::vector<Measured> withouts;
    for (size_t i = 0, runs = 0; i < tried_.size() && runs < kAlone; ++i) {
      const Tried& tried = tried_[i];
      const bool concerned = change.table.name.empty() || tried.after.read.contains(change.table.name);
      if (!proof_.statements[i].not_run.empty() || !concerned) continue;
      ++runs;
      Measured without = measure(session_, tried.runnable, limits());
      const bool same_plans = without.nodes == tried.after.nodes;
      if (change.kind == ChangeKind::kStatistics && same_plans) continue;
      const Compared compared = compare(without, tried.after, options_.seed);
      StatementProof& proof = alone.emplace_back();
      proof.statement = i;
      proof.calls = advice_.statements[i].calls;
      proof.before_ms = compared.before_ms;
      proof.after_ms = compared.after_ms;
      proof.ratio = compared.ratio;
      proof.outcome = compared.outcome;
      // A read takes as long without an index that its plans do not have, whatever the clock says.
      if (change.kind == ChangeKind::kDropIndex && same_plans && !tried.runnable.writes) proof.outcome = Outcome::kSame;
      proof.uses = {position};
      withouts.push_back(std::move(without));
    }
    changes_.make(position);
    for (size_t i = 0; i < alone.size(); ++i) {
      if (alone[i].outcome == Outcome::kSame) continue;
      const Measured with = measure(session_, tried_[alone[i].statement].runnable, limits());
      take_weaker(alone[i], compare(withouts[i], with, options_.seed + 1));
    }
    ChangeVerdict verdict = judge(position, alone);
    if (alone.empty())
      verdict.reason = change.kind == ChangeKind::kStatistics ? "no statement that was run has another plan with it"
                                                              : "no statement that was run reads " + change.table.name;
    if (change.kind == ChangeKind::kDropIndex && verdict.slower.empty() && verdict.saved_ms >= 0) {
      verdict.verdict = Verdict::kKept;
      verdict.reason = fmt::format("{} statements were run without it, and none got slower", alone.size());
    }
    return verdict;
  }

  // Without what was rejected, until the rest stands by itself. Whether anything was.
  bool confirm() {
    bool any = false;
    for (int round = 0; round < kConfirmations; ++round) {
      std::set<size_t> gone;
      for (const ChangeVerdict& verdict : proof_.changes)
        if (verdict.verdict != Verdict::kKept && changes_.is_made(verdict.change)) gone.insert(verdict.change);
      if (gone.empty()) return any;
      any = true;
      for (const size_t change : gone) changes_.take_back(change);
      for (size_t i = 0; i < tried_.size(); ++i) {
        const StatementProof& proof = proof_.statements[i];
        const auto is_gone = [&](size_t change) { return gone.contains(change); };
        const bool concerned =
            std::ranges::any_of(proof.uses, is_gone) || std::ranges::any_of(proof.maintains, is_gone);
        if (!proof.not_run.empty() || (!concerned && proof.outcome == Outcome::kSame)) continue;
        options_.progress(fmt::format("without what was rejected: statement {} of {}", i + 1, tried_.size()));
        tried_[i].after = measure(session_, tried_[i].runnable, limits());
        describe(i);
        check_rows(i);
      }
      decide();
    }
    return any;
  }

  // An index is in a plan, and another one of the same plan is what makes it fast: without the first the statements
  // take no longer. Whether there was such a one.
  bool reject_companions() {
    bool any = false;
    std::vector<size_t> order;
    for (const ChangeVerdict& verdict : proof_.changes)
      if (verdict.verdict == Verdict::kKept && is_seen_in_plans(verdict.change)) order.push_back(verdict.change);
    std::ranges::sort(order, {}, [&](size_t change) { return advice_.changes[change].gain_ms; });
    for (const size_t change : order) {
      if (proof_.changes[change].verdict != Verdict::kKept) continue;  // by now
      const std::string reason = as_fast_without(change);
      if (reason.empty()) continue;
      proof_.changes[change].verdict = Verdict::kRejected;
      proof_.changes[change].reason = reason;
      confirm();
      any = true;
    }
    return any;
  }

  // Empty where some statement needs it.
  std::string as_fast_without(size_t change) {
    std::string compared_statements;
    for (const size_t i : proof_.changes[change].faster) {
      const Tried& tried = tried_[i];
      const auto& uses = proof_.statements[i].uses;
      const auto is_other = [&](size_t other) {
        return other != change && proof_.changes[other].verdict == Verdict::kKept;
      };
      if (tried.runnable.writes || std::ranges::none_of(uses, is_other)) return {};
      options_.progress(fmt::format("statement {} without {} alone", i + 1, advice_.changes[change].name));
      // With it once more, beside it: now, in a transaction of the same kind.
      const Measured with = measure_with(session_, tried.runnable, "", limits());
      const Measured without = measure_with(session_, tried.runnable, changes_.drop_index(change), limits());
      if (!with.failure.empty() || !without.failure.empty()) return {};
      const Compared compared = compare(without, with, options_.seed);
      const bool needed = compared.outcome == Outcome::kFaster &&
                          compare(without, tried.after, options_.seed).outcome == Outcome::kFaster;
      if (needed) return {};
      compared_statements +=
          fmt::format("{}{} ({} with it)", compared_statements.empty() ? "" : "; ", i + 1, in_words(compared.ratio));
    }
    return compared_statements.empty() ? "" : "used, but without it alone no slower: " + compared_statements;
  }

  void try_rewrites() {
    proof_.rewrites.clear();
    for (size_t i = 0; i < advice_.rewrites.size(); ++i) {
      const Rewrite& rewrite = advice_.rewrites[i];
      RewriteProof& proof = proof_.rewrites.emplace_back();
      proof.rewrite = i;
      proof.statement = rewrite.statement;
      if (rewrite.statement >= tried_.size()) continue;
      options_.progress(fmt::format("rewrite {} of {}", i + 1, advice_.rewrites.size()));
      proof.reason = try_rewrite(rewrite, proof);
      proof.confirmed = proof.reason.empty();
      if (proof.confirmed) proof.reason = "the same rows in " + in_words(proof.ratio);
    }
  }

  bool have_same_placeholders(const Tried& tried, const Rewrite& rewrite) {
    if (tried.runnable.sql != advice_.statements[rewrite.statement].text) return false;
    if (tried.constants.empty()) return true;
    try {
      return session_.parameter_types(rewrite.text).size() == tried.runnable.sets.at(0).size();
    } catch (const db::DbError&) {
      if (session_.broken()) throw;
      return false;
    }
  }

  // Both with the constants of a logged call in their texts. False where none is known.
  bool write_constants(const Tried& tried, const Rewrite& rewrite, Runnable& original, Runnable& rewritten) const {
    const auto one = with_constants(advice_.statements[rewrite.statement].text, tried.constants);
    const auto other = with_constants(rewrite.text, tried.constants);
    if (tried.constants.empty() || !one || !other) return false;
    original.sql = *one;
    rewritten.sql = *other;
    original.sets = rewritten.sets = {{}};
    return true;
  }

  // Why it is not confirmed; empty when it is.
  std::string try_rewrite(const Rewrite& rewrite, RewriteProof& proof) {
    const StatementProof& statement = proof_.statements[rewrite.statement];
    const Tried& tried = tried_[rewrite.statement];
    if (!statement.not_run.empty()) return "not run: " + statement.not_run;
    if (const std::string refusal = refusal_to_run(session_, rewrite.text); !refusal.empty())
      return "not run: " + refusal;
    Runnable as_it_was = tried.runnable, rewritten = tried.runnable;
    rewritten.sql = rewrite.text;
    rewritten.writes |= writes_or_locks(rewrite.text);
    if (!have_same_placeholders(tried, rewrite) && !write_constants(tried, rewrite, as_it_was, rewritten))
      return "not run: the statement had to be written anew to be run, and its placeholders are numbered otherwise";
    const auto [original, changed] = measure_in_turn(session_, as_it_was, rewritten, limits());
    if (!changed.failure.empty()) return "it fails: " + changed.failure;
    const Compared compared = compare(original, changed, options_.seed);
    proof.before_ms = compared.before_ms;
    proof.after_ms = compared.after_ms;
    proof.ratio = compared.ratio;
    for (size_t change = 0; change < advice_.changes.size(); ++change)
      if (is_used(change, changed)) proof.uses.push_back(change);
    for (size_t set = 0; set < as_it_was.sets.size(); ++set) {
      const SetRun &one = original.sets[set], &other = changed.sets[set];
      if (one.hash == other.hash && one.rows == other.rows) continue;
      if (tried.runnable.writes) return "other numbers of rows";
      const RowsCheck check = compare_rows(session_, as_it_was, set, "", rewritten.sql, limits().statement_s);
      if (check.same == true) continue;
      return check.same ? fmt::format("other rows: {} instead of {}", other.rows, one.rows) : check.note;
    }
    if (compared.outcome == Outcome::kFaster) return {};
    return "the same rows, but not in less time beyond noise: " + in_words(compared.ratio);
  }

  // The clone is as it was at the beginning, and what a change has gained must be lost again.
  void measure_again() {
    std::vector<size_t> kept;
    for (size_t i = 0; i < advice_.changes.size(); ++i)
      if (changes_.is_made(i)) kept.push_back(i);
    const auto names = [&](size_t i) {
      return !proof_.statements[i].uses.empty() || proof_.statements[i].outcome != Outcome::kSame;
    };
    std::vector<size_t> concerned;
    for (size_t i = 0; i < tried_.size(); ++i)
      if (proof_.statements[i].not_run.empty() && names(i)) concerned.push_back(i);
    std::map<size_t, StatementProof> uses;
    for (const size_t i : concerned) uses[i] = proof_.statements[i];
    for (auto change = kept.rbegin(); change != kept.rend(); ++change) changes_.take_back(*change);
    for (const size_t i : concerned) {
      options_.progress(fmt::format("before, once more: statement {}", i + 1));
      tried_[i].again = measure(session_, tried_[i].runnable, limits());
      describe(i);
      proof_.statements[i].uses = uses.at(i).uses;
      proof_.statements[i].maintains = uses.at(i).maintains;
    }
    for (const size_t change : kept) judge_at_last(change);
  }

  void judge_at_last(size_t change) {
    if (!is_seen_in_plans(change) || proof_.changes[change].verdict != Verdict::kKept) return;
    ChangeVerdict last = judge(change, proof_.statements);
    last.name = proof_.changes[change].name;
    last.bytes = proof_.changes[change].bytes;
    last.build_ms = proof_.changes[change].build_ms;
    if (last.verdict != Verdict::kKept) last.reason = "measured a second time: " + last.reason;
    proof_.changes[change] = last;
  }

  void finish() {
    proof_.made_at_ms = now_ms();
    for (size_t i = 0; i < tried_.size(); ++i) {
      const StatementProof& proof = proof_.statements[i];
      if (!proof.not_run.empty() || tried_[i].runnable.writes) continue;
      proof_.before_ms += proof.calls * proof.before_ms;
      proof_.after_ms += proof.calls * proof.after_ms;
    }
  }

  const ProveOptions& options_;
  const Advice& advice_;
  const std::unique_ptr<Clone> clone_;
  Session session_;
  ChangesOnClone changes_;
  Catalog catalog_ = {};
  Logged logged_ = {};
  std::vector<Tried> tried_ = {};  // as Advice::statements
  Clock::time_point begun_ = Clock::now();
  Proof proof_ = {};
};

}  // namespace

Proof prove(Reactor& reactor, const ProveOptions& options, const Advice& advice) {
  const Interrupts interrupts;
  return Prover(reactor, options, advice).run();
}

}  // namespace cairn::tuner
