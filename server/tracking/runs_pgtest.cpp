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

}  // namespace
}  // namespace cairn::tracking
