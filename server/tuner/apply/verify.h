// Whether what was applied does what it was made for: the times of statements before an apply and after it, as
// pg_stat_statements counted them in production. What got faster makes its changes `verified`; what got slower beyond
// noise, and by more than is gained, has its changes taken back.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "tuner/apply/apply.h"
#include "tuner/profile/statements.h"

namespace cairn::tuner {

// After divided by before, and the interval that holds it with the given confidence.
struct MeanRatio {
  double value = 1;
  double low = 0;
  double high = 0;
};

// The ratio of two means of times. By the delta method the logarithm of a mean m of n values with variance v has the
// variance v / (n m²); the interval of the difference of both is Student's, with the degrees of freedom of Welch (The
// generalization of Student's problem, Biometrika 34, 1947) and Satterthwaite. The logarithm, for times are skewed and
// a ratio below zero means nothing. Both need two calls and some time; nothing without.
std::optional<MeanRatio> ratio_of_means(const Counters& before, const Counters& after, double confidence);

enum class Effect { kFaster, kSame, kSlower, kTooFewCalls, kNotSeenBefore };
std::string_view effect_name(Effect effect);

struct StatementEffect {
  std::string id = {};  // fingerprint
  std::string text = {};
  std::vector<int64_t> serves = {};   // changes that were made for it
  std::vector<int64_t> touches = {};  // other changes to its tables
  int64_t calls_before = 0;
  int64_t calls_after = 0;
  double before_ms = 0;  // mean of a call
  double after_ms = 0;
  std::optional<MeanRatio> ratio = {};
  Effect effect = Effect::kSame;

  // By all calls since, in ms; below 0: lost.
  double saved_ms() const { return (before_ms - after_ms) * static_cast<double>(calls_after); }
};

// Of two windows. `comparisons`: among how many statements a slower one is looked for, for the confidence.
Effect effect_of(const Counters& before, const Counters& after, int64_t calls_min, size_t comparisons,
                 std::optional<MeanRatio>& ratio);

enum class ChangeVerdictKind { kWaiting, kVerified, kNoDifference, kSlower };

struct VerifiedChange {
  JournalEntry entry = {};
  ChangeVerdictKind verdict = ChangeVerdictKind::kWaiting;
  std::string reason = {};
  bool taken_back = false;
};

// A change is taken back when what got slower beyond noise loses more than the statements it was made for gain. One
// slower statement alone does not condemn it: an index always costs those that write something, and of many statements
// in production some have a bad hour (where `prove` measures both sides in turn, one does).
VerifiedChange judge(const JournalEntry& entry, const std::vector<StatementEffect>& statements);

struct VerifyOptions {
  std::string connection_string = {};
  bool keep = false;       // takes nothing back
  int64_t calls_min = 20;  // of a statement, before and after
  double wait_s = 0;       // for that many calls
  bool json = false;
};

struct VerifyReport {
  int64_t apply_id = 0;
  std::vector<StatementEffect> statements = {};
  std::vector<VerifiedChange> changes = {};
  std::vector<std::string> notes = {};
};

VerifyReport verify(Reactor& reactor, const VerifyOptions& options, std::ostream& progress);
// Returns the exit code: 1 where a change does more harm than good.
int run_verify(const VerifyOptions& options, std::ostream& out, std::ostream& progress);

}  // namespace cairn::tuner
