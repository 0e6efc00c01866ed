// The history while its partitions change: writers and readers go on, and moves are killed. The model is a map.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "base/reactor.h"
#include "db/transaction.h"
#include "features/partitions.h"
#include "schema/testing.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

// Event times of ten years: entity and month give the value.
constexpr int kMonths = 100;

class PartitionsTest : public testing::Test {
 protected:
  PartitionsTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 10;
    pool_ = std::make_unique<db::Pool>(options);
  }

  std::string sql(const std::string& text) { return reactor_.block_on(pool_->query({"", text})).text(0, 0); }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
};

TEST_F(PartitionsTest, R09_MonthsAheadAreMadeAndStrayTimesStay) {
  database_.execute(
      "INSERT INTO features.history SELECT 1, n::text, t, now(), '{}', '{}', '{}' FROM generate_series(1, 30) n,"
      " unnest(ARRAY[timestamptz '1850-06-01 00:00:00+00', '2020-02-29 23:59:59+00', '2020-03-01 00:00:00+00', "
      "'2021-05-05 00:00:00+00',"
      " now(), now() + interval '1 month', 'infinity']) t WHERE n = 1 OR t BETWEEN '2020-01-01' AND '2020-12-31'");
  const PartitionReport report = reactor_.block_on(keep_partitions(*pool_, {.months_ahead = 2, .rows_min = 30}));
  EXPECT_EQ(report.made.size(), 5u);
  EXPECT_EQ(report.moved, 65);
  EXPECT_EQ(
      sql("SELECT string_agg(event_time::date::text, ',' ORDER BY event_time) FROM features.history h WHERE"
          " tableoid = (SELECT partdefid FROM pg_partitioned_table WHERE partrelid = 'features.history'::regclass)"),
      "1850-06-01,2021-05-05,infinity");
  EXPECT_EQ(sql("SELECT concat((SELECT count(*) FROM features.history_2020_02), (SELECT count(*) FROM "
                "features.history_2020_03),"
                " (SELECT count(*) FROM features.history))"),
            "303065");
  // Its index came along, and its bounds are known to the planner.
  EXPECT_EQ(sql("SELECT count(*)::text FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid WHERE inhparent ="
                " 'features.idx_history_entity'::regclass"),
            "6");
  EXPECT_TRUE(reactor_.block_on(keep_partitions(*pool_, {.months_ahead = 2, .rows_min = 30})).made.empty());
}

// As pg_dump does: a snapshot, then the tables that it has seen are locked by name, then read.
TEST_F(PartitionsTest, R32_ADumpThatAMoveCameInBetweenFailsOrIsWhole) {
  const auto dump = [&](const std::string& row_that_comes) {
    db::Transaction transaction(reactor_.block_on(pool_->acquire()), db::Isolation::kRepeatableRead);
    const auto query = [&](const std::string& text) { return reactor_.block_on(transaction.query({"", text})); };
    const Rows tables = query(
        "SELECT string_agg(i.inhrelid::regclass::text, ', ') FROM pg_inherits i WHERE inhparent ="
        " 'features.history'::regclass");
    sql(row_that_comes + " RETURNING ''");
    reactor_.block_on(keep_partitions(*pool_, {.months_ahead = 1, .rows_min = 1}));
    query("LOCK TABLE " + tables.text(0, 0) + " IN ACCESS SHARE MODE");
    return query("SELECT count(*) FROM features.history").integer(0, 0);
  };
  const auto row_of = [](const std::string& time) {
    return "INSERT INTO features.history VALUES (1, '1', '" + time + "', now(), '{}', '{}', '{}')";
  };
  EXPECT_EQ(dump(row_of("infinity")), 0);  // months are made, beside the row
  EXPECT_EQ(sql("SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'features.history'::regclass"), "3");
  EXPECT_EQ(dump(row_of("infinity")), 1);
  try {
    dump(row_of("2020-01-01"));
    FAIL() << "rows that were moved are missing in the dump";
  } catch (const db::DbError& error) {
    EXPECT_EQ(error.sqlstate(), "42P01") << error.what();
  }
  EXPECT_EQ(dump(row_of("infinity")), 3);
}

struct Load {
  explicit Load(const db::PoolOptions& options) : pool(options), movers(options) {}

  db::Pool pool;
  db::Pool movers;  // whose connections are killed
  std::mt19937 random{std::random_device{}()};
  std::map<std::pair<int, int>, int> written;  // (entity, month): value; what was acknowledged
  std::vector<std::pair<int, int>> keys;
  int writers = 0, readers = 0;
  bool stop = false;
  int moves_wanted = 4, kills_wanted = 0;
  int moved_rows = 0, moves = 0, kills = 0;
  std::string wrong;

  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); }
};

constexpr Statement kWrite{"test_write",
                           "INSERT INTO features.history SELECT 1, e::text, (timestamp '2015-01-01' + m * interval '1 "
                           "month' + e % 1000 * interval '1"
                           " second') AT TIME ZONE 'UTC', now(), ARRAY[v::float8], ARRAY[v::int8], ARRAY[v::text]"
                           " FROM unnest($1::int[], $2::int[], $3::int[]) u (e, m, v)"};

