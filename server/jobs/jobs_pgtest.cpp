// The queue as its users see it, through the router: who gets which job, what becomes of one that fails or is
// forgotten.
#include <gtest/gtest.h>

#include <set>

#include "base/json.h"
#include "base/reactor.h"
#include "db/transaction.h"
#include "http/router.h"
#include "jobs/api.h"
#include "jobs/store.h"
#include "schema/testing.h"

namespace cairn::jobs {
namespace {

class JobsTest : public testing::Test {
 protected:
  struct Answer {
    int status;
    std::string body;
    bool has(std::string_view text) const { return body.find(text) != std::string::npos; }
    // A field of the answer's job; "null" when it is null.
    std::string field(const char* name) const {
      const json::Document document(body);
      return simdjson::minify(document.root()["job"][name].value());
    }
    int64_t id() const { return std::stoll(field("job_id")); }
    std::string token() const { return field("lease_token"); }  // with its quotes
  };

  JobsTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 8;
    pool_ = std::make_unique<db::Pool>(options);
    register_routes(router_, *pool_);
  }

  task<Answer> call(std::string method, std::string path, std::string input) {
    const http::Router::Match match = router_.match(method, path);
    if (match.route == nullptr) throw std::logic_error("no route " + method + " " + path);
    http::Request request;
    request.method = method;
    request.path = path;
    request.user = "ada";
    request.captures = match.captures;
    if (method == "GET") {
      request.query = http::parse_query(input).value();
    } else {
      request.body = input;
      request.headers = {{"content-type", "application/json"}};
    }
    http::Response response = co_await http::dispatch(*match.route, request);
    co_return Answer{response.status, simdjson::minify(json::Document(response.body).root())};
  }
  Answer post(const std::string& path, const std::string& input = "{}") {
    return reactor_.block_on(call("POST", "/api/v1/jobs" + path, input));
  }
  Answer get(const std::string& path, const std::string& query = "") {
    return reactor_.block_on(call("GET", "/api/v1/jobs" + path, query));
  }
  Answer take(const std::string& input = "{}") { return post("/take", input); }
  static std::string at(int64_t id, const std::string& action) { return "/" + std::to_string(id) + "/" + action; }
  static std::string lease(const Answer& taken, const std::string& more = "") {
    return R"({"lease_token":)" + taken.token() + more + "}";
  }
  // As if so much time had passed that every lease has ended and every delay is over.
  void let_time_pass() {
    database_.execute(
        "UPDATE jobs.jobs SET lease_until = lease_until - interval '1 year', run_after = run_after - interval '1 "
        "year'");
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
  http::Router router_;
};

#define EXPECT_ANSWER(answer_, status_, text_)  \
  do {                                          \
    const Answer got = answer_;                 \
    EXPECT_EQ(got.status, status_) << got.body; \
    EXPECT_TRUE(got.has(text_)) << got.body;    \
  } while (false)

TEST_F(JobsTest, R12_AJobIsMadeTakenRenewedAndCompleted) {
  const Answer made = post("", R"({"kind":"train","payload":{"lr":0.1,"model":null},"priority":3})");
  EXPECT_ANSWER(made, 200, R"("payload":{"lr":0.1,"model":null})");
  EXPECT_EQ(made.field("status"), R"("queued")");
  EXPECT_EQ(made.field("queue"), R"("default")");
  EXPECT_EQ(made.field("max_attempts"), "3");

  const Answer taken = take(R"({"worker":"w1","lease_s":30})");
  EXPECT_EQ(taken.id(), made.id());
  EXPECT_EQ(taken.field("status"), R"("running")");
  EXPECT_EQ(taken.field("worker"), R"("w1")");
  EXPECT_EQ(taken.field("attempts"), "1");
  EXPECT_ANSWER(take(), 200, R"({"job":null})");

  const Answer renewed = post(at(made.id(), "heartbeat"), lease(taken, R"(,"lease_s":600)"));
  EXPECT_GT(std::stoll(renewed.field("lease_until")), std::stoll(taken.field("lease_until")) + 500'000);
  EXPECT_FALSE(renewed.has("lease_token")) << "the token is the taker's alone";
  EXPECT_FALSE(get("/" + std::to_string(made.id())).has("lease_token"));

  const Answer completed = post(at(made.id(), "complete"), lease(taken, R"(,"result":{"accuracy":0.97})"));
  EXPECT_EQ(completed.field("status"), R"("succeeded")");
  EXPECT_EQ(completed.field("result"), R"({"accuracy":0.97})");
  EXPECT_NE(completed.field("finished_at"), "null");
  EXPECT_ANSWER(post(at(made.id(), "complete"), lease(taken)), 409, "is succeeded");
}

TEST_F(JobsTest, R12_TakersNeverGetTheSameJob) {
  constexpr int kJobs = 200, kTakers = 8;
  database_.execute("INSERT INTO jobs.jobs (kind) SELECT 'train' FROM generate_series(1, 200)");
  std::multiset<int64_t> ids;
  int running = kTakers;
  auto taker = [&]() -> task<> {
    for (;;) {
      const Answer taken = co_await call("POST", "/api/v1/jobs/take", "{}");
      if (taken.status != 200 || taken.has(R"("job":null)")) break;
      ids.insert(taken.id());
    }
    --running;
  };
  for (int i = 0; i < kTakers; ++i) reactor_.spawn("taker", taker());
  auto all_ended = [&]() -> task<> {
    while (running > 0) co_await sleep_for(std::chrono::milliseconds(1));
  };
  reactor_.block_on(all_ended());
  EXPECT_EQ(ids.size(), size_t{kJobs});
  EXPECT_EQ(std::set<int64_t>(ids.begin(), ids.end()).size(), size_t{kJobs});
}

TEST_F(JobsTest, R12_AJobThatAnotherTransactionHoldsIsSkipped) {
  const int64_t first = post("", R"({"kind":"a"})").id(), second = post("", R"({"kind":"b"})").id();
  static constexpr db::Statement kHold{"hold", "SELECT FROM jobs.jobs WHERE job_id = $1 FOR UPDATE"};
  auto body = [&](db::Transaction& tx) -> task<int64_t> {
    co_await tx.query(kHold, db::Params::of(first));
    const Answer taken = co_await call("POST", "/api/v1/jobs/take", "{}");
    co_return taken.id();
  };
  EXPECT_EQ(reactor_.block_on(db::with_transaction(*pool_, db::Isolation::kReadCommitted, body)), second);
  EXPECT_EQ(take().id(), first);
}

TEST_F(JobsTest, R12_ALeaseThatEndsGivesTheJobToTheNextAndRefusesTheOld) {
  const int64_t id = post("", R"({"kind":"train","max_attempts":2})").id();
  const Answer first = take(R"({"worker":"w1"})");
  let_time_pass();
  const Answer second = take(R"({"worker":"w2"})");
  EXPECT_EQ(second.id(), id);
  EXPECT_EQ(second.field("attempts"), "2");
  EXPECT_NE(second.token(), first.token());
  for (const char* action : {"heartbeat", "complete", "fail"})
    EXPECT_ANSWER(post(at(id, action), lease(first)), 409, "running for w2");
  EXPECT_ANSWER(post(at(id, "heartbeat"), lease(second)), 200, R"("worker":"w2")");

  // The second attempt was the last one.
  let_time_pass();
  EXPECT_ANSWER(take(), 200, R"({"job":null})");
  EXPECT_ANSWER(get("/" + std::to_string(id)), 200, "attempt 2: the lease of w2 ended");
  EXPECT_EQ(get("/" + std::to_string(id)).field("status"), R"("dead")");
  EXPECT_ANSWER(post(at(id, "complete"), lease(second)), 409, "is dead");
}

TEST_F(JobsTest, R12_ALeaseThatIsLateIsRenewedAsLongAsNobodyTookTheJob) {
  const int64_t id = post("", R"({"kind":"train"})").id();
  const Answer taken = take();
  let_time_pass();
  EXPECT_ANSWER(post(at(id, "heartbeat"), lease(taken)), 200, "running");
  EXPECT_ANSWER(take(), 200, R"({"job":null})");
}

TEST_F(JobsTest, R12_AFailureIsTriedAgainLaterAndIsDeadAtLast) {
  const int64_t id = post("", R"({"kind":"train","max_attempts":3,"retry_delay_s":100})").id();
  for (const int64_t delay_ms : {100'000, 200'000}) {
    const Answer taken = take();
    const Answer failed = post(at(id, "fail"), lease(taken, R"(,"error":"no GPU")"));
    EXPECT_EQ(failed.field("status"), R"("queued")");
    EXPECT_EQ(failed.field("error"), R"("no GPU")");
    const int64_t wait = std::stoll(failed.field("run_after")) - std::stoll(taken.field("lease_until")) + 60'000;
    EXPECT_GE(wait, delay_ms);
    EXPECT_LE(wait, delay_ms * 5 / 4);
    EXPECT_ANSWER(take(), 200, R"({"job":null})");
    let_time_pass();
  }
  const Answer dead = post(at(id, "fail"), lease(take(), R"(,"error":"no GPU at all")"));
  EXPECT_EQ(dead.field("status"), R"("dead")");
  EXPECT_EQ(dead.field("attempts"), "3");
  EXPECT_ANSWER(get("", "status=dead"), 200, "no GPU at all");

  const Answer again = post(at(id, "requeue"));
  EXPECT_EQ(again.field("status"), R"("queued")");
  EXPECT_EQ(again.field("attempts"), "0");
  EXPECT_ANSWER(post(at(id, "requeue")), 409, "is queued");
  EXPECT_EQ(take().id(), id);
}

TEST_F(JobsTest, AFailureForGoodIsNotTriedAgain) {
  const int64_t id = post("", R"({"kind":"train"})").id();
  EXPECT_EQ(post(at(id, "fail"), lease(take(), R"(,"error":"bad payload","retry":false)")).field("status"),
            R"("failed")");
  let_time_pass();
  EXPECT_ANSWER(take(), 200, R"({"job":null})");
}

TEST_F(JobsTest, CancellingEndsAJobAndItsLease) {
  const int64_t queued = post("", R"({"kind":"a"})").id();
  EXPECT_EQ(post(at(queued, "cancel")).field("status"), R"("cancelled")");
  const int64_t running = post("", R"({"kind":"b"})").id();
  const Answer taken = take();
  EXPECT_EQ(taken.id(), running);
  EXPECT_EQ(post(at(running, "cancel")).field("status"), R"("cancelled")");
  EXPECT_ANSWER(post(at(running, "heartbeat"), lease(taken)), 409, "is cancelled");
  EXPECT_ANSWER(post(at(running, "cancel")), 409, "is cancelled");
}

TEST_F(JobsTest, TheOrderIsPriorityThenAgeWithinAQueue) {
  const int64_t old = post("", R"({"kind":"a"})").id();
  const int64_t young = post("", R"({"kind":"a"})").id();
  const int64_t urgent = post("", R"({"kind":"a","priority":1})").id();
  const int64_t other = post("", R"({"kind":"a","queue":"gpu","priority":9})").id();
  post("", R"({"kind":"a","priority":9,"delay_s":3600})");
  for (const int64_t expected : {urgent, old, young}) EXPECT_EQ(take().id(), expected);
  EXPECT_ANSWER(take(), 200, R"({"job":null})");
  EXPECT_EQ(take(R"({"queue":"gpu"})").id(), other);
}

TEST_F(JobsTest, ListsAreNewestFirstByPages) {
  for (int i = 0; i < 5; ++i) post("", R"({"kind":"k)" + std::to_string(i) + R"("})");
  const auto ids = [](const Answer& answer) {
    std::vector<int64_t> found;
    const json::Document document(answer.body);
    for (const auto job : simdjson::dom::array(document.root()["jobs"])) found.push_back(int64_t(job["job_id"]));
    return found;
  };
  const std::vector<int64_t> first = ids(get("", "limit=3"));
  const std::vector<int64_t> second = ids(get("", "limit=3&before=" + std::to_string(first.back())));
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(second.size(), 2u);
  EXPECT_GT(first.back(), second.front());
  EXPECT_EQ(ids(get("", "kind=k2&status=queued&queue=default")).size(), 1u);
  EXPECT_EQ(ids(get("", "queue=gpu")).size(), 0u);
}

TEST_F(JobsTest, RefusesWhatCannotBe) {
  EXPECT_ANSWER(post("", "{}"), 400, "Missing value for required parameter 'kind'");
  EXPECT_ANSWER(post("", R"({"kind":""})"), 400, "'kind'");
  EXPECT_ANSWER(post("", R"({"kind":"a\u0000b"})"), 400, "NUL");
  EXPECT_ANSWER(post("", R"({"kind":")" + std::string(257, 'x') + R"("})"), 400, "at most 256 bytes");
  EXPECT_ANSWER(post("", R"({"kind":"a","max_attempts":0})"), 400, "between 1 and 1000");
  EXPECT_ANSWER(post("", R"({"kind":"a","retry_delay_s":-1})"), 400, "between 0 and 86400");
  EXPECT_ANSWER(post("", R"({"kind":"a","delay_s":"NaN"})"), 400, "delay_s");
  EXPECT_ANSWER(post("", R"({"kind":"a","payload":{"x":"\u0000"}})"), 400, "cannot be stored");
  EXPECT_ANSWER(take(R"({"lease_s":0})"), 400, "between 1 and 86400");
  EXPECT_ANSWER(get("", "status=lost"), 400, "must be one of");
  EXPECT_ANSWER(get("", "limit=1001"), 400, "between 1 and 1000");
  EXPECT_ANSWER(get("/x"), 400, "must be an integer");
  EXPECT_ANSWER(get("/77"), 404, "Job 77 not found");
  EXPECT_ANSWER(post("/77/cancel"), 404, "Job 77 not found");
  EXPECT_ANSWER(post("/77/complete", R"({"lease_token":"x"})"), 404, "Job 77 not found");
  const int64_t id = post("", R"({"kind":"a"})").id();
  EXPECT_ANSWER(post(at(id, "complete"), R"({"lease_token":"no uuid"})"), 409, "is queued");
  EXPECT_ANSWER(post(at(id, "complete")), 400, "lease_token");
}

}  // namespace
}  // namespace cairn::jobs
