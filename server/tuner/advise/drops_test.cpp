#include "tuner/advise/drops.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tuner/testing.h"

namespace cairn::tuner {
namespace {

class DropsTest : public testing::Test {
 protected:
  DropsTest() {
    catalog_.statistics_since = 1767225600000;  // 2026-01-01
    catalog_.read_at_ms = *catalog_.statistics_since + 40LL * 86'400'000;
    catalog_.foreign_keys.clear();
  }

  Index& add(const std::string& name, std::vector<IndexKey> keys, int64_t scans = 5) {
    Table& table = catalog_.tables[3];  // deployments
    const int64_t oid = 5000 + static_cast<int64_t>(table.indexes.size());
    table.indexes.push_back({.oid = oid,
                             .name = name,
                             .definition = {.table = table.name, .keys = std::move(keys)},
                             .bytes = oid,
                             .scans = scans});
    return table.indexes.back();
  }

  std::vector<std::pair<std::string, DropKind>> found() const {
    std::vector<std::pair<std::string, DropKind>> all;
    for (const Drop& drop : propose_drops(catalog_)) all.push_back({drop.index, drop.kind});
    std::ranges::sort(all);
    return all;
  }
  using Found = std::vector<std::pair<std::string, DropKind>>;

  Catalog catalog_ = testing_catalog::registry();
};

TEST_F(DropsTest, R26_UnusedButNotWhatEnforcesSomething) {
  add("unused", {{.text = "status"}}, 0);
  add("used", {{.text = "deployed_by"}});
  add("unique", {{.text = "replicas"}}, 0).definition.unique = true;
  add("constraint", {{.text = "deployed_at"}}, 0).constraint = true;
  add("identity", {{.text = "environment_id"}}, 0).replica_identity = true;
  add("part", {{.text = "version_id"}}, 0).parent = 77;
  const std::vector<Drop> drops = propose_drops(catalog_);
  ASSERT_EQ(drops.size(), 1u);
  EXPECT_EQ(drops[0].statement, "DROP INDEX CONCURRENTLY \"public\".\"unused\"");
  EXPECT_EQ(drops[0].undo,
            "CREATE INDEX CONCURRENTLY \"unused\" ON \"public\".\"deployments\" USING \"btree\" (\"status\")");
  EXPECT_NE(drops[0].reason.find("2026-01-01 (40 days)"), std::string::npos) << drops[0].reason;
}

TEST_F(DropsTest, R26_SaysWhatMustBeLookedAtBefore) {
  add("unused", {{.text = "version_id"}}, 0);
  catalog_.replicas = 2;
  catalog_.read_at_ms = *catalog_.statistics_since + 86'400'000;
  catalog_.foreign_keys = {{"fk", 4, {"version_id"}, 2}};
  const std::string reason = propose_drops(catalog_).at(0).reason;
  for (const char* part : {"2 replicas", "30", "\"fk\""}) EXPECT_NE(reason.find(part), std::string::npos) << reason;
}

TEST_F(DropsTest, R26_OneOfTwoDuplicates) {
  add("first", {{.text = "status"}}, 9);
  add("second", {{.text = "status", .descending = true, .nulls_first = true}}, 1);  // read backward it is the first
  add("third", {{.text = "status"}}, 3);
  EXPECT_EQ(found(), (Found{{"second", DropKind::kDuplicate}, {"third", DropKind::kDuplicate}}));
}

TEST_F(DropsTest, R26_TheUniqueOneStays) {
  add("unique", {{.text = "deployed_by"}}, 0).definition.unique = true;
  add("plain", {{.text = "deployed_by"}}, 1000);
  EXPECT_EQ(found(), (Found{{"plain", DropKind::kDuplicate}}));
  add("primary_again", {{.text = "deployment_id"}}, 1000);
  EXPECT_EQ(found(), (Found{{"plain", DropKind::kDuplicate}, {"primary_again", DropKind::kDuplicate}}));
}

TEST_F(DropsTest, R26_CoveredByALongerOne) {
  add("short", {{.text = "status"}});
  add("long", {{.text = "status"}, {.text = "deployed_at"}});
  EXPECT_EQ(found(), (Found{{"short", DropKind::kCovered}}));
}

TEST_F(DropsTest, R26_NotCoveredWhereItIsAnother) {
  add("short", {{.text = "status"}});
  add("other_order", {{.text = "deployed_at"}, {.text = "status"}});
  add("partial", {{.text = "status"}, {.text = "replicas"}}).definition.predicate = "(replicas > 1)";
  add("brin", {{.text = "status"}, {.text = "replicas"}}).definition.method = "brin";
  add("pattern", {{.text = "status", .operator_class = "text_pattern_ops"}, {.text = "replicas"}});
  Index& covering = add("covering", {{.text = "deployed_by"}});
  covering.definition.include = {"replicas"};
  add("longer", {{.text = "deployed_by"}, {.text = "version_id"}});
  add("collated", {{.text = "status"}, {.text = "version_id"}}).complete = false;
  Index& unique = add("unique", {{.text = "environment_id"}});
  unique.definition.unique = true;
  add("longer_than_unique", {{.text = "environment_id"}, {.text = "version_id"}});
  EXPECT_EQ(found(), Found{});
}

TEST_F(DropsTest, R26_InvalidAndAsNothingsCover) {
  add("short", {{.text = "status"}});
  add("broken", {{.text = "status"}, {.text = "deployed_at"}}, 0).valid = false;
  EXPECT_EQ(found(), (Found{{"broken", DropKind::kInvalid}}));
}

TEST_F(DropsTest, R26_HostileNamesAndPartitionedTables) {
  add("x\"; DROP TABLE y; --", {{.text = "we\"ird"}}, 0);
  catalog_.tables[3].kind = 'p';
  EXPECT_EQ(propose_drops(catalog_).at(0).statement, "DROP INDEX \"public\".\"x\"\"; DROP TABLE y; --\"");
}

}  // namespace
}  // namespace cairn::tuner
