#include "cluster/settings.h"

#include <gtest/gtest.h>

#include <sstream>

namespace cairn::cluster {
namespace {

constexpr uint64_t kGiB = 1u << 30;

SettingsInput input(uint64_t memory, int cores) {
  SettingsInput in;
  in.machine.memory_bytes = memory;
  in.machine.cores = cores;
  in.machine.disk_free_bytes = 100 * kGiB;
  in.socket_directory = "/data/run";
  in.log_directory = "/data/log";
  return in;
}

// The value of a setting in the rendered file.
std::string value(const std::string& file, const std::string& name) {
  std::istringstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " = ")) return line.substr(name.size() + 3);
  }
  return "(none)";
}

TEST(Settings, R11_MemoryAndCoresDecide) {
  const std::string small = render_settings(input(2 * kGiB, 1));
  EXPECT_EQ(value(small, "shared_buffers"), "512MB");
  EXPECT_EQ(value(small, "work_mem"), "4MB");
  EXPECT_EQ(value(small, "max_parallel_workers_per_gather"), "1");
  const std::string large = render_settings(input(64 * kGiB, 16));
  EXPECT_EQ(value(large, "shared_buffers"), "8192MB");
  EXPECT_EQ(value(large, "effective_cache_size"), "49152MB");
  EXPECT_EQ(value(large, "work_mem"), "64MB");
  EXPECT_EQ(value(large, "max_parallel_workers_per_gather"), "4");
  EXPECT_EQ(value(large, "autovacuum_max_workers"), "8");
}

TEST(Settings, R11_TheDiskDecides) {
  SettingsInput in = input(8 * kGiB, 4);
  EXPECT_EQ(value(render_settings(in), "random_page_cost"), "1.1");
  EXPECT_EQ(value(render_settings(in), "max_wal_size"), "8192MB");
  in.machine.rotational = true;
  in.machine.disk_free_bytes = 5 * kGiB;
  EXPECT_EQ(value(render_settings(in), "random_page_cost"), "4.0");
  EXPECT_EQ(value(render_settings(in), "max_wal_size"), "512MB");
}

TEST(Settings, DurabilityIsNeverTradedAway) {
  const std::string file = render_settings(input(2 * kGiB, 1));
  EXPECT_EQ(value(file, "fsync"), "on");
  EXPECT_EQ(value(file, "synchronous_commit"), "on");
  EXPECT_EQ(value(file, "full_page_writes"), "on");
}

TEST(Settings, TcpOnlyWhenAsked) {
  SettingsInput in = input(2 * kGiB, 1);
  EXPECT_EQ(value(render_settings(in), "listen_addresses"), "''");
  in.tcp_port = 6543;
  EXPECT_EQ(value(render_settings(in), "listen_addresses"), "'localhost'");
  EXPECT_EQ(value(render_settings(in), "port"), "6543");
}

TEST(Settings, QuotesPaths) { EXPECT_EQ(quote_setting(R"(/a'b\c)"), R"('/a''b\\c')"); }

TEST(Settings, R20_NobodyIsTrusted) {
  EXPECT_EQ(render_host_access().find("trust\n"), std::string::npos);
  const std::string map = render_user_map("ann", "postgres");
  EXPECT_NE(map.find("cairn \"ann\" cairn\n"), std::string::npos);
  EXPECT_NE(map.find("cairn \"postgres\" postgres\n"), std::string::npos);
}

}  // namespace
}  // namespace cairn::cluster
