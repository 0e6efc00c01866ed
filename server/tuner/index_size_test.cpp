#include "tuner/index_size.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

TEST(IndexSize, EqualKeysAreStoredOnce) {
  Table table{.name = {"public", "t"}, .rows = 1e6};
  table.columns = {{.name = "few", .type = "text", .has_statistics = true, .distinct = 10, .width = 8},
                   {.name = "all", .type = "int8", .has_statistics = true, .distinct = 1e6, .width = 8},
                   {.name = "score", .type = "float8", .has_statistics = true, .distinct = 10, .width = 8},
                   {.name = "unknown", .type = "text"}};
  const auto share = [&](const std::string& column) {
    return deduplicated_share({.table = table.name, .keys = {{.text = column}}}, table);
  };
  EXPECT_NEAR(share("few"), 0.3, 0.05);
  EXPECT_EQ(share("all"), 1);
  EXPECT_EQ(share("score"), 1);
  EXPECT_EQ(share("unknown"), 1);
  EXPECT_EQ(deduplicated_share({.table = table.name, .keys = {{.text = "few"}}, .include = {"all"}}, table), 1);
}

}  // namespace
}  // namespace cairn::tuner
