#include "db/pool.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/reactor.h"
#include "db/connection.h"
#include "db/testing.h"
#include "db/transaction.h"

namespace cairn::db {
namespace {

using namespace std::chrono_literals;

class PoolTest : public testing::Test {
 protected:
  PoolOptions options(int size, int overflow) {
    PoolOptions options;
    options.connection_string = database_.url();
    options.size = size;
    options.max_overflow = overflow;
    return options;
  }
  TestDatabase database_;
  Reactor reactor_;
};

constexpr Statement kEcho{
    "echo",
    "SELECT $1::text, $2::bigint, $3::float8, $4::boolean, $5::jsonb, $6::bigint[], $7::float8[], "
    "$8::text[], $9::text, '2026-01-02 03:04:05.678+00'::timestamptz, "
    "'00112233-4455-6677-8899-aabbccddeeff'::uuid"};

TEST_F(PoolTest, EveryTypeComesBackAsItWasSent) {
  Pool pool(options(1, 0));
  const std::vector<int64_t> integers{INT64_MIN, 0, INT64_MAX};
  const std::vector<double> numbers{-0.0, 1e-7, HUGE_VAL, std::nan("")};
  const std::vector<std::string> texts{"", "ä\"\\", "{}"};
  Params params = Params::of("naïve", int64_t{-5}, 0.1, true, Jsonb{R"({"a":[1]})"}, integers, numbers, texts,
                             std::optional<std::string>());
  const Rows rows = reactor_.block_on(pool.query(kEcho, std::move(params)));
  ASSERT_EQ(rows.size(), 1);
  EXPECT_EQ(rows.text(0, 0), "naïve");
  EXPECT_EQ(rows.integer(0, 1), -5);
  EXPECT_EQ(rows.number(0, 2), 0.1);
  EXPECT_TRUE(rows.boolean(0, 3));
  EXPECT_EQ(rows.text(0, 4), R"({"a": [1]})");
  EXPECT_EQ(rows.integers(0, 5), integers);
  EXPECT_EQ(rows.numbers(0, 6)[1], 1e-7);
  EXPECT_TRUE(std::isnan(rows.numbers(0, 6)[3]));
  EXPECT_EQ(rows.texts(0, 7), texts);
  EXPECT_FALSE(rows.optional_text(0, 8));
  EXPECT_EQ(rows.timestamp_ms(0, 9), 1767323045678);
  EXPECT_EQ(rows.text(0, 10), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_THROW(rows.integer(0, 0), std::logic_error);
  EXPECT_THROW(rows.text(0, 8), std::logic_error);
}

TEST_F(PoolTest, AnErrorCarriesSqlstateAndLeavesTheConnectionUsable) {
  Pool pool(options(1, 0));
  constexpr Statement kBad{"divide", "SELECT 1 / $1::int"};
  for (int round = 0; round < 3; ++round) {
    try {
      reactor_.block_on(pool.query(kBad, Params::of(0)));
      FAIL() << "no error";
    } catch (const DbError& error) {
      EXPECT_EQ(error.sqlstate(), "22012");
      EXPECT_EQ(error.statement(), "divide");
    }
    EXPECT_EQ(reactor_.block_on(pool.query(kBad, Params::of(1))).integer(0, 0), 1);
  }
  EXPECT_EQ(pool.statistics().opened_total, 1u);
}

TEST_F(PoolTest, AFailedPrepareIsPreparedAgain) {
  Pool pool(options(1, 0));
  constexpr Statement kLater{"later", "SELECT count(*) FROM made_later"};
  EXPECT_THROW(reactor_.block_on(pool.query(kLater)), DbError);
  database_.execute("CREATE TABLE made_later ()");
  EXPECT_EQ(reactor_.block_on(pool.query(kLater)).integer(0, 0), 0);
}

TEST_F(PoolTest, R10_WaitsForAConnectionUpToTheTimeout) {
  PoolOptions small = options(1, 1);
  small.timeout = 120ms;
  small.max_waiting = 1;
  small.keep_overflow = 0ms;
  Pool pool(small);
  auto body = [&]() -> task<> {
    Lease first = co_await pool.acquire();
    {
      Lease overflow = co_await pool.acquire();
      EXPECT_EQ(pool.statistics().open, 2);
      try {
        Lease third = co_await pool.acquire();
        ADD_FAILURE() << "a third connection was given";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kTemporarilyUnavailable);
      }
    }
    EXPECT_EQ(pool.statistics().open, 1) << "the overflow connection is closed when it comes back";
    EXPECT_EQ(pool.statistics().timeouts_total, 1u);
  };
  reactor_.block_on(body());
}

TEST_F(PoolTest, R10_OverflowThatIsNeededAgainIsNotOpenedAgain) {
  Pool pool(options(1, 2));
  auto body = [&]() -> task<> {
    for (int i = 0; i < 5; ++i) {
      Lease first = co_await pool.acquire();
      Lease second = co_await pool.acquire();
      Lease third = co_await pool.acquire();
    }
    EXPECT_EQ(pool.statistics().opened_total, 3u);
    EXPECT_EQ(pool.statistics().open, 3);
  };
  reactor_.block_on(body());
}

TEST_F(PoolTest, R10_BeyondTheQueueItRefuses) {
  PoolOptions small = options(1, 0);
  small.max_waiting = 1;
  Pool pool(small);
  bool served = false;
  auto wait = [&]() -> task<> {
    Lease lease = co_await pool.acquire();
    served = true;
  };
  auto body = [&]() -> task<> {
    {
      Lease first = co_await pool.acquire();
      reactor_.spawn("waiter", wait());
      try {
        Lease third = co_await pool.acquire();
        ADD_FAILURE() << "the queue has no bound";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kRequestLimitExceeded);
      }
    }
    while (!served) co_await sleep_for(1ms);
  };
  reactor_.block_on(body());
}

TEST_F(PoolTest, AnAbandonedTransactionIsRolledBack) {
  Pool pool(options(1, 0));
  database_.execute("CREATE TABLE t (x int)");
  constexpr Statement kInsert{"insert_t", "INSERT INTO t VALUES ($1)"};
  constexpr Statement kCount{"count_t", "SELECT count(*) FROM t"};
  auto body = [&]() -> task<int64_t> {
    {
      Transaction tx(co_await pool.acquire(), Isolation::kReadCommitted);
      co_await tx.query(kInsert, Params::of(1));
    }
    const Rows rows = co_await pool.query(kCount);
    co_return rows.integer(0, 0);
  };
  EXPECT_EQ(reactor_.block_on(body()), 0);
}

TEST_F(PoolTest, R12_ASerialisationFailureIsRunAgain) {
  Pool pool(options(2, 0));
  database_.execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)");
  constexpr Statement kRead{"read_counter", "SELECT n FROM counter"};
  constexpr Statement kBump{"bump_counter", "UPDATE counter SET n = n + 1"};
  int runs = 0;
  auto body = [&](Transaction& tx) -> task<int64_t> {
    const Rows rows = co_await tx.query(kRead);
    if (++runs == 1) co_await pool.query(kBump);  // somebody else writes between our two statements
    co_await tx.query(kBump);
    co_return rows.integer(0, 0);
  };
  EXPECT_EQ(reactor_.block_on(with_transaction(pool, Isolation::kRepeatableRead, body)), 1);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(reactor_.block_on(pool.query(kRead)).integer(0, 0), 2);
}

