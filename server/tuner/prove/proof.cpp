#include "tuner/prove/proof.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace cairn::tuner {
namespace {

constexpr int kResamples = 2000;
constexpr double kTail = 0.025;
constexpr double kNoise = 0.05;
constexpr double kSmallestMs = 0.05;
constexpr double kShortestMs = 1e-6;  // no division by zero

// std::uniform_int_distribution gives other numbers in other libraries.
size_t draw(std::mt19937_64& random, size_t count) { return static_cast<size_t>(random() % count); }

double resampled_median(const std::vector<double>& values, std::mt19937_64& random, std::vector<double>& scratch) {
  scratch.clear();
  for (size_t i = 0; i < values.size(); ++i) scratch.push_back(values[draw(random, values.size())]);
  return median(scratch);
}

bool contains(const std::vector<size_t>& positions, size_t position) {
  return std::ranges::find(positions, position) != positions.end();
}

std::string statement_and_ratio(const StatementProof& statement) {
  return fmt::format("{} ({})", statement.statement + 1, in_words(statement.ratio));
}

double quotient(double after, double before) { return std::max(after, kShortestMs) / std::max(before, kShortestMs); }

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t middle = values.size() / 2;
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(middle));
  const double upper = values[middle];
  if (values.size() % 2 != 0) return upper;
  return (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) / 2;
}

Ratio ratio_of(std::span<const Sample> samples, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> ratios, scratch;
  double before = 0, after = 0;
  for (const Sample& sample : samples) before += median(sample.before), after += median(sample.after);
  for (int i = 0; i < kResamples; ++i) {
    double some_before = 0, some_after = 0;
    for (const Sample& sample : samples) {
      some_before += resampled_median(sample.before, random, scratch);
      some_after += resampled_median(sample.after, random, scratch);
    }
    ratios.push_back(quotient(some_after, some_before));
  }
  std::ranges::sort(ratios);
  const auto at = [&](double share) {
    return ratios[static_cast<size_t>(std::lround(share * static_cast<double>(ratios.size() - 1)))];
  };
  return {.value = quotient(after, before), .low = at(kTail), .high = at(1 - kTail)};
}

Outcome outcome_of(const Ratio& ratio, double before_ms, double after_ms) {
  if (std::abs(after_ms - before_ms) < kSmallestMs) return Outcome::kSame;
  if (ratio.high < 1 - kNoise) return Outcome::kFaster;
  if (ratio.low > 1 + kNoise) return Outcome::kSlower;
  return Outcome::kSame;
}

std::string in_words(const Ratio& ratio) {
  return fmt::format("{:.3g} of the time, {:.3g} to {:.3g}", ratio.value, ratio.low, ratio.high);
}

ChangeVerdict judge(size_t change, const std::vector<StatementProof>& statements) {
  ChangeVerdict verdict{.change = change, .verdict = Verdict::kRejected};
  std::string faster, slower;
  const StatementProof* best = nullptr;
  size_t users = 0;
  for (const StatementProof& statement : statements) {
    const bool uses = contains(statement.uses, change);
    if (!statement.not_run.empty() || (!uses && !contains(statement.maintains, change))) continue;
    if (uses && statement.same_rows == false) {
      verdict.reason = fmt::format("statement {} gives other rows with it", statement.statement + 1);
      if (statement.recall)
        verdict.reason = fmt::format("statement {}: {}", statement.statement + 1, statement.rows_note);
      verdict.slower = {statement.statement};
      return verdict;
    }
    if (uses) ++users;
    if (uses && (best == nullptr || statement.ratio.value < best->ratio.value)) best = &statement;
    if (statement.outcome == Outcome::kSame) continue;
    verdict.saved_ms += statement.calls * (statement.before_ms - statement.after_ms);
    const bool gains = statement.outcome == Outcome::kFaster;
    if (gains && !uses) continue;  // a write is not faster for one more index
    (gains ? verdict.faster : verdict.slower).push_back(statement.statement);
    (gains ? faster : slower) += (gains ? faster : slower).empty() ? "" : "; ";
    (gains ? faster : slower) += statement_and_ratio(statement);
  }
  if (users == 0) {
    verdict.reason = "no plan uses it";
  } else if (verdict.faster.empty()) {
    verdict.reason =
        fmt::format("used, but nothing got faster beyond noise; at best statement {}", statement_and_ratio(*best));
  } else if (verdict.saved_ms <= 0) {
    verdict.reason = fmt::format("the workload takes longer with it by {:.3g} ms; slower: {}; faster: {}",
                                 -verdict.saved_ms, slower, faster);
  } else {
    verdict.verdict = Verdict::kKept;
    verdict.reason = "faster: " + faster + (slower.empty() ? "" : "; but slower: " + slower);
  }
  return verdict;
}

bool Proof::kept_any() const {
  return std::ranges::any_of(changes, [](const ChangeVerdict& change) { return change.verdict == Verdict::kKept; }) ||
         std::ranges::any_of(rewrites, &RewriteProof::confirmed);
}

const ChangeVerdict* Proof::of_change(size_t change) const {
  const auto found = std::ranges::find(changes, change, &ChangeVerdict::change);
  return found == changes.end() ? nullptr : &*found;
}

}  // namespace cairn::tuner
