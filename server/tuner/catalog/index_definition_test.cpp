#include "tuner/catalog/index_definition.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

TEST(IndexDefinition, WritesEveryPart) {
  const IndexDefinition index{.table = {"public", "runs"},
                              .keys = {{.text = "experiment"},
                                       {.text = "lower(name)", .is_expression = true},
                                       {.text = "created at", .descending = true, .nulls_first = true},
                                       {.text = "accuracy", .descending = true}},
                              .include = {"id"},
                              .predicate = "status = 'active'::text"};
  EXPECT_EQ(create_statement(index, "i", true),
            "CREATE INDEX CONCURRENTLY \"i\" ON \"public\".\"runs\" USING \"btree\" (\"experiment\", (lower(name)), "
            "\"created at\" DESC, \"accuracy\" DESC NULLS LAST) INCLUDE (\"id\") WHERE status = 'active'::text");
}

TEST(IndexDefinition, QuotesHostileNames) {
  const IndexDefinition index{.table = {"a\"b", "t; DROP TABLE x"}, .keys = {{.text = "c\"\n"}}};
  EXPECT_EQ(create_statement(index, std::nullopt, false),
            "CREATE INDEX ON \"a\"\"b\".\"t; DROP TABLE x\" USING \"btree\" (\"c\"\"\n\")");
}

TEST(IndexDefinition, NamesAreCutAtACharacterAndStayUnlike) {
  IndexDefinition index{.table = {"s", std::string(20, 't')}, .keys = {{.text = "größe_" + std::string(50, 'x')}}};
  const std::string first = index_name(index);
  EXPECT_LE(first.size(), 63u);
  index.keys[0].text += "y";
  EXPECT_NE(index_name(index), first);
  IndexDefinition short_one{
      .table = {"s", "t"}, .keys = {{.text = "lower(a)", .is_expression = true}}, .predicate = "b"};
  EXPECT_EQ(index_name(short_one), "idx_t_lower_a_partial");
}

}  // namespace
}  // namespace cairn::tuner
