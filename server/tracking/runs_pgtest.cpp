// Runs as a client makes and writes them, also while others hold what they need.
#include "base/json.h"
#include "db/transaction.h"
#include "tracking/testing.h"

namespace cairn::tracking {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr db::Statement kWaiting{
    "waiting", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"};

class RunsTest : public ApiTest {
 protected:
  // One request that runs beside the test.
  struct Pending {
    std::string answer;
    bool done = false;
  };
  task<> keep(Pending& pending, std::string target, std::string body) {
    pending.answer = co_await ask("POST", target, body);
    pending.done = true;
  }
  void start(Pending& pending, const std::string& target, const std::string& body) {
    reactor_.spawn("request", keep(pending, target, body));
  }
  // Until the request has ended, or waits for a lock.
  task<> until_blocked(const Pending& pending) {
    while (!pending.done) {
      const db::Rows waiting = co_await pool_.query(kWaiting);
      if (waiting.integer(0, 0) > 0) co_return;
      co_await sleep_for(2ms);
    }
  }
  task<> until_done(const Pending& pending) {
    const auto deadline = steady_clock::now() + 15s;
    while (!pending.done && steady_clock::now() < deadline) co_await sleep_for(2ms);
    EXPECT_TRUE(pending.done) << "for 15 seconds";
  }

  std::string make_run(const std::string& more = "") {
    const json::Document made(post("runs/create", R"({"experiment_id":"0")" + more + "}"));
    return std::string(std::string_view(made.root().at_pointer("/run/info/run_id")));
  }
  static std::string metric(const std::string& run) {
    return R"({"run_id":")" + run + R"(","key":"m","value":1,"timestamp":1})";
  }
};

TEST_F(RunsTest, TimesThatNoCalendarHasAreRefused) {
  const std::string create = R"({"experiment_id":"0","start_time":)";
  EXPECT_EQ(post("runs/create", create + "9224318015999999}").substr(0, 4), "400 ");
  EXPECT_EQ(post("runs/create", create + "-210866803200001}").substr(0, 4), "400 ");
  const std::string update = R"({"run_id":")" + make_run(R"(,"start_time":9224318015000000)") + R"(","end_time":)";
  const std::string refusal = post("runs/update", update + "9224318015000001}");
  EXPECT_EQ(refusal.substr(0, 4), "400 ");
  EXPECT_NE(refusal.find("parameter 'end_time'"), refusal.npos) << refusal;
  EXPECT_EQ(post("runs/update", update + "-210866803200000}").substr(0, 4), R"({"ru)");
}

TEST_F(RunsTest, WhatAClientDoesOftenIsNotPlannedEachTime) {
  for (int i = 0; i < 10; ++i) {
    const std::string run = make_run(R"(,"tags":[{"key":"t","value":"1"}])");
    EXPECT_EQ(post("runs/log-metric", metric(run)), "{}");
    EXPECT_EQ(post("runs/log-parameter", R"({"run_id":")" + run + R"(","key":"p","value":"1"})"), "{}");
    EXPECT_NE(call("GET", "runs/get?run_id=" + run).find(R"("key":"p")"), std::string::npos);
  }
  EXPECT_EQ(reactor_.block_on(pool_.query(db::kPlannedAnew)).text(0, 0), "");
}

TEST_F(RunsTest, APointOfAnyTimeCanBeRead) {
  const std::string point = R"({"run_id":")" + make_run() + R"(","key":"m","value":1,"timestamp":)";
  for (const char* time : {"0", "9224318015000000", "9224318015999999", "9223372036854775807"})
    EXPECT_EQ(post("runs/log-metric", point + time + "}"), "{}") << time;
  constexpr db::Statement kRead{"read_points", "SELECT count(*), count(\"timestamp\") FROM tracking.model_metrics"};
  const db::Rows rows = reactor_.block_on(pool_.query(kRead));
  EXPECT_EQ(rows.integer(0, 0), 4);
  EXPECT_EQ(rows.integer(0, 1), 2) << "others have no time";
}

TEST_F(RunsTest, NothingIsMadeInAnExperimentThatIsBeingDeleted) {
  for (const std::string target : {"runs/create", "logged-models"}) {
    const json::Document made(post("experiments/create", R"({"name":"of )" + target + "\"}"));
    const std::string id(std::string_view(made.root()["experiment_id"]));
    const std::string sql = "UPDATE tracking.experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = " + id;
    const db::Statement deleting{"", sql};
    Pending create;
    auto race = [&]() -> task<> {
      db::Transaction deletion(co_await pool_.acquire(), db::Isolation::kReadCommitted);
      co_await deletion.query(deleting);
      start(create, target, R"({"name":"x","experiment_id":")" + id + "\"}");
      co_await until_blocked(create);
      co_await deletion.commit();
      co_await until_done(create);
    };
    reactor_.block_on(race());
    EXPECT_EQ(create.answer.substr(0, 4), "400 ") << target;
    EXPECT_NE(create.answer.find("Current state is deleted."), std::string::npos) << create.answer;
  }
}

