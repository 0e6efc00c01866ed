// The arithmetic of verify, and its judgement. No database.
#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include <fmt/format.h>

#include "tuner/apply/verify.h"

namespace cairn::tuner {
namespace {

constexpr double kConfidence = 0.99;
// What counts as another time, beyond what noise explains: caches and load change a little by themselves.
constexpr double kFaster = 0.95;
constexpr double kSlower = 1.10;
constexpr double kNoticedMs = 0.05;  // a call

double variance(const Counters& counters) {
  const double n = static_cast<double>(counters.calls), mean = counters.mean_ms();
  // Of the sample: pg_stat_statements has the population's.
  return std::max(0.0, counters.squares_ms2 - n * mean * mean) / (n - 1);
}

}  // namespace

std::optional<MeanRatio> ratio_of_means(const Counters& before, const Counters& after, double confidence) {
  if (before.calls < 2 || after.calls < 2 || before.total_ms <= 0 || after.total_ms <= 0) return std::nullopt;
  const auto error_of = [](const Counters& counters) {
    return variance(counters) / static_cast<double>(counters.calls) / (counters.mean_ms() * counters.mean_ms());
  };
  const double a = error_of(before), b = error_of(after);
  const double middle = std::log(after.mean_ms() / before.mean_ms());
  if (a + b <= 0) return MeanRatio{std::exp(middle), std::exp(middle), std::exp(middle)};
  const double freedom = (a + b) * (a + b) /
                         (a * a / static_cast<double>(before.calls - 1) + b * b / static_cast<double>(after.calls - 1));
  const boost::math::students_t student(freedom);
  const double half = boost::math::quantile(boost::math::complement(student, (1 - confidence) / 2)) * std::sqrt(a + b);
  return MeanRatio{std::exp(middle), std::exp(middle - half), std::exp(middle + half)};
}

std::string_view effect_name(Effect effect) {
  switch (effect) {
    case Effect::kFaster:
      return "faster";
    case Effect::kSame:
      return "same";
    case Effect::kSlower:
      return "slower";
    case Effect::kTooFewCalls:
      return "too_few_calls";
    case Effect::kNotSeenBefore:
      break;
  }
  return "not_seen_before";
}

Effect effect_of(const Counters& before, const Counters& after, int64_t calls_min, size_t comparisons,
                 std::optional<MeanRatio>& ratio) {
  if (before.calls == 0) return Effect::kNotSeenBefore;
  // Bonferroni: of many statements some look slower by chance.
  const double confidence = 1 - (1 - kConfidence) / static_cast<double>(std::max<size_t>(1, comparisons));
  ratio = ratio_of_means(before, after, confidence);
  if (before.calls < calls_min || after.calls < calls_min || !ratio) return Effect::kTooFewCalls;
  const double change = after.mean_ms() - before.mean_ms();
  if (ratio->high < kFaster) return Effect::kFaster;
  if (ratio->low > kSlower && change > kNoticedMs) return Effect::kSlower;
  return Effect::kSame;
}

VerifiedChange judge(const JournalEntry& entry, const std::vector<StatementEffect>& statements) {
  VerifiedChange verdict{.entry = entry};
  double lost = 0, saved = 0;
  std::string slower;
  size_t served = 0, faster = 0, few = 0;
  for (const StatementEffect& statement : statements) {
    const auto has = [&](const std::vector<int64_t>& ids) {
      return std::find(ids.begin(), ids.end(), entry.id) != ids.end();
    };
    const bool serves = has(statement.serves);
    // Of another change's statement only what that one does not explain: it has its own judge.
    if (!serves && !(has(statement.touches) && statement.serves.empty())) continue;
    const bool counted = statement.effect != Effect::kTooFewCalls && statement.effect != Effect::kNotSeenBefore;
    served += serves;
    faster += serves && statement.effect == Effect::kFaster;
    few += serves && !counted;
    if (statement.effect == Effect::kSlower) {
      lost -= statement.saved_ms();
      if (slower.empty()) slower = statement.id;
    } else if (serves && counted) {
      saved += statement.saved_ms();
    }
  }
  if (lost > std::max(0.0, saved)) {
    verdict.verdict = ChangeVerdictKind::kSlower;
  } else if (faster > 0) {
    verdict.verdict = ChangeVerdictKind::kVerified;
    verdict.reason = fmt::format("{} of {} statements faster, {:.1f} ms saved since", faster, served, saved);
  } else if (few > 0 || served == 0) {
    verdict.reason = served == 0 ? "made for no statement that is counted"
                                 : fmt::format("not enough calls yet of {} of {} statements", few, served);
  } else {
    verdict.verdict = ChangeVerdictKind::kNoDifference;
    verdict.reason = "its statements take as long as before";
  }
  if (!slower.empty())
    verdict.reason += fmt::format("{}statement {} got slower: {:.1f} ms lost since, {:.1f} ms saved",
                                  verdict.reason.empty() ? "" : "; ", slower, lost, saved);
  return verdict;
}

}  // namespace cairn::tuner
