// What autopilot makes of a proof.
#include "tuner/apply/autopilot.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

ChangeVerdict kept(size_t change, std::vector<size_t> faster) {
  return {.change = change, .verdict = Verdict::kKept, .faster = std::move(faster)};
}

TEST(AutopilotTest, R22_AnIndexWaitsWhereAViewAnswersAllThatItServes) {
  Advice advice;
  advice.changes = {
      {.kind = ChangeKind::kMaterializedView}, {.kind = ChangeKind::kIndex}, {.kind = ChangeKind::kIndex}};
  Proof proof;
  proof.changes = {kept(0, {}), kept(1, {0}), kept(2, {0, 1})};
  proof.rewrites = {{.statement = 0, .confirmed = true, .uses = {0}}};
  EXPECT_EQ(put_off(advice, proof), std::set<size_t>{1}) << "the other serves a second statement";

  Proof unconfirmed = proof;
  unconfirmed.rewrites[0].confirmed = false;
  EXPECT_TRUE(put_off(advice, unconfirmed).empty());

  Proof without_view = proof;
  without_view.changes[0].verdict = Verdict::kRejected;
  EXPECT_TRUE(put_off(advice, without_view).empty());

  Proof rejected = proof;
  rejected.changes[1].verdict = Verdict::kRejected;
  EXPECT_TRUE(put_off(advice, rejected).empty());

  advice.changes[1].kind = ChangeKind::kStatistics;
  EXPECT_TRUE(put_off(advice, proof).empty()) << "only indexes cost writes";
}

}  // namespace
}  // namespace cairn::tuner
