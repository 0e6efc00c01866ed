#include "tuner/apply/autopilot.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "db/pool.h"
#include "tuner/apply/apply.h"
#include "tuner/apply/verify.h"
#include "tuner/profile/snapshots.h"
#include "tuner/profile/workload.h"

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;

double percent(double part, double whole) { return whole <= 0 ? 0 : 100 * part / whole; }

std::string duration(double ms) {
  return std::abs(ms) >= 1000 ? fmt::format("{:.1f} s", ms / 1000) : fmt::format("{:.3g} ms", ms);
}

task<> pause(double seconds) {
  co_await sleep_for(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(std::max(0.0, seconds))));
}

class Autopilot {
 public:
  Autopilot(const AutopilotOptions& options, std::ostream& out, std::ostream& progress)
      : options_(options), out_(out), progress_(progress) {}

  int run() {
    bool good = true;
    for (int round = 1; options_.rounds == 0 || round <= options_.rounds; ++round) {
      if (round > 1) wait(options_.interval_s);
      good &= one_round();
    }
    return good ? 0 : 1;
  }

 private:
  // A step in the words of who reads the log.
  void say(const std::string& step, const std::string& what) {
    const int64_t at_ms = now_ms();
    if (options_.json) {
      std::string text;
      json::Writer writer(text);
      writer.begin_object();
      writer.field("at", at_ms);
      writer.field("step", step);
      writer.field("what", what);
      writer.end_object();
      out_ << text << std::endl;
    } else {
      out_ << fmt::format("{:%H:%M:%S}  {:<8} {}", fmt::gmtime(static_cast<time_t>(at_ms / 1000)), step,
                          on_one_line(what))
           << std::endl;
    }
  }

  void wait(double seconds) { reactor_.block_on(pause(seconds)); }

  bool one_round() {
    const Advice advice = look();
    if (advice.changes.empty()) return true;
    std::vector<int> chosen;
    if (!choose(advice, chosen)) return false;
    if (chosen.empty()) return true;
    if (options_.dry_run) {
      say("apply", "nothing: this is a dry run");
      return true;
    }
    return apply_them(advice, chosen) && verify_them();
  }

  Advice look() {
    std::string since;
    if (options_.watch_s > 0) {
      db::PoolOptions pool_options;
      pool_options.connection_string = options_.connection_string;
      pool_options.size = 1;
      db::Pool pool(pool_options);
      const Reading reading = reactor_.block_on(read_statements(pool));
      since = Snapshots(options_.state_directory).save(reading);
      say("profile", fmt::format("counting statements for {} s", options_.watch_s));
      wait(options_.watch_s);
    }
    Workload workload = counted_workload(reactor_, {.connection_string = options_.connection_string,
                                                    .state_directory = options_.state_directory,
                                                    .since = since,
                                                    .top = options_.top,
                                                    .log = options_.log});
    for (const std::string& note : workload.notes) say("profile", note);
    say("profile", fmt::format("{} statements can be planned", workload.statements.size()));
    Advice advice = advise(reactor_, options_.connection_string, std::move(workload.statements), options_.limits);
    for (const std::string& note : advice.notes) say("advise", note);
    say("advise",
        fmt::format("planning: {} calls, {:.1f} s, {:.0f} % of one core of {}", advice.calls, advice.planner_ms / 1000,
                    advice.planner_percent, advice.planner_is_clone ? "the clone" : "the server"));
    keep_only(advice, options_.allowed);
    if (advice.changes.empty()) {
      say("advise", "nothing to change");
      return advice;
    }
    save_advice(advice, options_.state_directory);
    say("advise", fmt::format("{} changes, estimated to take {:.1f} % off {}, for {:.1f} MB and {:.2g} % on writes",
                              advice.changes.size(), percent(advice.ms_before - advice.ms_after, advice.ms_before),
                              duration(advice.ms_before), static_cast<double>(advice.bytes) / kMiB,
                              percent(advice.write_ms, advice.written_ms)));
    for (size_t i = 0; i < advice.changes.size(); ++i)
      say("advise", fmt::format("{}: {}: {}", i + 1, advice.changes[i].statements.at(0), advice.changes[i].reason));
    return advice;
  }

