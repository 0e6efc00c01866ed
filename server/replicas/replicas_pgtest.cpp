// Replicas of a real cluster: made, read from, promoted, removed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "base/error.h"
#include "base/reactor.h"
#include "cluster/session.h"
#include "replicas/api.h"
#include "replicas/files.h"

namespace cairn::replicas {
namespace {

namespace fs = std::filesystem;
using cluster::Session;

class ReplicasTest : public testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is some: these tests copy clusters.
    std::string name = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/cairn-replicas-XXXXXX");
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    base_ = name;
    chmod(name.c_str(), 0755);  // as root, PostgreSQL is another user
    cluster::ClusterOptions options;
    options.data_dir = base_ / "data";
    options.machine = cluster::Machine{.memory_bytes = 512u << 20, .cores = 2, .disk_free_bytes = 4ull << 30};
    if (const char* programs = std::getenv("CAIRN_POSTGRES_BIN")) options.binary_dir = programs;
    cluster_ = std::make_unique<cluster::Cluster>(options);
    cluster_->start();
    replicas_ = std::make_unique<Replicas>(*cluster_);
    sql("CREATE TABLE t (id int)");
    sql("GRANT ALL ON t TO cairn");
  }
  void TearDown() override {
    replicas_.reset();
    cluster_.reset();
    fs::remove_all(base_);
  }

  Options options(const std::string& name, bool synchronous = false) {
    return {.data_dir = base_ / "data",
            .connection_string = cluster_->superuser_connection_string(),
            .postgres_bin = cluster_->binary_dir(),
            .name = name,
            .synchronous = synchronous,
            .look = [this] { replicas_->look(); }};
  }
  std::string sql(const std::string& statement) {
    Session session(cluster_->superuser_connection_string());
    const auto rows = session.query(statement);
    return rows.empty() ? "" : rows[0][0].value_or("");
  }
  std::string listed() {
    std::ostringstream out;
    list(options(""), out);
    return out.str();
  }

  fs::path base_;
  std::unique_ptr<cluster::Cluster> cluster_;
  std::unique_ptr<Replicas> replicas_;
  std::ostringstream out_;
};

TEST_F(ReplicasTest, R31_APromotedReplicaHasAllThatWasAcknowledgedAndTheOthersFollowIt) {
  // The first half of it is tried with the whole server at every run (test/fault).
  if (std::getenv("CAIRN_FULL") == nullptr) return;
  ASSERT_EQ(add(options("near", true), out_), 0);
  ASSERT_EQ(add(options("other"), out_), 0);
  EXPECT_THROW(add(options("near"), out_), Error);
  EXPECT_THROW(add(options("../x"), out_), Error);
  EXPECT_NE(listed().find("streaming"), std::string::npos) << listed();
  EXPECT_EQ(sql("SHOW synchronous_standby_names"), "ANY 1 (\"near\")");
  for (int id = 0; id < 10; ++id) sql("INSERT INTO t VALUES (1)");
  sql("ALTER SYSTEM SET archive_timeout = '7min'");  // as a backup may, after the replica was made

  // The primary is lost, whatever it still has.
  const fs::path control = fs::path(cluster_->postgres_dir()) / "global/pg_control";
  fs::rename(control, control.string() + ".lost");
  kill(cluster_->postgres_pid(), SIGKILL);
  while (cluster_->ready()) usleep(1000);
  ASSERT_EQ(promote(options("near"), out_), 0);
  EXPECT_EQ(sql("SELECT count(*) FROM t"), "10");
  EXPECT_EQ(sql("SHOW synchronous_standby_names"), "");
  EXPECT_EQ(sql("SHOW archive_timeout"), "7min");
  sql("INSERT INTO t VALUES (1)");
  while (sql("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'other' AND replay_lsn >= "
             "pg_current_wal_flush_lsn()") != "1")
    replicas_->look();
  EXPECT_THROW(promote(options("near"), out_), Error);
  EXPECT_EQ(remove(options("near"), out_), 0);
  // And of a primary that runs.
  ASSERT_EQ(promote(options("other"), out_), 0);
  EXPECT_EQ(sql("SELECT count(*) FROM t"), "11");
  EXPECT_EQ(remove(options("other"), out_), 0);
  EXPECT_TRUE(places_in(base_ / "data").empty());
}

task<http::Response> answer_with(db::Pool& pool) {
  constexpr db::Statement kCount{"", "SELECT count(*)::text || ' ' || pg_is_in_recovery()::text FROM t"};
  auto asking = pool.query(kCount);
  const db::Rows rows = co_await asking;
  co_return http::text_response(rows.text(0, 0));
}
task<http::Response> insert_into(db::Pool& pool) {
  constexpr db::Statement kInsert{"", "INSERT INTO t VALUES (1)"};
  auto asking = pool.query(kInsert);
  co_await asking;
  co_return http::text_response("");
}

TEST_F(ReplicasTest, R31_AReadSeesEveryAcknowledgedWriteWhereverItIsAnswered) {
  ASSERT_EQ(add(options("near"), out_), 0);
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = cluster_->connection_string();
  db::Pool pool(pool_options);
  const auto make_routes = [](http::Router& router, db::Pool& on) -> std::shared_ptr<void> {
    router.add("POST", "/read", [&on](http::Request&) { return answer_with(on); });
    router.add("POST", "/write", [&on](http::Request&) { return insert_into(on); });
    return nullptr;
  };
  http::Router router;
  make_routes(router, pool);
  Reads reads(router, pool, {{"POST", "/read"}}, make_routes);
  reads.set_replicas(replicas_->running(), pool_options);
  const auto call = [&](const char* path) {
    http::Request request;
    return reactor.block_on(router.match("POST", path).route->handler(request)).body;
  };
  int on_replica = 0;
  for (int n = 1; n <= 100; ++n) {
    call("/write");
    const std::string answer = call("/read");
    EXPECT_EQ(answer.substr(0, answer.find(' ')), std::to_string(n));
    on_replica += answer.ends_with("true") ? 1 : 0;
  }
  EXPECT_GT(on_replica, 50);
  // It lags: the primary answers.
  Session(replicas_->running().at(0).connection_string.replace(
              replicas_->running().at(0).connection_string.find("user=cairn"), 10, "user=postgres"))
      .query("SELECT pg_wal_replay_pause()");
  call("/write");
  EXPECT_EQ(call("/read"), "101 false");
}

}  // namespace
}  // namespace cairn::replicas
