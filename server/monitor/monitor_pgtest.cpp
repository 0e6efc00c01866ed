// The server's own watch over a real PostgreSQL: alerts made to fire by causing what they are about, stored, told,
// ended.
#include "monitor/monitor.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/json.h"
#include "http/server.h"
#include "schema/testing.h"

namespace cairn::monitor {
namespace {

using namespace std::chrono_literals;

class MonitorTest : public testing::Test {
 protected:
  MonitorTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    pool_ = std::make_unique<db::Pool>(options);
  }

  // With every duration so many times shorter.
  void start(double times, const std::string& webhook = "") {
    MonitorOptions options;
    options.connection_string = database_.url();
    options.webhook = webhook;
    options.interval = 100ms;
    options.scale = 1 / times;
    monitor_ = std::make_unique<Monitor>(router_, *pool_, options);
    reactor_.spawn("monitor", monitor_->watch([this] { return own_; }));
    ASSERT_TRUE(eventually([&] { return number("SELECT count(*) FROM monitor.figures") > 0; }));
  }
  int64_t number(const char* sql) { return reactor_.block_on(pool_->query({"", sql})).integer(0, 0); }
  std::string alerts(bool all = false) { return reactor_.block_on(read_alerts(*pool_, all)); }
  bool eventually(const std::function<bool()>& condition) {
    auto wait = [&]() -> task<> { co_await sleep_for(20ms); };
    for (int i = 0; i < 1500; ++i) {
      if (condition()) return true;
      reactor_.block_on(wait());
    }
    return false;
  }
  bool fires(const std::string& alert) { return alerts().find("\"" + alert + "\"") != std::string::npos; }
  bool ended(const std::string& alert) {
    return !fires(alert) && alerts(true).find("\"" + alert + "\"") != std::string::npos;
  }
  using Session = std::unique_ptr<PGconn, decltype(&PQfinish)>;
  Session session() { return {PQconnectdb(database_.url().c_str()), &PQfinish}; }
  static void run(const Session& session, const char* sql) { PQclear(PQexec(session.get(), sql)); }