TEST_F(RunsTest, ARunThatAnotherHoldsDelaysNoOther) {
  const std::string held = make_run(), free = make_run();
  const std::string sql = "SELECT FROM tracking.training_runs WHERE run_id = '" + held + "' FOR UPDATE";
  const db::Statement locking{"", sql};
  Pending first, second, other;
  auto body = [&]() -> task<> {
    db::Transaction holder(co_await pool_.acquire(), db::Isolation::kReadCommitted);
    co_await holder.query(locking);
    start(first, "runs/log-metric", metric(held));
    co_await until_blocked(first);
    start(second, "runs/log-metric", metric(held));  // this and the next are one group
    start(other, "runs/log-metric", metric(free));
    co_await until_done(other);
    co_await until_done(second);
  };
  reactor_.block_on(body());
  EXPECT_EQ(other.answer, "{}");
  for (const Pending* refused : {&first, &second}) {
    EXPECT_EQ(refused->answer.substr(0, 4), "503 ");
    EXPECT_NE(refused->answer.find(held), std::string::npos) << refused->answer;
  }
  EXPECT_EQ(post("runs/log-metric", metric(held)), "{}");
  EXPECT_EQ(post("runs/log-metric", metric("nope")).substr(0, 4), "404 ");
}

TEST_F(RunsTest, AnExperimentThatAnotherHoldsDelaysRunsOfNoOther) {
  const json::Document made(post("experiments/create", R"({"name":"held"})"));
  const std::string id(std::string_view(made.root()["experiment_id"]));
  const std::string sql = "SELECT FROM tracking.experiments WHERE experiment_id = " + id + " FOR UPDATE";
  const db::Statement locking{"", sql};
  Pending first, second, other;
  auto body = [&]() -> task<> {
    db::Transaction holder(co_await pool_.acquire(), db::Isolation::kReadCommitted);
    co_await holder.query(locking);
    start(first, "runs/create", R"({"experiment_id":")" + id + "\"}");
    co_await until_blocked(first);
    start(second, "runs/create", R"({"experiment_id":")" + id + "\"}");
    start(other, "runs/create", R"({"experiment_id":"0"})");
    co_await until_done(other);
    co_await until_done(second);
  };
  reactor_.block_on(body());
  EXPECT_EQ(other.answer.substr(0, 6), R"({"run")");
  EXPECT_EQ(first.answer.substr(0, 4), "503 ");
  EXPECT_EQ(second.answer.substr(0, 4), "503 ");
}

TEST_F(RunsTest, AGroupHoldsAsMuchTextAsItHasRoomFor) {
  const std::string run = make_run();
  std::vector<Pending> tags(400);
  auto body = [&]() -> task<> {
    for (size_t i = 0; i < tags.size(); ++i) {
      start(tags[i], "runs/set-tag",
            R"({"run_id":")" + run + R"(","key":"k)" + std::to_string(i) + R"(","value":")" + std::string(8000, 'x') +
                "\"}");
    }
    for (const Pending& tag : tags) co_await until_done(tag);
  };
  reactor_.block_on(body());
  // What one transaction wrote has one xmin.
  constexpr db::Statement kLargest{
      "largest_group",
      "SELECT max(bytes), sum(rows)::bigint FROM (SELECT sum(length(value)) AS bytes, count(*) AS rows "
      "FROM tracking.tags WHERE value LIKE 'xxx%' GROUP BY xmin::text) g"};
  const db::Rows rows = reactor_.block_on(pool_.query(kLargest));
  EXPECT_EQ(rows.integer(0, 1), 400);
  EXPECT_LT(rows.integer(0, 0), 2 << 20);
}

}  // namespace
}  // namespace cairn::tracking
