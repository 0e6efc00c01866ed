// Which settings are proposed for which figures, and how they are put back.
#include "tuner/advise/settings_advice.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;

SettingsFacts usual() {
  SettingsFacts facts{.version = 150000, .database = "reg\"istry", .of_system = std::map<std::string, std::string>{}};
  facts.settings = {{"shared_buffers", {128 * kMiB, "128MB", true, false}},
                    {"effective_cache_size", {4096 * kMiB, "4GB"}},
                    {"work_mem", {4 * kMiB, "4MB"}},
                    {"maintenance_work_mem", {64 * kMiB, "64MB"}},
                    {"random_page_cost", {4, "4"}},
                    {"effective_io_concurrency", {1, "1"}},
                    {"default_statistics_target", {100, "100"}},
                    {"max_parallel_workers_per_gather", {2, "2"}},
                    {"jit", {0, "on"}},
                    {"max_wal_size", {1024 * kMiB, "1GB", false, true}},
                    {"wal_compression", {0, "off"}},
                    {"max_connections", {100, "100", true, false}},
                    {"autovacuum_vacuum_scale_factor", {0.2, "0.2", false, true}},
                    {"autovacuum_analyze_scale_factor", {0.1, "0.1", false, true}}};
  return facts;
}

const Change* find(const std::vector<Change>& changes, const std::string& name) {
  const auto found = std::ranges::find(changes, name, &Change::name);
  return found == changes.end() ? nullptr : &*found;
}

TEST(SettingsAdvice, R11_ProposesNothingWithoutEvidence) {
  SettingsFacts facts = usual();
  EXPECT_TRUE(propose_settings(facts).empty());
  facts.machine = cluster::Machine{.memory_bytes = 64ull << 30, .cores = 16, .disk_free_bytes = 1ull << 40};
  EXPECT_TRUE(propose_settings(facts).empty()) << "a large machine alone is no reason";
}

TEST(SettingsAdvice, R11_GivesMemoryToSortsThatSpill) {
  SettingsFacts facts = usual();
  facts.spilled_calls = 500;
  facts.spill_bytes_max = 5 * kMiB;
  auto changes = propose_settings(facts);
  ASSERT_NE(find(changes, "work_mem"), nullptr);
  EXPECT_EQ(find(changes, "work_mem")->statements,
            std::vector<std::string>{"ALTER DATABASE \"reg\"\"istry\" SET \"work_mem\" = '16MB'"});
  EXPECT_EQ(find(changes, "work_mem")->inverse,
            std::vector<std::string>{"ALTER DATABASE \"reg\"\"istry\" RESET \"work_mem\""});
  EXPECT_NE(find(changes, "work_mem")->reason.find("500 calls"), std::string::npos);
  facts.of_database["work_mem"] = "4096kB";
  EXPECT_EQ(find(propose_settings(facts), "work_mem") == nullptr, false);
  changes = propose_settings(facts);
  EXPECT_EQ(find(changes, "work_mem")->inverse,
            std::vector<std::string>{"ALTER DATABASE \"reg\"\"istry\" SET \"work_mem\" = '4096kB'"});
  facts.spill_bytes_max = 1e12;
  changes = propose_settings(facts);
  EXPECT_EQ(find(changes, "work_mem")->statements[0], "ALTER DATABASE \"reg\"\"istry\" SET \"work_mem\" = '64MB'")
      << "not without limit";
}

