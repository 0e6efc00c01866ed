#include "tuner/plan/plan_conditions.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

using Kind = ConditionKind;

Condition only(std::string_view text, std::string_view alias = "t") {
  const auto conditions = read_conditions(text, alias);
  EXPECT_EQ(conditions.size(), 1u) << text;
  return conditions.empty() ? Condition{} : conditions.front();
}

TEST(Conditions, AreTakenApart) {
  const auto all = read_conditions(
      "((d.deployed_at > (now() - '30 days'::interval)) AND ((d.status)::text = 'a AND b'::text))", "d");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].column, "deployed_at");
  EXPECT_EQ(all[0].kind, Kind::kRange);
  EXPECT_EQ(all[0].value, "(now() - '30 days'::interval)");
  EXPECT_EQ(all[1].column, "status");
  EXPECT_EQ(all[1].cast, "text");
  EXPECT_EQ(all[1].kind, Kind::kEquality);
}

TEST(Conditions, HaveKinds) {
  EXPECT_EQ(only("(t.a = 5)").kind, Kind::kEquality);
  EXPECT_EQ(only("(t.a = ANY ('{1,2}'::integer[]))").kind, Kind::kEquality);
  EXPECT_EQ(only("(t.a <> 5)").kind, Kind::kOther);
  EXPECT_EQ(only("(t.a <> ALL ('{1,2}'::integer[]))").kind, Kind::kOther);
  EXPECT_EQ(only("(t.a ~~ 'x%'::text)").kind, Kind::kPattern);
  EXPECT_EQ(only("(t.a @> '{}'::jsonb)").kind, Kind::kContains);
  EXPECT_EQ(only("(t.a IS NOT NULL)").kind, Kind::kTest);
  EXPECT_EQ(only("(NOT t.a)").column, "a");
  EXPECT_EQ(only("t.a").kind, Kind::kTest);
  EXPECT_EQ(only("(t.a = t.b)").kind, Kind::kOther);
  const Condition either = only("((t.a = 1) OR (t.b = 2))");
  EXPECT_EQ(either.kind, Kind::kOr);
  ASSERT_EQ(either.alternatives.size(), 2u);
  EXPECT_EQ(either.alternatives[1].column, "b");
}

TEST(Conditions, AreReadFromTheRelationsSide) {
  const Condition mirrored = only("(5 < t.a)");
  EXPECT_EQ(mirrored.column, "a");
  EXPECT_EQ(mirrored.operator_name, ">");
  EXPECT_EQ(mirrored.value, "5");
  const Condition join = only("(s.id = t.id)");
  EXPECT_EQ(join.column, "id");
  EXPECT_EQ(join.value, "s.id");
}

TEST(Conditions, FindColumnsInsideOfExpressions) {
  const Condition lower = only("(lower(t.name) = 'x'::text)");
  EXPECT_EQ(lower.column, "");
  EXPECT_EQ(lower.expression, "lower(name)");
  EXPECT_EQ(only("(((t.j ->> 'k'::text))::double precision > '0.5'::double precision)").expression,
            "((j ->> 'k'::text))::double precision");
  EXPECT_EQ(only("((t.created_at)::date = '2026-01-01'::date)").cast, "date");
}

TEST(Conditions, ReadHostileNames) {
  const Condition odd = only("(\"a\"\"t\".\"Größe AND \"\"x\"\"\" = 'it''s) AND ('::text)", "a\"t");
  EXPECT_EQ(odd.column, "Größe AND \"x\"");
  EXPECT_EQ(odd.kind, Kind::kEquality);
  EXPECT_EQ(columns_in("(t.a = 't.b'::text) AND (xt.c = t.\"d e\")", "t"), (std::vector<std::string>{"a", "d e"}));
  EXPECT_EQ(without_alias("((t.a = 1) AND (u.t = 't.a'::text))", "t"), "((a = 1) AND (u.t = 't.a'::text))");
}

TEST(Conditions, ReadAnythingWithoutHarm) {
  for (const char* text :
       {"", "(", ")", "((", "'", "\"", "(t.", "t.\"", " = ", "a = ", "(NOT (hashed SubPlan 1))", "$1", "1e5",
        "(alternatives: SubPlan 1 or hashed SubPlan 2)", "((((((((((", ")(", "(a OR )", " AND  AND ", "\xff"})
    read_conditions(text, "t");
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep = "((t.a = 1) OR (" + deep + " AND (t.b = 2)))";
  EXPECT_EQ(read_conditions(deep, "t").size(), 1u);
}

}  // namespace
}  // namespace cairn::tuner
