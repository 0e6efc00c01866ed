#include "tuner/profile/snapshots.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;

class SnapshotsTest : public testing::Test {
 protected:
  static Reading reading() {
    Reading reading;
    reading.taken_at_ms = 1'700'000'000'123;
    reading.database = "a \"b\"\n\xc3\xa4";
    reading.database_id = 16384;
    reading.server_version = "15.4";
    reading.extension_version = "1.10";
    reading.evictions = 3;
    reading.cache_hits = 5;
    StatementRow row;
    row.role_id = 10;
    row.role = "o'role\"";
    row.queryid = -9'223'372'036'854'775'807;
    row.top_level = false;
    row.text = "SELECT \"x\n\\\" FROM t WHERE a = $1";
    row.fingerprint = "0123456789abcdef";
    row.counters = {.calls = 3, .rows = 4, .total_ms = 0.1, .squares_ms2 = 1e-7, .max_ms = 1.0 / 3, .wal_bytes = 9};
    reading.statements = {row};
    return reading;
  }

  testing_support::TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
};

TEST_F(SnapshotsTest, R21_AReadingIsReadBackAsItWas) {
  const Snapshots snapshots(directory_);
  const std::string name = snapshots.save(reading());
  EXPECT_EQ(name, "20231114T221320.123Z");
  const Reading read = snapshots.load(name);
  EXPECT_EQ(to_json(read), to_json(reading()));
  EXPECT_EQ(read.statements[0].queryid, reading().statements[0].queryid);
  EXPECT_EQ(read.statements[0].counters.max_ms, 1.0 / 3);
  EXPECT_FALSE(read.reset_at_ms);
  struct stat file {};
  ASSERT_EQ(stat((directory_ + "/snapshots/" + name + ".json").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(SnapshotsTest, R21_SnapshotsOfOneMomentDoNotOverwriteOneAnother) {
  const Snapshots snapshots(directory_);
  for (int i = 0; i < 11; ++i) {
    Reading one = reading();
    one.cache_hits = i;
    snapshots.save(one);
  }
  EXPECT_EQ(snapshots.names().size(), 11u);
  EXPECT_EQ(snapshots.names().back(), "20231114T221320.123Z-11");
  EXPECT_EQ(snapshots.load("last").cache_hits, 10);
  EXPECT_EQ(snapshots.load("20231114T221320.123Z").cache_hits, 0);
}

TEST_F(SnapshotsTest, R21_WhatIsNoSnapshotIsRefusedByName) {
  const Snapshots snapshots(directory_);
  auto message = [&](const std::string& name) {
    try {
      snapshots.load(name);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message("last").find("cairn tune profile --save"), std::string::npos);
  const std::string name = snapshots.save(reading());
  EXPECT_NE(message("../../etc/passwd").find("the newest are " + name), std::string::npos);
  for (const char* text : {"", "{}", "[]", "{\"format\": 2}", "{\"format\": 1, \"taken_at\": \"x\"}"}) {
    std::ofstream(directory_ + "/snapshots/bad.json") << text;
    EXPECT_NE(message("bad").find("bad.json cannot be used"), std::string::npos) << text;
  }
}

TEST(StateDirectory, R21_IsOfTheDatabaseAndHoldsNoSecret) {
  EXPECT_EQ(state_directory("data", ""), "data/tuner");
  setenv("XDG_STATE_HOME", "/state", 1);
  const std::string one = state_directory("data", "postgresql://ada:secret@db.example:5433/shop");
  EXPECT_TRUE(one.starts_with("/state/cairn/tuner/")) << one;
  EXPECT_EQ(one.find("secret"), std::string::npos);
  EXPECT_EQ(one, state_directory("data", "host=db.example port=5433 dbname=shop user=bob"));
  EXPECT_NE(one, state_directory("data", "host=db.example port=5433 dbname=other"));
  EXPECT_THROW(state_directory("data", "nonsense"), Error);
  unsetenv("XDG_STATE_HOME");
}

}  // namespace
}  // namespace cairn::tuner
