#include "tuner/sql/constants_text.h"

#include <gtest/gtest.h>

#include <random>

#include "tuner/sql/expression.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

TEST(ConstantsText, R21_TheValuesOfAStatementThatWasRun) {
  EXPECT_EQ(constants_in("SELECT * FROM runs WHERE status = $1 AND loss < $2 AND at > now() - interval $3 LIMIT $4",
                         "select * from runs where status = 'it''s' and loss < -1.5 and at > now() - interval '7 days' "
                         "limit 20 -- page 1",
                         {}),
            (Values{"it's", "-1.5", "7 days", "20"}));
  EXPECT_EQ(constants_in("SELECT * FROM runs WHERE status = $1 AND id IN ($2, $3) LIMIT $4",
                         "SELECT * FROM runs WHERE status = $1 AND id IN ($2, NULL) LIMIT 5", {"open", "7"}),
            (Values{"open", "7", std::nullopt, "5"}));
  EXPECT_EQ(constants_in("SELECT date_trunc($1, at), extract($2 FROM at) FROM runs WHERE is_open = $3",
                         "SELECT date_trunc('hour', at), extract(epoch FROM at) FROM runs WHERE is_open = true", {}),
            (Values{"hour", "epoch", "t"}));
}

TEST(ConstantsText, R21_AnotherStatementHasNone) {
  const std::string normalised = "SELECT * FROM runs WHERE status = $1 AND id IN ($2, $3)";
  EXPECT_FALSE(constants_in(normalised, "SELECT * FROM runs WHERE status = 'a' AND id IN (1, 2, 3)", {}));
  EXPECT_FALSE(constants_in(normalised, "SELECT * FROM other WHERE status = 'a' AND id IN (1, 2)", {}));
  EXPECT_FALSE(constants_in(normalised, "SELECT * FROM runs WHERE status = lower('A') AND id IN (1, 2)", {}));
  EXPECT_FALSE(constants_in(normalised, "SELECT * FROM runs WHERE status = $1 AND id IN (1, 2)", {}))
      << "no value for it";
  EXPECT_FALSE(constants_in(normalised, "SELECT 1; SELECT 2", {}));
  EXPECT_FALSE(
      constants_in("SELECT * FROM runs WHERE a = $1 OR b = $1", "SELECT * FROM runs WHERE a = 1 OR b = 2", {}));
}

TEST(ConstantsText, R21_ConstantsAreWrittenBackAsLiterals) {
  EXPECT_EQ(with_constants("SELECT * FROM runs WHERE name=$1 AND at > now() - interval $2 LIMIT $3",
                           Values{"it's", "7 days", std::nullopt}),
            "SELECT * FROM runs WHERE name= 'it''s'  AND at > now() - interval  '7 days'  LIMIT  NULL ");
  EXPECT_EQ(with_constants("SELECT '$1', \"$1\" FROM runs WHERE a = $1 AND b = $2", std::map<int, Value>{{2, "x"}}),
            "SELECT '$1', \"$1\" FROM runs WHERE a = $1 AND b =  'x' ");
  EXPECT_FALSE(with_constants("SELECT $1 FROM", Values{"x"}));
}

// Whatever the bytes: one statement comes of it, in which the value is one constant and stands unchanged.
TEST(ConstantsText, R21_AConstantIsNeverMoreThanALiteral) {
  constexpr std::string_view kPieces[] = {
      "'", "\\", "''", "\\'", "; DROP TABLE runs; --", "/*", "*/", "$1", "$$", "$a$", "\n", "\"", "E'", "é", "\x01",
      "0", ")",  "--", " "};
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string value;
    for (size_t i = random() % 8; i > 0; --i) value += kPieces[random() % std::size(kPieces)];
    const std::string normalised = "SELECT a FROM runs WHERE name = $1 AND kind = $2";
    const auto made = with_constants(normalised, Values{value, "k"});
    ASSERT_TRUE(made) << value;
    const auto tree = ParseTree::parse(*made);
    ASSERT_TRUE(tree) << *made;
    ASSERT_EQ(tree->statements().size(), 1U) << *made;
    ASSERT_EQ(constants_in(normalised, *made, {}), (Values{value, "k"})) << *made;
  }
}

}  // namespace
}  // namespace cairn::tuner
