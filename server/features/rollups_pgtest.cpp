// Windows of a view with a rollup beside those of one without, to which the same is written.
#include "features/rollups.h"

#include <cmath>
#include <random>

#include "db/transaction.h"
#include "features/testing.h"

namespace cairn::features {
namespace {

using db::Statement;
using db::Transaction;

class RollupsTest : public FeaturesTest {
 protected:
  static std::string declaration(int rollup_s) {
    const std::string view = R"("entities": ["driver"], "push_source": "trips", "features": [)"
                             R"({"name": "rate", "value_type": "double"}, {"name": "trips", "value_type": "int32"}]})";
    return fmt::format(
        R"({{"entities": [{{"name": "driver", "join_key": "driver_id", "value_type": "int64"}}], "feature_views": [)"
        R"({{"name": "rolled", "rollup_s": {}, {}, {{"name": "plain", {}]}})",
        rollup_s, view, view);
  }
  static std::string time_of(int second) {
    const int hour = 21 + second / 3600;  // the year ends meanwhile, and so does what is before the first bucket
    return fmt::format("{}T{:02}:{:02}:{:02}Z", hour < 24 ? "2000-12-31" : "2001-01-01", hour % 24, second / 60 % 60,
                       second % 60);
  }
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  // Some events of three drivers in four hours; each call knows better than those before.
  std::string events(int rows) {
    std::string keys, rate, trips, events, created;
    for (int i = 0; i < rows; ++i) {
      const char* comma = i == 0 ? "" : ", ";
      keys += fmt::format("{}{}", comma, 1 + below(3));
      rate += comma + (below(5) == 0 ? "null" : fmt::format("{}", below(100'000) / 8.0));
      trips += fmt::format("{}{}", comma, below(1000));
      events += fmt::format("{}\"{}\"", comma, time_of(10 * below(1400)));
      created += fmt::format("{}\"2026-01-01T00:00:00.{:06}Z\"", comma, ++versions_);
    }
    return fmt::format(R"({{"push_source_name": "trips", "df": {{"driver_id": [{}], "rate": [{}], "trips": [{}],)"
                       R"( "event_timestamp": [{}], "created": [{}]}}}})",
                       keys, rate, trips, events, created);
  }
  void push(int rows) { ASSERT_EQ(post("/push", events(rows)).status, 200); }
  std::vector<RolledUp> roll() { return reactor_.block_on(roll_up(*pool_, std::nullopt)); }

  static std::string question(const std::string& view, int start, int end, int window_s) {
    return fmt::format(R"({{"features": ["{0}:trips", "{0}:rate"], "entities": {{"driver_id": [3, 1, 9, 2]}},)"
                       R"( "start": "{1}", "end": "{2}", "window_s": {3}, "moving_average": 3}})",
                       view, time_of(start), time_of(end), window_s);
  }
  std::string windows(const std::string& view, int start, int end, int window_s) {
    const Answer answer = post("/api/v1/features/range", question(view, start, end, window_s));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.body;
  }
  void expect_same(int start, int end, int window_s) {
    SCOPED_TRACE(fmt::format("{} to {}, windows of {} s", time_of(start), time_of(end), window_s));
    const json::Document rolled(windows("rolled", start, end, window_s));
    const json::Document plain(windows("plain", start, end, window_s));
    for (const auto [name, cells] : plain.root()["columns"].get_object()) {
      const auto others = rolled.root()["columns"][name].get_array();
      ASSERT_EQ(cells.get_array().size(), others.size());
      auto other = others.begin();
      for (const auto cell : cells.get_array()) {
        const auto beside = *other;
        ++other;
        if (cell.is_number() && beside.is_number())
          ASSERT_NEAR(cell.get_double().value(), beside.get_double().value(),
                      1e-9 * std::max(1.0, std::abs(cell.get_double().value())))
              << name;
        else
          ASSERT_EQ(simdjson::minify(cell), simdjson::minify(beside)) << name;
      }
    }
  }
  void expect_all_same() { expect_same(0, 14'400, 1200); }

  std::mt19937 random_{std::random_device{}()};
  int versions_ = 0;
};

TEST_F(RollupsTest, R06_WindowsAreTheSameWithARollupWhateverIsWrittenWhen) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  random_.seed(seed);
  ASSERT_EQ(apply(declaration(600)).status, 200);
  int64_t buckets = 0;
  for (int round = 0; round < 80 && !HasFatalFailure(); ++round) {
    const int action = below(20);
    const std::string some =
        fmt::format("WHERE entity_key = '{}' AND event_time < '{}'", 1 + below(3), time_of(below(2000)));
    if (action < 9) push(1 + below(40));
    if (action >= 9 && action < 14) buckets += roll().at(0).buckets;
    if (action == 14) {
      const auto once = [left = 1]() mutable { return left-- > 0; };
      reactor_.block_on(roll_up(*pool_, "rolled", once));
    }
    if (action == 15) database_.execute("DELETE FROM features.history " + some);
    if (action == 16) database_.execute("UPDATE features.history SET integers[1] = 7 " + some);
    if (action == 17)
      database_.execute("UPDATE features.history SET event_time = event_time + interval '1250.5 s' " + some);
    if (action == 18 && below(4) == 0) database_.execute("TRUNCATE features.history");
    if (action == 19) {
      ASSERT_EQ(apply(declaration(below(3) * 300)).status, 200);
      ASSERT_EQ(apply(declaration(below(3) == 0 ? 300 : 600)).status, 200);
    }
    const int start = below(6000);
    expect_same(start, start + below(8000), 600 * (1 + below(3)));
    expect_same(0, 14'400, 600);
  }
  EXPECT_GT(buckets, 0);
}

TEST_F(RollupsTest, WhatIsRolledUpIsNotReadFromTheHistory) {
  ASSERT_EQ(apply(declaration(600)).status, 200);
  push(500);
  EXPECT_GT(roll().at(0).buckets, 30);
  EXPECT_EQ(roll().at(0).buckets, 0);
  const std::string all = windows("rolled", 0, 14'400, 600);
  database_.execute("ALTER TABLE features.history DISABLE TRIGGER USER");
  database_.execute("TRUNCATE features.history");
  database_.execute("ALTER TABLE features.history ENABLE TRIGGER USER");
  EXPECT_EQ(windows("rolled", 0, 14'400, 600), all);
  // What is not a whole bucket is the history's, and so are other windows.
  EXPECT_NE(windows("rolled", 1, 14'400, 600), all);
  EXPECT_EQ(windows("rolled", 0, 14'400, 300).find(":00Z"), std::string::npos);
  ASSERT_EQ(apply(declaration(0)).status, 200);
  EXPECT_EQ(windows("rolled", 0, 14'400, 600).find(":00Z"), std::string::npos);
  EXPECT_TRUE(reactor_.block_on(has_rollups_due(*pool_)));
  roll();
  EXPECT_EQ(count("rollups"), "0");
  EXPECT_FALSE(reactor_.block_on(has_rollups_due(*pool_)));
}

constexpr Statement kInsert{"test_insert",
                            "INSERT INTO features.history SELECT view_id, '1', '2000-12-31 21:00:05+00', now(), '{1}',"
                            " '{999983}', '{}' FROM features.feature_views"};

TEST_F(RollupsTest, WhoCommitsAfterTheRollupKeepsTheMark) {
  ASSERT_EQ(apply(declaration(600)).status, 200);
  push(200);
  auto open = [this]() -> task<> {
    Transaction writer(co_await pool_->acquire(), db::Isolation::kReadCommitted);
    co_await writer.query(kInsert);
    // The bucket is marked by others, too; nobody waits.
    co_await roll_up(*pool_, std::nullopt);
    co_await writer.commit();
  };
  reactor_.block_on(open());
  EXPECT_NE(windows("rolled", 0, 14'400, 600).find("999983"), std::string::npos);
  expect_all_same();
  roll();
  expect_all_same();
}

TEST_F(RollupsTest, WritersThatDoNotKnowOfTheRollupEndBeforeItIsDeclared) {
  ASSERT_EQ(apply(declaration(0)).status, 200);
  push(50);
  bool declared = false;
  auto declare = [&]() -> task<> {
    std::string body = declaration(600);
    const Answer answer = co_await call("POST", "/api/v1/features/apply", std::move(body));
    EXPECT_NE(answer.body.find("~ feature view rolled, rollup_s: 600"), std::string::npos) << answer.body;
    declared = true;
  };
  const Statement waiting{
      "", "SELECT count(*) FROM pg_locks WHERE relation = 'features.history'::regclass AND NOT granted"};
  const Statement look{"", "SELECT 1 FROM features.history LIMIT 1"};
  std::string refused;
  auto both = [&]() -> task<> {
    Transaction old(co_await pool_->acquire(), db::Isolation::kRepeatableRead);
    co_await old.query(look);
    Transaction writer(co_await pool_->acquire(), db::Isolation::kReadCommitted);
    co_await writer.query(kInsert);
    Reactor::current().spawn("declare", declare());
    for (int64_t there = 0; there == 0 && !declared;) {
      const db::Rows rows = co_await pool_->query(waiting);
      there = rows.integer(0, 0);
    }
    EXPECT_FALSE(declared);
    co_await writer.commit();
    while (!declared) co_await sleep_for(std::chrono::milliseconds(1));
    try {
      co_await old.query(kInsert);
    } catch (const db::DbError& error) {
      refused = error.sqlstate();
    }
  };
  reactor_.block_on(both());
  EXPECT_EQ(refused, "40001");
  expect_all_same();
  roll();
  expect_all_same();
  EXPECT_NE(windows("rolled", 0, 14'400, 600).find("999983"), std::string::npos);
}

TEST_F(RollupsTest, NumbersThatCannotBeSquaredAreReadFromTheHistory) {
  ASSERT_EQ(apply(declaration(600)).status, 200);
  push(100);
  database_.execute(
      "INSERT INTO features.history SELECT view_id, '1', '2000-12-31 21:40:05+00', now(), '{1e200}', '{1}',"
      " '{}' FROM features.feature_views");
  database_.execute(
      "DELETE FROM features.history WHERE event_time BETWEEN '2000-12-31 21:40:00+00' AND"
      " '2000-12-31 21:59:59+00' AND doubles[1] IS DISTINCT FROM 1e200");
  roll();
  EXPECT_NE(windows("rolled", 0, 14'400, 600).find("e+200"), std::string::npos);
  expect_all_same();
}

// Two writers, the rollup and a reader, who counts what was acknowledged.
TEST_F(RollupsTest, R06_NoAnswerIsStaleWhileWritersAndTheRollupRun) {
  ASSERT_EQ(apply(declaration(600)).status, 200);
  int begun = 0, acknowledged = 0, writers = 2, readers = 2;
  std::string wrong;
  auto write_on = [&](int writer) -> task<> {
    for (int i = 0; i < 60 && wrong.empty(); ++i) {
      // Each an event of its own.
      const int second = (i * 997 + writer * 13) % 10'000;
      std::string body =
          fmt::format(R"({{"push_source_name": "trips", "df": {{"driver_id": [{}], "rate": [1.5], "trips": [{}],)"
                      R"( "event_timestamp": ["{}"]}}}})",
                      1 + i % 3, i, time_of(second));
      ++begun;
      const Answer answer = co_await call("POST", "/push", std::move(body));
      if (answer.status != 200) wrong = answer.body;
      ++acknowledged;
    }
    --writers;
  };
  auto roll_on = [&]() -> task<> {
    while (writers > 0) co_await roll_up(*pool_, std::nullopt);
    --readers;
  };
  auto read_on = [&]() -> task<> {
    while (writers > 0 && wrong.empty()) {
      const int least = acknowledged;
      std::string asked = question("rolled", 0, 14'400, 1200);
      const Answer answer = co_await call("POST", "/api/v1/features/range", std::move(asked));
      const int most = begun;
      const json::Document document(answer.body);
      int64_t seen = 0;
      for (const auto cell : document.root()["columns"]["trips__count"].get_array()) seen += cell.get_int64().value();
      if (seen < least || seen > most) wrong = fmt::format("{} events, not {} to {}", seen, least, most);
    }
    --readers;
  };
  for (int writer = 0; writer < 2; ++writer) reactor_.spawn("writer", write_on(writer));
  reactor_.spawn("roll up", roll_on());
  auto wait = [&]() -> task<> {
    while (readers > 0) co_await sleep_for(std::chrono::milliseconds(5));
  };
  reactor_.spawn("reader", read_on());
  reactor_.block_on(wait());
  EXPECT_EQ(wrong, "");
  expect_all_same();
  roll();
  expect_all_same();
}

}  // namespace
}  // namespace cairn::features
