// What running an advice's statements on a clone has shown, and the arithmetic of it: how much faster, how sure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cairn::tuner {

// After divided by before, with the interval that holds it in 95 of 100 cases.
struct Ratio {
  double value = 1;
  double low = 1;
  double high = 1;
};

// Times of one statement with one set of values for its placeholders, in ms.
struct Sample {
  std::vector<double> before = {};
  std::vector<double> after = {};
};

double median(std::vector<double> values);

// The ratio of the sums of the medians. The interval is the percentile bootstrap's (Efron and Tibshirani, An
// Introduction to the Bootstrap, 1993, chapter 13), resampled within each set and phase: sets are other work, not
// noise. The same seed gives the same interval.
Ratio ratio_of(std::span<const Sample> samples, uint64_t seed);

enum class Outcome { kSame, kFaster, kSlower };

// Beyond noise: the whole interval is on one side of 1 by 5 %, and it is about more than 0.05 ms.
Outcome outcome_of(const Ratio& ratio, double before_ms, double after_ms);

// A plan in words that hold no values of the data.
struct PlanSketch {
  std::vector<std::string> nodes = {};  // "Seq Scan on deployments d: 71 % of the time, 20,000 rows", the dearest first
  std::string problem = {};             // what is most wrong with it; empty: nothing that is known
};

struct StatementProof {
  size_t statement = 0;  // position in Advice::statements
  std::string text = {};
  double calls = 0;
  std::string not_run = {};  // why; then nothing of the rest is known
  int parameter_sets = 0;
  int rounds = 0;        // that were timed, of each set, before and after
  double before_ms = 0;  // one call: the mean over the sets of the median times
  double after_ms = 0;
  Ratio ratio = {};
  Outcome outcome = Outcome::kSame;
  bool before_stopped = false;  // by the time limit; the time then is the limit
  bool after_stopped = false;
  int64_t rows = 0;
  std::optional<bool> same_rows = {};  // absent: not comparable, rows_note says why
  std::string rows_note = {};
  std::optional<double> recall = {};  // through an approximate index: the share of the exact search's rows
  int64_t blocks_before = 0;          // of 8 kB, that one run of each set touched
  int64_t blocks_after = 0;
  PlanSketch plan_before = {};                // of the first set of values
  std::vector<std::string> used_before = {};  // names of indexes and materialised views in the plans
  std::vector<std::string> used_after = {};
  std::vector<size_t> uses = {};       // changes that the plans after use
  std::vector<size_t> maintains = {};  // indexes among the changes that it may have to write
};

enum class Verdict { kKept, kRejected, kNotTried };

struct ChangeVerdict {
  size_t change = 0;  // position in Advice::changes
  std::string name = {};
  Verdict verdict = Verdict::kNotTried;
  std::string reason = {};
  int64_t bytes = 0;                // that it really takes
  double build_ms = 0;              // that making it took
  double saved_ms = 0;              // by the statements that use it, all calls together
  std::vector<size_t> faster = {};  // positions in Advice::statements
  std::vector<size_t> slower = {};
};

struct RewriteProof {
  size_t rewrite = 0;  // position in Advice::rewrites
  size_t statement = 0;
  bool confirmed = false;  // equal rows in less time
  std::string reason = {};
  double before_ms = 0;  // the statement as it is, with the changes that are kept
  double after_ms = 0;
  Ratio ratio = {};
  std::vector<size_t> uses = {};  // changes that its plans use
};

struct Proof {
  std::string advice = {};  // its id
  int64_t made_at_ms = 0;
  std::string clone = {};  // which kind of clone, in words
  uint64_t seed = 0;
  std::vector<StatementProof> statements = {};
  std::vector<ChangeVerdict> changes = {};
  std::vector<RewriteProof> rewrites = {};
  std::vector<std::string> notes = {};
  // All calls of the statements that were run, without those that write.
  double before_ms = 0;
  double after_ms = 0;

  bool kept_any() const;  // a change or a rewrite
  const ChangeVerdict* of_change(size_t change) const;
};

// The verdict over a change that plans show when they use it, from what the statements took with it and without.
ChangeVerdict judge(size_t change, const std::vector<StatementProof>& statements);
// "0.021 of the time (0.019 to 0.024)"
std::string in_words(const Ratio& ratio);

std::string to_json(const Proof& proof);
// Throws Error where the text is no proof.
Proof proof_from_json(const std::string& text);

// As proofs/<id of the advice>.json, in the place of an earlier one. Returns the path.
std::string save_proof(const Proof& proof, const std::string& state_directory);
// Nothing where the advice was not proved.
std::optional<Proof> load_proof(const std::string& state_directory, const std::string& advice);

}  // namespace cairn::tuner
