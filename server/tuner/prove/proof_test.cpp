#include "tuner/prove/proof.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "tuner/prove/prove.h"

namespace cairn::tuner {
namespace {

StatementProof statement(size_t position, Outcome outcome, double before_ms, double after_ms,
                         std::vector<size_t> uses) {
  StatementProof proof{.statement = position, .text = "SELECT 1", .calls = 10};
  proof.before_ms = before_ms;
  proof.after_ms = after_ms;
  proof.ratio = {after_ms / before_ms, after_ms / before_ms, after_ms / before_ms};
  proof.outcome = outcome;
  proof.uses = std::move(uses);
  proof.same_rows = true;
  return proof;
}

TEST(ProofTest, R26_TheIntervalHoldsTheRatioAndNoiseIsNoGain) {
  const std::vector<Sample> clear{{{10, 11, 10.5, 10.2, 10.1}, {1, 1.1, 1.05, 1.2, 1}},
                                  {{20, 21, 20, 22, 20}, {2, 2, 2.1, 2, 2.2}}};
  const Ratio faster = ratio_of(clear, 1);
  EXPECT_NEAR(faster.value, 0.1, 0.01);
  EXPECT_LE(faster.low, faster.value);
  EXPECT_GE(faster.high, faster.value);
  EXPECT_EQ(outcome_of(faster, 30, 3), Outcome::kFaster);
  EXPECT_EQ(ratio_of(clear, 1).low, faster.low) << "the same seed, the same interval";

  const std::vector<Sample> noise{{{10, 14, 9, 12, 11}, {9, 13, 10, 8, 12}}};
  const Ratio unclear = ratio_of(noise, 1);
  EXPECT_LT(unclear.low, 1);
  EXPECT_GT(unclear.high, 0.95);
  EXPECT_EQ(outcome_of(unclear, 11, 10), Outcome::kSame);
  EXPECT_EQ(outcome_of({0.5, 0.4, 0.6}, 0.04, 0.02), Outcome::kSame) << "twenty microseconds are nothing";
  EXPECT_EQ(outcome_of({1.5, 1.4, 1.6}, 10, 15), Outcome::kSlower);
}

TEST(ProofTest, R26_TwoDisturbedRunsHideNoGain) {
  std::vector<double> after(static_cast<size_t>(ProveOptions{}.rounds), 0.1);
  after[0] = after[3] = 8;
  const Ratio ratio = ratio_of(std::vector<Sample>{{std::vector<double>(after.size(), 3.0), after}}, 1);
  EXPECT_EQ(outcome_of(ratio, 3, 0.1), Outcome::kFaster) << in_words(ratio);
}

TEST(ProofTest, R26_KeepsAChangeForItsStatementsAlone) {
  const std::vector<StatementProof> all{
      statement(0, Outcome::kFaster, 10, 1, {0}), statement(1, Outcome::kSame, 5, 5, {1}),
      statement(2, Outcome::kSlower, 5, 50, {2}), statement(3, Outcome::kFaster, 5, 4, {2})};
  EXPECT_EQ(judge(0, all).verdict, Verdict::kKept);
  EXPECT_NE(judge(0, all).reason.find("faster: 1 (0.1 of the time"), std::string::npos) << judge(0, all).reason;
  EXPECT_EQ(judge(1, all).verdict, Verdict::kRejected);
  EXPECT_NE(judge(1, all).reason.find("nothing got faster"), std::string::npos);
  EXPECT_EQ(judge(2, all).verdict, Verdict::kRejected) << "it loses more than it gains";
  EXPECT_NE(judge(2, all).reason.find("slower: 3"), std::string::npos) << judge(2, all).reason;
  EXPECT_EQ(judge(3, all).reason, "no plan uses it");
}

TEST(ProofTest, R26_OtherRowsAreWorseThanAnyTime) {
  std::vector<StatementProof> all{statement(0, Outcome::kFaster, 10, 1, {0})};
  all[0].same_rows = false;
  EXPECT_EQ(judge(0, all).verdict, Verdict::kRejected);
  EXPECT_NE(judge(0, all).reason.find("other rows"), std::string::npos);
}

TEST(ProofTest, R26_WritesAreCounted) {
  StatementProof write = statement(1, Outcome::kSlower, 1, 4, {});
  write.calls = 1000;
  write.maintains = {0};
  EXPECT_EQ(judge(0, {statement(0, Outcome::kFaster, 10, 1, {0}), write}).verdict, Verdict::kRejected);
  write.calls = 1;
  EXPECT_EQ(judge(0, {statement(0, Outcome::kFaster, 10, 1, {0}), write}).verdict, Verdict::kKept);
}

TEST(ProofTest, R26_IsKeptAndReadAgain) {
  const testing_support::TemporaryDirectory folder;
  Proof proof{.advice = "20261122T010203.004Z", .made_at_ms = 12, .clone = "a copy", .seed = 7};
  proof.statements = {statement(0, Outcome::kFaster, 10, 1, {0}),
                      {.statement = 1, .text = "SELECT 'ü'", .not_run = "why"}};
  proof.statements[0].rows_note = "ties";
  proof.statements[0].recall = 0.975;
  proof.statements[0].same_rows.reset();
  proof.changes = {
      {.change = 0, .name = "i\"x", .verdict = Verdict::kKept, .reason = "faster", .bytes = 8192, .faster = {0}},
      {.change = 1, .verdict = Verdict::kNotTried}};
  proof.rewrites = {{.rewrite = 0, .statement = 1, .confirmed = true, .reason = "r"}};
  EXPECT_FALSE(load_proof(folder.path(), proof.advice));
  save_proof(proof, folder.path());
  const auto read = load_proof(folder.path(), proof.advice);
  ASSERT_TRUE(read);
  EXPECT_EQ(to_json(*read), to_json(proof));
  EXPECT_EQ(read->of_change(0)->verdict, Verdict::kKept);
  EXPECT_EQ(read->of_change(2), nullptr);
  EXPECT_THROW(proof_from_json("{\"format\": 99}"), Error);
}

}  // namespace
}  // namespace cairn::tuner