// Until there were moves enough.
task<> write_on(Load& run, int writer) {
  for (int round = 0; run.wrong.empty() && (run.moves < run.moves_wanted || run.kills < run.kills_wanted); ++round) {
    std::vector<int32_t> entities, months, values;
    for (int i = 0; i < 8; ++i) {
      entities.push_back(writer * 100'000 + round * 8 + i);
      months.push_back(run.below(20) == 0 ? run.below(kMonths) : 2 * run.moves + run.below(6));
      values.push_back(run.below(1'000'000));
    }
    co_await run.pool.query(kWrite, Params::of(entities, months, values));
    for (size_t i = 0; i < entities.size(); ++i) {
      run.written[{entities[i], months[i]}] = values[i];
      run.keys.emplace_back(entities[i], months[i]);
    }
    // So that a move has few rows to copy, however slow the machine is.
    while (run.keys.size() > 2000 * static_cast<size_t>(1 + run.moves + run.kills) && run.wrong.empty())
      co_await sleep_for(std::chrono::milliseconds(1));
  }
  --run.writers;
}

constexpr Statement kRead{
    "test_read",
    "SELECT doubles, integers, texts FROM features.history WHERE view_id = 1 AND entity_key = $1::int::text AND "
    "event_time ="
    " (timestamp '2015-01-01' + $2::int * interval '1 month' + $1 % 1000 * interval '1 second') AT TIME ZONE 'UTC'"};
constexpr Statement kCountAll{"test_count", "SELECT count(*) FROM features.history"};

// Each acknowledged value is there once and whole, at any time.
task<> read_on(Load& run) {
  while (!run.stop && run.wrong.empty()) {
    const auto acknowledged = static_cast<int64_t>(run.written.size());
    const Rows count = co_await run.pool.query(kCountAll);
    if (count.integer(0, 0) < acknowledged)
      run.wrong = fmt::format("{} rows where {} were acknowledged", count.integer(0, 0), acknowledged);
    for (int i = 0; i < 10 && !run.keys.empty(); ++i) {
      const auto key = run.keys[static_cast<size_t>(run.below(static_cast<int>(run.keys.size())))];
      const int value = run.written[key];
      const Rows rows = co_await run.pool.query(kRead, Params::of(key.first, key.second));
      if (rows.size() != 1 || rows.numbers(0, 0)[0] != value || rows.integers(0, 1)[0] != value ||
          rows.texts(0, 2)[0] != std::to_string(value))
        run.wrong = fmt::format("entity {}, month {}: {} rows", key.first, key.second, rows.size());
    }
  }
  --run.readers;
}

// Ends whoever moves rows, at a moment that is not foreseen.
constexpr Statement kKill{"test_kill",
                          "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                          " (SELECT oid FROM pg_database WHERE datname = current_database())"};

task<> kill_on(Load& run) {
  while (run.kills < run.kills_wanted && run.wrong.empty()) {
    co_await sleep_for(std::chrono::milliseconds(1 + run.below(200)));
    const Rows killed = co_await run.pool.query(kKill);
    run.kills += killed.size();
  }
  --run.readers;
}

task<> move_until(Load& run, bool killed) {
  while (run.writers > 0 && run.wrong.empty()) {
    try {
      const PartitionReport report =
          co_await keep_partitions(run.movers, {.months_ahead = 0, .rows_min = 1 + run.below(60)});
      run.moved_rows += static_cast<int>(report.moved);
      run.moves += report.made.empty() ? 0 : 1;
    } catch (const Error& error) {
      if (!killed) run.wrong = error.what();
    }
  }
  run.stop = true;
  while (run.readers > 0) co_await sleep_for(std::chrono::milliseconds(5));
}

void check_all(Reactor& reactor, Load& run) {
  EXPECT_EQ(run.wrong, "");
  EXPECT_EQ(reactor.block_on(run.pool.query(kCountAll)).integer(0, 0), static_cast<int64_t>(run.written.size()));
  const Rows rows =
      reactor.block_on(run.pool.query({"",
                                       "SELECT entity_key::int8, ((extract(year FROM event_time AT TIME ZONE "
                                       "'UTC') - 2015) * 12 + extract(month FROM event_time AT"
                                       " TIME ZONE 'UTC') - 1)::int8, integers[1] FROM features.history"}));
  for (int i = 0; i < rows.size(); ++i) {
    const std::pair<int, int> key(static_cast<int>(rows.integer(i, 0)), static_cast<int>(rows.integer(i, 1)));
    const auto expected = run.written.find(key);
    ASSERT_NE(expected, run.written.end()) << key.first << " " << key.second;
    ASSERT_EQ(rows.integer(i, 2), expected->second);
  }
}

TEST_F(PartitionsTest, R09_NoValueIsLostOrTornWhilePartitionsChange) {
  const char* kills = std::getenv("CAIRN_KILLS");
  for (const bool killed : {false, true}) {
    schema::MigratedDatabase database;
    db::PoolOptions options = pool_->options();
    options.connection_string = database.url();
    Load run(options);
    run.writers = 4;
    run.readers = killed ? 3 : 2;
    if (killed) run.moves_wanted = 1, run.kills_wanted = kills != nullptr ? std::atoi(kills) : 4;
    for (int writer = 0; writer < 4; ++writer) reactor_.spawn("writer", write_on(run, writer));
    for (int reader = 0; reader < 2; ++reader) reactor_.spawn("reader", read_on(run));
    if (killed) reactor_.spawn("killer", kill_on(run));
    reactor_.block_on(move_until(run, killed));
    check_all(reactor_, run);
    fmt::print("{} rows, {} moved in {} moves, {} kills\n", run.written.size(), run.moved_rows, run.moves, run.kills);
    // What was begun and killed is not in the way.
    reactor_.block_on(keep_partitions(run.pool, {.months_ahead = 0, .rows_min = 1}));
    check_all(reactor_, run);
  }
}

}  // namespace
}  // namespace cairn::features
