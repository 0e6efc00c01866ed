#include "partitions/follow.h"

#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "partitions/facts.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;

// So many are looked up one by one: there is an index for each, and no statistics that say how few they are.
constexpr int64_t kFew = 10'000;
constexpr std::chrono::milliseconds kQuick{150};
constexpr int kRounds = 50;
constexpr const char* kSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ";

}  // namespace

std::string Follower::same_key(const std::string& a, const std::string& b) const {
  std::string text;
  for (const std::string& column : tables_.key) {
    const std::string name = db::quote_identifier(column);
    text += (text.empty() ? "" : " AND ") + a + "." + name + " = " + b + "." + name;
  }
  return text;
}

task<int64_t> Follower::logged(int64_t most) {
  const Rows rows =
      co_await session_.run(fmt::format("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) l", tables_.log, most));
  co_return rows.integer(0, 0);
}

// Keys are deleted before any is inserted, for a unique value may have gone from one row to another.
std::vector<std::string> Follower::replay_statements(bool few) const {
  std::vector<std::string> all;
  constexpr const char* kMethods[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"};
  for (const char* method : kMethods) all.push_back(fmt::format("SET LOCAL {} = {}", method, few ? "off" : "on"));
  const std::string keys = fmt::format("(SELECT DISTINCT {} FROM {}) l", column_list(tables_.key), tables_.log);
  all.push_back(fmt::format("DELETE FROM {} t USING {} WHERE {}", tables_.to, keys, same_key("t", "l")));
  all.push_back(fmt::format("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} t JOIN {} ON {}", tables_.to,
                            column_list(tables_.written), column_list(tables_.written, "t."), tables_.from, keys,
                            same_key("t", "l")));
  all.push_back("DELETE FROM " + tables_.log);
  for (const char* method : kMethods) all.push_back(fmt::format("SET LOCAL {} = on", method));
  return all;
}

task<> Follower::replay() {
  const int64_t count = co_await logged(kFew + 1);
  const std::vector<std::string> statements = replay_statements(count <= kFew);
  for (const std::string& statement : statements) co_await session_.run(statement);
}

task<> Follower::catch_up() {
  const Session::Body body = [&]() -> task<> { co_await replay(); };
  for (int round = 0; round < kRounds; ++round) {
    const int64_t left = co_await logged(kFew + 1);
    if (left > kFew) co_await session_.run("ANALYZE " + tables_.log);
    const auto begun = std::chrono::steady_clock::now();
    co_await session_.transaction(body, kSnapshot);
    if (std::chrono::steady_clock::now() - begun < kQuick) co_return;
  }
  throw Error(ErrorCode::kTemporarilyUnavailable,
              tables_.shown +
                  " is written to faster than the other table follows: run the same command again when there is less "
                  "to do; nothing is lost");
}

task<> Follower::compare(std::string advice) {
  const auto sums = [&](const std::string& table) {
    return fmt::format("SELECT count(*), coalesce(bit_xor(hashtextextended(ROW({})::text, 0)), 0) FROM {} t",
                       column_list(tables_.compared, "t."), table);
  };
  const std::string before = sums(tables_.from), after = sums(tables_.to);
  int64_t rows = 0;
  const Session::Body body = [&]() -> task<> {
    co_await replay();
    const Rows old_sums = co_await session_.run(before);
    const Rows new_sums = co_await session_.run(after);
    rows = new_sums.integer(0, 0);
    if (old_sums.integer(0, 0) == rows && old_sums.integer(0, 1) == new_sums.integer(0, 1)) co_return;
    throw Error(ErrorCode::kInternalError,
                fmt::format("{} differs from the table that follows it: {} rows and {}, sums of them {} and {}; {}",
                            tables_.shown, old_sums.integer(0, 0), rows, old_sums.integer(0, 1), new_sums.integer(0, 1),
                            advice));
  };
  co_await session_.transaction(body, kSnapshot);
  session_.say(fmt::format("compared {} rows: equal", rows));
}

}  // namespace cairn::partitions
