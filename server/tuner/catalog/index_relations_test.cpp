#include "tuner/catalog/index_relations.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

IndexDefinition on(const std::vector<std::string>& keys, std::vector<std::string> include = {}) {
  IndexDefinition index{.table = {"public", "t"}, .include = std::move(include)};
  for (const std::string& key : keys) index.keys.push_back({.text = key});
  return index;
}

TEST(IndexRelations, AWiderOneCoversWhatItBeginsWith) {
  EXPECT_TRUE(covers(on({"a", "b"}), on({"a"})));
  EXPECT_TRUE(covers(on({"a", "b"}), on({"a"}, {"b"})));
  EXPECT_FALSE(covers(on({"a", "b"}), on({"b"})));
  EXPECT_FALSE(covers(on({"a"}), on({"a"}, {"c"})));
  IndexDefinition partial = on({"a", "b"});
  partial.predicate = "c = 1";
  EXPECT_FALSE(covers(partial, on({"a"})));
}

TEST(IndexRelations, TwoThatBeginAlikeBecomeOne) {
  EXPECT_EQ(merged(on({"a", "b"}, {"d"}), on({"a", "c"})), on({"a", "b", "c"}, {"d"}));
  EXPECT_EQ(merged(on({"a"}), on({"b"})), std::nullopt);
  EXPECT_EQ(merged(on({"a", "b", "c"}), on({"a", "d", "e"})), std::nullopt) << "too many keys";
}

TEST(IndexRelations, NarrowerStepByStep) {
  EXPECT_EQ(narrower(on({"a", "b"}, {"c"})), on({"a", "b"}));
  EXPECT_EQ(narrower(on({"a", "b"})), on({"a"}));
  EXPECT_EQ(narrower(on({"a"})), std::nullopt);
}

}  // namespace
}  // namespace cairn::tuner