  // The numbers of the changes that are to be made; false where that cannot be told.
  bool choose(const Advice& advice, std::vector<int>& chosen) {
    ProveOptions prove_options{.clone = options_.clone, .log = options_.log};
    prove_options.progress = [this](const std::string& what) { progress_ << on_one_line(what) << std::endl; };
    std::optional<Proof> proof;
    try {
      proof = prove(reactor_, prove_options, advice);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kAborted) throw;
      say("prove", std::string("no proof: ") + error.what());
      if (!options_.unproven) return false;
    }
    if (!proof) {
      for (size_t i = 0; i < advice.changes.size(); ++i)
        if (!advice.changes[i].only_proved) chosen.push_back(static_cast<int>(i + 1));
      return true;
    }
    save_proof(*proof, options_.state_directory);
    say("prove",
        fmt::format("on {}: {} before, {} after", proof->clone, duration(proof->before_ms), duration(proof->after_ms)));
    const std::set<size_t> waiting = put_off(advice, *proof);
    for (const ChangeVerdict& change : proof->changes) {
      const bool kept = change.verdict == Verdict::kKept, waits = waiting.contains(change.change);
      const std::string reason =
          waits ? change.reason +
                      "; but a view is made for that: a later round makes it, where the statement goes on being sent"
                : change.reason;
      say("prove", fmt::format("{} {}: {}", waits ? "put off" : kept ? "keep" : "reject", change.name, reason));
      if (kept && !waits) chosen.push_back(static_cast<int>(change.change + 1));
    }
    for (const RewriteProof& rewrite : proof->rewrites) {
      if (rewrite.confirmed)
        say("offer", fmt::format("for the program's owner: {} ({}): {}", advice.rewrites[rewrite.rewrite].text,
                                 advice.rewrites[rewrite.rewrite].rule, rewrite.reason));
    }
    return true;
  }

  bool apply_them(const Advice& advice, std::vector<int> chosen) {
    ApplyOptions apply_options{.connection_string = options_.connection_string,
                               .state_directory = options_.state_directory,
                               .advice = advice.id,
                               .only = std::move(chosen),
                               .unproven = options_.unproven};
    const ApplyReport report = apply(reactor_, apply_options, progress_);
    for (const ChangeReport& change : report.changes) {
      const char* outcome = change.outcome == ChangeOutcome::kDone           ? "made"
                            : change.outcome == ChangeOutcome::kThereAlready ? "there already"
                                                                             : "failed";
      say("apply",
          fmt::format("{}: {}{}", outcome, change.statement, change.detail.empty() ? "" : " (" + change.detail + ")"));
    }
    for (const std::string& note : report.notes) say("apply", note);
    return report.ok();
  }

  bool verify_them() {
    const VerifyReport report =
        verify(reactor_, {.connection_string = options_.connection_string, .wait_s = options_.verify_s}, progress_);
    bool good = true;
    for (const StatementEffect& statement : report.statements) {
      if (statement.effect == Effect::kFaster || statement.effect == Effect::kSlower)
        say("verify", fmt::format("{}: {} before, {} after: {}", effect_name(statement.effect),
                                  duration(statement.before_ms), duration(statement.after_ms), statement.text));
    }
    for (const VerifiedChange& change : report.changes) {
      good &= change.verdict != ChangeVerdictKind::kSlower;
      say("verify", fmt::format("{}{}: {}", change.taken_back ? "taken back: " : "", change.entry.name, change.reason));
    }
    for (const std::string& note : report.notes) say("verify", note);
    return good;
  }

  const AutopilotOptions& options_;
  std::ostream& out_;
  std::ostream& progress_;
  Reactor reactor_;
};

}  // namespace

std::set<size_t> put_off(const Advice& advice, const Proof& proof) {
  const auto is_made = [&](size_t change) {
    const ChangeVerdict* verdict = proof.of_change(change);
    return advice.changes[change].kind == ChangeKind::kMaterializedView && verdict != nullptr &&
           verdict->verdict == Verdict::kKept;
  };
  std::set<size_t> from_views;
  for (const RewriteProof& rewrite : proof.rewrites)
    if (rewrite.confirmed && std::ranges::any_of(rewrite.uses, is_made)) from_views.insert(rewrite.statement);
  std::set<size_t> waiting;
  for (const ChangeVerdict& change : proof.changes)
    if (change.verdict == Verdict::kKept && advice.changes[change.change].kind == ChangeKind::kIndex &&
        !change.faster.empty() &&
        std::ranges::all_of(change.faster, [&](size_t statement) { return from_views.contains(statement); }))
      waiting.insert(change.change);
  return waiting;
}

void keep_only(Advice& advice, const std::set<ChangeKind>& allowed) {
  constexpr size_t kGone = static_cast<size_t>(-1);
  std::vector<size_t> now(advice.changes.size(), kGone);
  std::vector<Change> kept;
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    Change& change = advice.changes[i];
    const bool asked_for = change.kind != ChangeKind::kIndex || !change.on_request;
    if (!allowed.contains(change.kind) || !asked_for) continue;
    now[i] = kept.size();
    kept.push_back(std::move(change));
  }
  advice.changes = std::move(kept);
  for (AdviceStatement& statement : advice.statements) {
    std::vector<size_t> uses;
    for (const size_t use : statement.uses)
      if (now[use] != kGone) uses.push_back(now[use]);
    statement.uses = std::move(uses);
  }
  // What reads a view is of no use without it.
  const bool views = allowed.contains(ChangeKind::kMaterializedView);
  std::erase_if(advice.rewrites, [&](const Rewrite& rewrite) { return !views && rewrite.rule == "materialized-view"; });
}

int run_autopilot(const AutopilotOptions& options, std::ostream& out, std::ostream& progress) {
  return Autopilot(options, out, progress).run();
}

}  // namespace cairn::tuner
