#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "base/error.h"
#include "base/reactor.h"
#include "gc/api.h"
#include "schema/testing.h"

namespace cairn::gc {
namespace {

// Remembers what is removed from it; refuses some, and dies at another.
class FakeStore : public artifacts::ArtifactStore {
 public:
  std::vector<std::string> removed;
  std::set<std::string> refused;
  std::string fatal;

  task<std::vector<artifacts::Entry>> list(std::string) override { co_return std::vector<artifacts::Entry>(1); }
  task<std::unique_ptr<artifacts::Artifact>> open(std::string path) override { throw not_found(path); }
  task<> write(std::string path, http::BodyStream&) override { throw invalid(path); }
  task<> remove(std::string path) override {
    if (path == fatal) throw std::runtime_error("the machine goes down");
    if (refused.contains(path)) throw Error(ErrorCode::kInternalError, "Device or resource busy");
    removed.push_back(path);
    co_return;
  }
};

class Garbage : public ::testing::Test {
 protected:
  Garbage() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    pool_.emplace(options);
    database_.execute(
        "INSERT INTO tracking.training_runs (run_id, experiment_id, experiment_name, lifecycle_stage, deleted_at, "
        "artifact_uri) SELECT 'r' || i, 0, '', 'deleted', now() - i * interval '1 day', "
        "'mlflow-artifacts:/0/r' || i || '/artifacts' FROM generate_series(1, 5) i");
  }
  int collect(std::chrono::milliseconds older_than) {
    out_.str("");
    return reactor_.block_on(gc::collect(*pool_, store_, Options{older_than, false, false}, out_, progress_));
  }
  std::string runs() {
    constexpr db::Statement kRuns{
        "", "SELECT coalesce(string_agg(run_id, ' ' ORDER BY id), '') FROM tracking.training_runs"};
    return reactor_.block_on(pool_->query(kRuns)).text(0, 0);
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::optional<db::Pool> pool_;
  FakeStore store_;
  std::ostringstream out_, progress_;
};

using namespace std::chrono_literals;

TEST_F(Garbage, GoesOnlyAfterItsTime) {
  EXPECT_EQ(collect(84h), 0);  // three and a half days
  EXPECT_EQ(runs(), "r1 r2 r3");
  EXPECT_EQ(store_.removed, (std::vector<std::string>{"0/r4/artifacts", "0/r5/artifacts"}));
}

TEST_F(Garbage, WhatKeepsItsArtifactsKeepsItsRow) {
  store_.refused = {"0/r2/artifacts"};
  EXPECT_EQ(collect(0s), 1);
  EXPECT_EQ(runs(), "r2");
  EXPECT_NE(out_.str().find("run r2: Device or resource busy"), std::string::npos) << out_.str();
  store_.refused.clear();
  EXPECT_EQ(collect(0s), 0);
  EXPECT_EQ(runs(), "");
}

TEST_F(Garbage, IsFinishedAfterAnInterruption) {
  store_.fatal = "0/r3/artifacts";
  EXPECT_THROW(collect(0s), std::runtime_error);
  EXPECT_EQ(runs(), "r1 r2 r3 r4 r5") << "a row went before it was known that its batch ends well";
  store_.fatal.clear();
  EXPECT_EQ(collect(0s), 0);
  EXPECT_EQ(runs(), "");
}

// A run's path that anybody could have written leads to nothing but its own directory.
TEST_F(Garbage, TakesNoArtifactsOfOthers) {
  database_.execute(
      "UPDATE tracking.training_runs SET artifact_uri = CASE run_id WHEN 'r1' THEN 'mlflow-artifacts:/' "
      "WHEN 'r2' THEN 'mlflow-artifacts:/0/r3/artifacts' WHEN 'r4' THEN 'mlflow-artifacts:/../r4/artifacts' "
      "WHEN 'r5' THEN 'file:///0/r5/artifacts' ELSE artifact_uri END");
  EXPECT_EQ(collect(0s), 0);
  EXPECT_EQ(store_.removed, (std::vector<std::string>{"0/r3/artifacts"}));
  EXPECT_NE(out_.str().find("run r5: file:///0/r5/artifacts"), std::string::npos) << out_.str();
}

}  // namespace
}  // namespace cairn::gc