TEST_F(PoolTest, AClosedConnectionIsReplaced) {
  Pool pool(options(1, 0));
  constexpr Statement kPid{"pid", "SELECT pg_backend_pid()"};
  const int64_t first = reactor_.block_on(pool.query(kPid)).integer(0, 0);
  database_.execute("SELECT pg_terminate_backend(" + std::to_string(first) + ", 5000)");
  EXPECT_NE(reactor_.block_on(pool.query(kPid)).integer(0, 0), first);
}

// The statement itself succeeds: the error comes after its result.
TEST_F(PoolTest, AnErrorOfTheCommitIsNoStatements) {
  Pool pool(options(1, 0));
  database_.execute("CREATE TABLE t (x int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)");
  constexpr Statement kInsert{"insert_t", "INSERT INTO t VALUES ($1)"};
  try {
    reactor_.block_on(pool.query(kInsert, Params::of(1)));
    FAIL() << "no error";
  } catch (const DbError& error) {
    EXPECT_TRUE(error.is_unique_violation());
    EXPECT_EQ(error.statement(), "commit");
  }
  EXPECT_NO_THROW(reactor_.block_on(pool.query(kInsert, Params::of(2))));
}

TEST_F(PoolTest, ABrokenConnectionThatIsKeptDoesNotDisturbTheNextOne) {
  constexpr Statement kPid{"pid", "SELECT pg_backend_pid()"};
  auto body = [&]() -> task<> {
    auto broken = co_await Connection::connect(database_.url());
    const Rows pid = co_await broken->query(kPid);
    database_.execute("SELECT pg_terminate_backend(" + std::to_string(pid.integer(0, 0)) + ", 5000)");
    EXPECT_FALSE(broken->alive());
    // libpq has closed its socket: the next one gets its number.
    auto next = co_await Connection::connect(database_.url());
    broken.reset();
    const Rows rows = co_await next->query(kPid);
    EXPECT_EQ(rows.size(), 1);
  };
  reactor_.block_on(body());
}

TEST_F(PoolTest, LargeResultsAndParametersDoNotDeadlock) {
  Pool pool(options(1, 0));
  constexpr Statement kBig{"big", "SELECT repeat($1, 10) FROM generate_series(1, 20)"};
  auto body = [&]() -> task<size_t> {
    Lease lease = co_await pool.acquire();
    std::vector<Query> queries;
    const std::string megabyte(1 << 20, 'x');
    for (int i = 0; i < 4; ++i) queries.push_back({kBig, Params::of(megabyte)});
    const auto results = co_await lease->run(std::move(queries));
    co_return results.back().view(19, 0).size();
  };
  EXPECT_EQ(reactor_.block_on(body()), 10u << 20);
}

}  // namespace
}  // namespace cairn::db
