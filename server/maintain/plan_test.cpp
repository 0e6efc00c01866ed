#include "maintain/plan.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "maintain/monthly.h"

namespace cairn::maintain {
namespace {

TableState table(int64_t oid, const char* name) {
  return {.oid = oid,
          .name = {"public", name},
          .rows = 10'000,
          .bytes = 4 << 20,
          .live = 10'000,
          .vacuumed_s = 3600,
          .analyzed_s = 3600};
}

std::string shown(const Plan& plan) {
  std::string text;
  for (const Action& action : plan.actions) text += action.statement + "|";
  return text;
}

std::string planned(const TableState& state, const AutovacuumSettings& settings = {}) {
  const Facts facts{.settings = settings, .tables = {state}};
  return shown(make_plan(facts, {}));
}

TEST(Plan, R27_VacuumAtAutovacuumsThresholdAndTheTablesOwn) {
  TableState state = table(1, "t");
  EXPECT_EQ(planned(state), "");
  state.dead = 2050;  // 50 + 0.2 * 10000
  state.live = 10'000;
  EXPECT_EQ(planned(state), "");
  state.dead = 2051;
  EXPECT_EQ(planned(state), R"(VACUUM "public"."t"|)");
  state.changed = 900;
  EXPECT_EQ(planned(state), R"(VACUUM (ANALYZE) "public"."t"|)");
  state.options = {{"autovacuum_vacuum_scale_factor", 0.9}};
  state.live = 9000;
  EXPECT_EQ(planned(state), "");  // less than a fifth
  state.dead = 3000;
  EXPECT_EQ(planned(state), R"(VACUUM (ANALYZE) "public"."t"|)");  // a fifth, whatever the table says
}

TEST(Plan, R27_InsertsAndAnalyzeAndNever) {
  TableState state = table(1, "t");
  state.inserted = 3001;
  EXPECT_EQ(planned(state), R"(VACUUM "public"."t"|)");
  EXPECT_EQ(planned(state, {.insert_threshold = -1}), "");
  state.inserted = 0;
  state.changed = 1051;
  EXPECT_EQ(planned(state), R"(ANALYZE "public"."t"|)");
  TableState fresh = table(2, "n");
  fresh.rows = -1;
  fresh.analyzed_s = fresh.vacuumed_s = {};
  fresh.live = 10;
  EXPECT_EQ(planned(fresh), R"(ANALYZE "public"."n"|)");
  TableState parent = table(3, "p");
  parent.kind = 'p';
  parent.analyzed_s = {};
  EXPECT_EQ(planned(parent), R"(ANALYZE "public"."p"|)");
  parent.analyzed_s = 3600 * 30;
  parent.partition_analyzed_s = 60;
  EXPECT_EQ(planned(parent), R"(ANALYZE "public"."p"|)");
  parent.analyzed_s = 3600;
  EXPECT_EQ(planned(parent), "");
}

TEST(Plan, R27_WraparoundComesFirstAndOnlyOnce) {
  TableState old = table(1, "old");
  old.age = 181'000'000;
  old.dead = 5000;
  TableState bloated = table(2, "bloated");
  bloated.dead = 5000;
  const Facts facts{.tables = {bloated, old}};
  const Plan plan = make_plan(facts, {});
  EXPECT_EQ(shown(plan), R"(VACUUM (FREEZE) "public"."old"|VACUUM "public"."bloated"|)");
  EXPECT_EQ(plan.oldest_table, R"("public"."old")");
  const PlanOptions only{.kinds = {Kind::kAnalyze, Kind::kVacuum}};
  EXPECT_EQ(shown(make_plan(facts, only)), R"(VACUUM "public"."bloated"|)");
}

Facts with_index(double density, double empty) {
  tuner::Table known{.oid = 1, .name = {"public", "t"}, .rows = 100'000};
  known.columns = {{.name = "id", .type = "int8", .has_statistics = true, .distinct = 100'000, .width = 8}};
  known.indexes = {{.oid = 7,
                    .name = "idx",
                    .definition = {.table = {"public", "t"}, .keys = {{.text = "id"}}, .unique = true},
                    .primary = true,
                    .bytes = 20 << 20}};
  Facts facts{.tables = {table(1, "t")}};
  facts.catalog.tables = {known};
  facts.indexes[7] = {.oid = 7, .leaf_density = density, .empty_percent = empty};
  return facts;
}

TEST(Plan, R27_ReindexBelowSeventyPercentOrByTheEstimate) {
  EXPECT_EQ(shown(make_plan(with_index(71, 0), {})), "");
  const Plan plan = make_plan(with_index(45, 0), {});
  EXPECT_EQ(shown(plan), R"(REINDEX INDEX CONCURRENTLY "public"."idx"|)");
  EXPECT_EQ(plan.actions[0].gain_bytes, 10 << 20);
  EXPECT_EQ(shown(make_plan(with_index(90, 40), {})), R"(REINDEX INDEX CONCURRENTLY "public"."idx"|)");
  Facts lately = with_index(60, 0);
  lately.indexes[7].rebuilt_lately = true;
  EXPECT_EQ(shown(make_plan(lately, {})), "");
  Facts estimated = with_index(0, 0);
  estimated.indexes[7].leaf_density = {};
  const Plan guess = make_plan(estimated, {});  // 100,000 keys of 20 bytes are about 2.3 MB
  EXPECT_EQ(shown(guess), R"(REINDEX INDEX CONCURRENTLY "public"."idx"|)");
  EXPECT_NE(guess.actions[0].reason.find("estimate"), std::string::npos);
  estimated.catalog.tables[0].indexes[0].bytes = 4 << 20;
  EXPECT_EQ(shown(make_plan(estimated, {})), "");
  Facts strangers = with_index(45, 0);
  strangers.indexes[7].may_rebuild = false;
  EXPECT_EQ(shown(make_plan(strangers, {})), "");
}

TEST(Plan, R26_WhatIsNotUsualIsOnRequest) {
  for (const char* name : {"drop-duplicate", "drop-covered", "drop-unused", "vacuum-full"})
    EXPECT_FALSE(is_usual(kind_of(name)));
  for (const char* name : {"freeze", "vacuum", "analyze", "reindex", "drop-invalid"})
    EXPECT_TRUE(is_usual(kind_of(name)));
  EXPECT_THROW(kind_of("everything"), Error);
  TableState empty = table(1, "t");
  empty.bytes = 100 << 20;
  empty.free_percent = 80;
  EXPECT_EQ(planned(empty), R"(VACUUM FULL "public"."t"|)");
}

TEST(Monthly, R33_IsComparedWithTheReportBefore) {
  Monthly month{.now = {.taken_at_ms = 1000,
                        .database_bytes = 200 << 20,
                        .cache_hit_ratio = 0.95,
                        .deadlocks = 3,
                        .connections = 10,
                        .connections_max = 97,
                        .calls = 100,
                        .total_ms = 500,
                        .slow = {{-7046029254386353131, 250, 12, "SELECT a"}, {5, 120, 3, "SELECT b"}}}};
  month.checks = check_month(month, false);
  const std::string report = monthly_json(month);
  const auto read = baseline_of(report);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->slow.at(0).queryid, -7046029254386353131);
  EXPECT_FALSE(baseline_of("{}"));
  Monthly next = month;
  next.before = read;
  next.now.slow.push_back({9, 110, 4, "SELECT c"});
  next.now.database_bytes = 300 << 20;
  const std::vector<Check> checks = check_month(next, true);
  ASSERT_EQ(checks.size(), 7u);
  EXPECT_EQ(checks[3].state, CheckState::kAttention);
  EXPECT_NE(checks[3].what.at(0).find("SELECT c"), std::string::npos);
  EXPECT_NE(checks[3].what.at(1).find("2 that were slow before"), std::string::npos);
  EXPECT_NE(checks[4].what.at(0).find("+50 %"), std::string::npos);
  EXPECT_EQ(checks[6].state, CheckState::kGood);  // no deadlock since then
}

}  // namespace
}  // namespace cairn::maintain
