#include "tuner/advise/rewrite_advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "tuner/advise/candidates.h"
#include "tuner/rewrite/rewrites.h"
#include "tuner/sql/constants_text.h"

namespace cairn::tuner {
namespace {

constexpr size_t kIndexesTried = 4;     // of the new text's own
constexpr size_t kStatementsMax = 200;  // those with the most time
constexpr double kLess = 0.99;

// Whether it is worth anything only where the planner says so.
bool depends_on_plan(const Rewrite& rewrite) {
  return rewrite.rule == "or-to-union" || rewrite.rule == "correlated-extreme" ||
         rewrite.rule == "subqueries-to-lateral";
}

class Trial {
 public:
  Trial(WhatIf& what_if, const Catalog& catalog, const Advice& advice)
      : what_if_(what_if), catalog_(catalog), advice_(advice) {
    for (const Change& change : advice.changes)
      if (change.index && change.kind == ChangeKind::kIndex) chosen_.push_back(*change.index);
  }

  // Completes its reason; false where it is not to be had.
  bool is_worth_it(Rewrite& rewrite) {
    std::string refusal;
    const AdviceStatement& statement = advice_.statements[rewrite.statement];
    // With the constants that the statement was planned with.
    const auto text = statement.constants.empty() ? std::nullopt : with_constants(rewrite.text, statement.constants);
    const auto number = what_if_.add(text.value_or(rewrite.text), refusal);
    if (!number) return false;
    const double plain = what_if_.cost(*number);
    double best = plain;
    std::string costs = fmt::format("; the planner's cost: {:.0f} instead of {:.0f}", plain, statement.cost_before);
    if (what_if_.missing().empty()) {
      if (!chosen_.empty()) {
        const double with_chosen = what_if_.estimate(*number, chosen_).cost;
        costs += fmt::format(", with the proposed indexes {:.0f} instead of {:.0f}", with_chosen, statement.cost_after);
        best = std::min(best, with_chosen);
      }
      costs += with_own_index(*number, rewrite.text, best);
    }
    if (depends_on_plan(rewrite) && best >= statement.cost_after * kLess) return false;
    rewrite.reason += costs;
    return true;
  }

 private:
  std::string with_own_index(size_t number, const std::string& text, double& best) {
    std::string sentence;
    size_t tried = 0;
    const WorkloadStatement statement{.text = text};
    for (const Candidate& candidate : propose(catalog_, {&statement, 1})) {
      const auto known = std::ranges::find(chosen_, candidate.index);
      if (known != chosen_.end() || !what_if_.bytes(candidate.index)) continue;
      if (++tried > kIndexesTried) break;
      std::vector<IndexDefinition> indexes = chosen_;
      indexes.push_back(candidate.index);
      const double cost = what_if_.estimate(number, indexes).cost;
      if (cost >= best * kLess) continue;
      best = cost;
      sentence =
          fmt::format(", {:.0f} after {}", cost, create_statement(candidate.index, index_name(candidate.index), true));
    }
    return sentence;
  }

  WhatIf& what_if_;
  const Catalog& catalog_;
  const Advice& advice_;
  std::vector<IndexDefinition> chosen_;
};

}  // namespace

std::vector<Rewrite> tried_rewrites(WhatIf& what_if, const Catalog& catalog, const Advice& advice) {
  Trial trial(what_if, catalog, advice);
  std::vector<Rewrite> kept;
  for (size_t i = 0; i < std::min(advice.statements.size(), kStatementsMax); ++i) {
    for (Rewrite& rewrite : propose_rewrites(catalog, advice.statements[i].text)) {
      rewrite.statement = i;
      if (trial.is_worth_it(rewrite)) kept.push_back(std::move(rewrite));
    }
  }
  return kept;
}

}  // namespace cairn::tuner