TEST(SettingsAdvice, R11_GivesTheCacheItsPartOfTheMachine) {
  SettingsFacts facts = usual();
  facts.machine = cluster::Machine{.memory_bytes = 16ull << 30, .cores = 8, .disk_free_bytes = 1ull << 40};
  facts.database_bytes = 20480 * kMiB;
  facts.block_hits = 3e6;
  facts.block_reads = 2e6;
  const auto changes = propose_settings(facts);
  const Change* buffers = find(changes, "shared_buffers");
  ASSERT_NE(buffers, nullptr);
  EXPECT_TRUE(buffers->on_request);
  EXPECT_EQ(buffers->statements[0], "ALTER SYSTEM SET \"shared_buffers\" = '4096MB'");
  EXPECT_EQ(buffers->inverse[0], "ALTER SYSTEM RESET \"shared_buffers\"");
  EXPECT_NE(buffers->reason.find("restart"), std::string::npos);
  EXPECT_NE(find(changes, "effective_cache_size"), nullptr);
  EXPECT_NE(find(changes, "effective_io_concurrency"), nullptr);
  EXPECT_EQ(find(changes, "max_parallel_workers_per_gather"), nullptr) << "no statement is long";
  facts.of_system.reset();
  EXPECT_EQ(find(propose_settings(facts), "shared_buffers"), nullptr) << "it could not be put back";
}

TEST(SettingsAdvice, R11_TellsThePlannerThatReadsAreCached) {
  SettingsFacts facts = usual();
  facts.block_hits = 5e6;
  auto changes = propose_settings(facts);
  ASSERT_NE(find(changes, "random_page_cost"), nullptr);
  facts.settings["random_page_cost"].number = 1.5;
  EXPECT_EQ(find(propose_settings(facts), "random_page_cost"), nullptr);
}

TEST(SettingsAdvice, R11_TurnsCompilingOffWhereItCostsMore) {
  SettingsFacts facts = usual();
  facts.jit_ms = 30000;
  facts.jit_run_ms = 90000;
  const auto changes = propose_settings(facts);
  ASSERT_NE(find(changes, "jit"), nullptr);
  EXPECT_EQ(find(changes, "jit")->gain_ms, 30000);
  facts.jit_run_ms = 9e6;
  EXPECT_EQ(find(propose_settings(facts), "jit"), nullptr);
}

TEST(SettingsAdvice, R27_GivesTheLogRoomWhereItForcesCheckpoints) {
  SettingsFacts facts = usual();
  facts.checkpoints_forced = 83;
  facts.checkpoints_timed = 7;
  (*facts.of_system)["max_wal_size"] = "1GB";
  const auto changes = propose_settings(facts);
  const Change* change = find(changes, "max_wal_size");
  ASSERT_NE(change, nullptr);
  EXPECT_FALSE(change->on_request);
  EXPECT_EQ(change->statements,
            (std::vector<std::string>{"ALTER SYSTEM SET \"max_wal_size\" = '2048MB'", "SELECT pg_reload_conf()"}));
  EXPECT_EQ(change->inverse[0], "ALTER SYSTEM SET \"max_wal_size\" = '1GB'");
  facts.checkpoints_timed = 700;
  EXPECT_EQ(find(propose_settings(facts), "max_wal_size"), nullptr);
}

TEST(SettingsAdvice, R27_VacuumsATableByItsChurn) {
  SettingsFacts facts = usual();
  facts.tables = {{.table = {"a\"b", "t"},
                   .rows = 2e6,
                   .dead = 1000,
                   .updated = 1e6,
                   .options = {{"autovacuum_analyze_scale_factor", "0.5"}, {"fillfactor", "70"}}},
                  {.table = {"public", "loaded"}, .rows = 2e6, .inserted = 2e6},
                  {.table = {"public", "small"}, .rows = 100, .updated = 1e6}};
  const auto changes = propose_settings(facts);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].statements,
            std::vector<std::string>{"ALTER TABLE \"a\"\"b\".\"t\" SET (autovacuum_analyze_scale_factor = 0.01, "
                                     "autovacuum_vacuum_scale_factor = 0.02)"});
  EXPECT_EQ(changes[0].inverse,
            (std::vector<std::string>{"ALTER TABLE \"a\"\"b\".\"t\" SET (autovacuum_analyze_scale_factor = '0.5')",
                                      "ALTER TABLE \"a\"\"b\".\"t\" RESET (autovacuum_vacuum_scale_factor)"}));
}

}  // namespace
}  // namespace cairn::tuner
