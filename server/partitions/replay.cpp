// What was written meanwhile comes into the new table, and both are compared.
#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "partitions/convert.h"

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

std::string Converter::same_key(const std::string& a, const std::string& b) const {
  std::string text;
  for (const std::string& column : plan_.key) {
    const std::string name = db::quote_identifier(column);
    text += (text.empty() ? "" : " AND ") + a + "." + name + " = " + b + "." + name;
  }
  return text;
}

task<int64_t> Converter::logged(int64_t most) {
  const Rows rows =
      co_await session_.run(fmt::format("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) l", conversion_.log(), most));
  co_return rows.integer(0, 0);
}

// In one snapshot, or under a lock that keeps writers out. Keys are deleted before any is inserted, for a unique value
// may have gone from one row to another.
std::vector<std::string> Converter::replay_statements(bool few) const {
  std::vector<std::string> all;
  constexpr const char* kMethods[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"};
  for (const char* method : kMethods) all.push_back(fmt::format("SET LOCAL {} = {}", method, few ? "off" : "on"));
  const std::string keys = fmt::format("(SELECT DISTINCT {} FROM {}) l", column_list(plan_.key), conversion_.log());
  all.push_back(fmt::format("DELETE FROM {} t USING {} WHERE {}", plan_.shadow(), keys, same_key("t", "l")));
  all.push_back(fmt::format("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM ONLY {} t JOIN {} ON {}",
                            plan_.shadow(), column_list(plan_.written()), column_list(plan_.written(), "t."),
                            plan_.facts.full_name(), keys, same_key("t", "l")));
  all.push_back("DELETE FROM " + conversion_.log());
  for (const char* method : kMethods) all.push_back(fmt::format("SET LOCAL {} = on", method));
  return all;
}

task<> Converter::replay() {
  const int64_t count = co_await logged(kFew + 1);
  const std::vector<std::string> statements = replay_statements(count <= kFew);
  for (const std::string& statement : statements) co_await session_.run(statement);
}

// Until a round takes so little that the next one may be made while everybody waits.
task<> Converter::catch_up() {
  const Session::Body body = [&]() -> task<> { co_await replay(); };
  for (int round = 0; round < kRounds; ++round) {
    const int64_t left = co_await logged(kFew + 1);
    if (left > kFew) co_await session_.run("ANALYZE " + conversion_.log());
    const auto begun = std::chrono::steady_clock::now();
    co_await session_.transaction(body, kSnapshot);
    if (std::chrono::steady_clock::now() - begun < kQuick) co_return;
  }
  throw Error(ErrorCode::kTemporarilyUnavailable,
              plan_.facts.shown_name() +
                  " is written to faster than the new table follows: run the same command again when there is less "
                  "to do; nothing is lost");
}

// In one snapshot in which all of the log is replayed, both must be equal.
task<> Converter::compare() {
  const auto sums = [&](const std::string& table) {
    std::vector<std::string> names;
    for (const Column& column : plan_.facts.columns) names.push_back(column.name);
    return fmt::format("SELECT count(*), coalesce(bit_xor(hashtextextended(ROW({})::text, 0)), 0) FROM {} t",
                       column_list(names, "t."), table);
  };
  const std::string before = sums("ONLY " + plan_.facts.full_name()), after = sums(plan_.shadow());
  int64_t rows = 0;
  const Session::Body body = [&]() -> task<> {
    co_await replay();
    const Rows old_sums = co_await session_.run(before);
    const Rows new_sums = co_await session_.run(after);
    rows = new_sums.integer(0, 0);
    if (old_sums.integer(0, 0) == rows && old_sums.integer(0, 1) == new_sums.integer(0, 1)) co_return;
    throw Error(ErrorCode::kInternalError,
                fmt::format("the new table differs from {}: {} rows and {}, sums of them {} and {}; the old one is as "
                            "it was: take the conversion back (cairn partitions undo) and report this",
                            plan_.facts.shown_name(), old_sums.integer(0, 0), rows, old_sums.integer(0, 1),
                            new_sums.integer(0, 1)));
  };
  co_await session_.transaction(body, kSnapshot);
  session_.say(fmt::format("compared {} rows: equal", rows));
}

}  // namespace cairn::partitions