  schema::MigratedDatabase database_;
  std::string own_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
  http::Router router_;
  std::unique_ptr<Monitor> monitor_;
};

TEST_F(MonitorTest, R30_ADeadlockFiresAndIsOver) {
  start(100);  // five minutes are three seconds
  database_.execute("CREATE TABLE locked AS SELECT generate_series(1, 2) AS id");
  const Session one = session(), two = session();
  for (const Session* each : {&one, &two}) run(*each, "SET deadlock_timeout = '10ms'; BEGIN");
  run(one, "UPDATE locked SET id = id WHERE id = 1");
  run(two, "UPDATE locked SET id = id WHERE id = 2");
  std::thread first([&] { run(one, "UPDATE locked SET id = id WHERE id = 2"); });
  run(two, "UPDATE locked SET id = id WHERE id = 1");
  first.join();
  for (const Session* each : {&one, &two}) run(*each, "ROLLBACK; SELECT pg_stat_force_next_flush()");
  EXPECT_TRUE(eventually([&] { return fires("DeadlocksDetected"); })) << alerts();
  EXPECT_TRUE(eventually([&] { return ended("DeadlocksDetected"); })) << alerts(true);
  EXPECT_GT(number("SELECT count(*) FROM monitor.figures WHERE (figures->>'deadlocks_per_second')::float8 > 0"), 0);
}

TEST_F(MonitorTest, R30_WhatIsWrongWithTablesSlotsAndJobsFires) {
  database_.execute(
      "CREATE TABLE twice AS SELECT 1 AS id FROM generate_series(1, 2);"
      "CREATE TABLE holes WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 30000) AS id;"
      "DELETE FROM holes WHERE id <= 20000;"
      "INSERT INTO jobs.jobs (kind, run_after) VALUES ('train', now() - interval '1 hour')");
  const Session maker = session();
  run(maker, "CREATE UNIQUE INDEX CONCURRENTLY never ON twice (id)");
  const std::string slot = "monitor_" + database_.name();
  database_.execute("SELECT pg_create_physical_replication_slot('" + slot + "')");
  start(7200);  // an hour is half a second
  for (const char* alert : {"InvalidIndex", "DeadRows", "JobsWait", "ReplicationSlotInactive"})
    EXPECT_TRUE(eventually([&] { return fires(alert); })) << alert << " in " << alerts();
  EXPECT_NE(alerts().find("public.never costs every write"), std::string::npos) << alerts();
  database_.execute("SELECT pg_drop_replication_slot('" + slot + "'); DELETE FROM jobs.jobs");
  for (const char* alert : {"ReplicationSlotInactive", "JobsWait"})
    EXPECT_TRUE(eventually([&] { return ended(alert); })) << alert << " in " << alerts(true);
  EXPECT_TRUE(fires("InvalidIndex"));
}

TEST_F(MonitorTest, R30_WhatFiredBeforeARestartGoesOnOnceUntilItIsOver) {
  database_.execute(
      "INSERT INTO monitor.alerts (alert, labels, severity, summary, description, value, started_at, told_at)"
      " SELECT name, '{}', 'critical', 's', 'd', 1, now() - interval '1 hour', now() FROM unnest(ARRAY["
      "'DiskFull', 'ARuleThatIsGone']) name");
  own_ = "cairn_disk_full 1\n";
  start(1);
  EXPECT_EQ(number("SELECT count(*) FROM monitor.alerts WHERE alert = 'DiskFull'"), 1);
  EXPECT_TRUE(fires("DiskFull"));
  EXPECT_TRUE(ended("ARuleThatIsGone"));
  own_ = "cairn_disk_full 0\n";
  EXPECT_TRUE(eventually([&] { return ended("DiskFull"); })) << alerts(true);
}

TEST_F(MonitorTest, R30_AWebhookIsToldOfTheBeginningAndTheEndAndAskedAgainWhenItFails) {
  std::vector<std::string> bodies;
  http::Router hooks;
  hooks.add("POST", "/hook", [&](http::Request& request) -> task<http::Response> {
    bodies.push_back(request.body);
    http::Response response = http::text_response("");
    response.status = bodies.size() == 1 ? 500 : 200;
    co_return response;
  });
  http::ServerOptions options;
  options.port = 0;
  http::Server server(options, hooks, nullptr);
  server.start();
  own_ = "cairn_disk_full 1\n";
  start(1, "http://127.0.0.1:" + std::to_string(server.port()) + "/hook");
  ASSERT_TRUE(eventually([&] { return bodies.size() >= 2; }));
  own_ = "cairn_disk_full 0\n";
  ASSERT_TRUE(eventually([&] { return bodies.size() >= 3; }));
  const auto has = [](const std::string& body, const char* text) { return body.find(text) != std::string::npos; };
  for (int i : {0, 1}) {
    EXPECT_TRUE(has(bodies[i], R"("status":"firing","labels":{"alertname":"DiskFull","severity":"critical"})"))
        << bodies[i];
    EXPECT_TRUE(has(bodies[i], R"("version":"4")"));
  }
  EXPECT_TRUE(has(bodies[2], R"("status":"resolved","labels":{"alertname":"DiskFull")")) << bodies[2];
  EXPECT_TRUE(eventually([&] {
    return number("SELECT count(*) FROM monitor.alerts WHERE told_end_at IS NOT NULL AND alert = 'DiskFull'") == 1;
  }));
}

TEST_F(MonitorTest, R30_OfTwoOnOneDatabaseOneWatchesAndTheOtherTakesOver) {
  start(100);
  MonitorOptions options;
  options.connection_string = database_.url();
  options.interval = 50ms;
  http::Router router;
  Monitor second(router, *pool_, options);
  int asked = 0;
  reactor_.spawn("second", second.watch([&asked] { return ++asked, std::string(); }));
  EXPECT_TRUE(eventually([&] { return number("SELECT count(*) FROM monitor.figures") > 3; }));
  EXPECT_EQ(asked, 0);
  // The first is gone for so long that what it held has run out.
  database_.execute("UPDATE monitor.watch SET until = now() + interval '1 hour', holder = 'somebody'");
  database_.execute("UPDATE monitor.watch SET until = now()");
  EXPECT_TRUE(eventually([&] { return number("SELECT count(*) FROM monitor.watch WHERE holder <> 'somebody'") == 1; }));
}

}  // namespace
}  // namespace cairn::monitor
