#include "triage/tree.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "triage/findings.h"

namespace cairn::triage {
namespace {

Session session(int64_t pid, std::vector<int64_t> blocked_by = {}) {
  return {.pid = pid, .backend = "client backend", .state = "active", .blocked_by = std::move(blocked_by)};
}

std::string shown(const std::vector<TreeLine>& lines) {
  std::string text;
  for (const TreeLine& line : lines)
    text += std::string(static_cast<size_t>(line.depth), '.') + std::to_string(line.pid) + (line.in_cycle ? "!" : "") +
            "<" + std::to_string(line.holds_back) + " ";
  return text;
}

TEST(BlockingTree, R33_TheOneThatHoldsBackMostIsFirst) {
  const std::vector<Session> sessions{session(1),      session(2),      session(3, {1}), session(4, {2}),
                                      session(5, {4}), session(6, {2}), session(9)};
  EXPECT_EQ(shown(blocking_tree(sessions)), "2<3 .4<1 ..5<0 .6<0 1<1 .3<0 ");
}

TEST(BlockingTree, R33_WhoWaitsForTwoIsThereOnceAndSaysBoth) {
  const auto lines = blocking_tree({session(1), session(2), session(3, {1, 2})});
  EXPECT_EQ(shown(lines), "1<1 .3<0 2<1 ");
  EXPECT_EQ(lines[1].waits_also, std::vector<int64_t>{2});
}

TEST(BlockingTree, R33_ADeadlockAndAPreparedTransactionAreShown) {
  EXPECT_EQ(shown(blocking_tree({session(1, {2}), session(2, {1})})), "1!<1 .2<1 ");
  EXPECT_EQ(shown(blocking_tree({session(1, {0}), session(2, {1})})), "0<2 .1<1 ..2<0 ");
  EXPECT_EQ(shown(blocking_tree({session(1, {1})})), "");
}

// Against the plainest model: who can be reached from whom.
TEST(BlockingTree, R33_EachSessionOnceAndHeldBackIsWhatIsReachable) {
  std::mt19937 random(33);
  for (int round = 0; round < 300; ++round) {
    const int64_t count = 1 + static_cast<int64_t>(random() % 9);
    std::vector<Session> sessions;
    std::set<int64_t> concerned;
    std::map<int64_t, std::set<int64_t>> reached;
    for (int64_t pid = 1; pid <= count; ++pid) {
      Session one = session(pid);
      for (int64_t other = 0; other <= count; ++other)
        if (other != pid && random() % 5 == 0) one.blocked_by.push_back(other);
      for (const int64_t other : one.blocked_by) {
        concerned.insert({pid, other});
        reached[other].insert(pid);
      }
      sessions.push_back(std::move(one));
    }
    for (int64_t step = 0; step <= count; ++step)
      for (auto& [from, to] : reached)
        for (const int64_t next : std::set<int64_t>(to))
          if (reached.contains(next)) to.insert(reached[next].begin(), reached[next].end());
    std::set<int64_t> seen;
    for (const TreeLine& line : blocking_tree(sessions)) {
      EXPECT_TRUE(seen.insert(line.pid).second);
      std::set<int64_t> held = reached[line.pid];
      held.erase(line.pid);
      EXPECT_EQ(line.holds_back, static_cast<int64_t>(held.size()));
    }
    EXPECT_EQ(seen, concerned);
  }
}

TEST(Trouble, R33_EachKindIsFoundAndNothingElse) {
  State state{.connections_max = 100, .freeze_max_age = 200'000'000};
  EXPECT_TRUE(find_trouble(state).empty());
  Session idle = session(7);
  idle.state = "idle in transaction";
  idle.transaction_s = idle.state_s = 90;
  Session slow = session(8);
  slow.transaction_s = slow.statement_s = 400;
  Session waiting = session(9, {7});
  waiting.transaction_s = waiting.statement_s = 10;
  state.sessions = {idle, slow, waiting};
  state.cache_hit_ratio = 0.45;
  state.deadlocks = 2;
  state.transaction_age = 300'000'000;
  state.slots = {{.name = "gone", .type = "physical", .wal_status = "extended", .kept_bytes = int64_t{5} << 30}};
  state.replicas = {{.name = "near", .lag_bytes = 10, .lag_s = 0.1}, {.name = "far", .lag_bytes = int64_t{1} << 30}};
  state.room.free_bytes = 5e9;
  state.room.disk_bytes = 1e11;
  std::map<std::string, int> subjects;
  for (const Finding& finding : find_trouble(state)) ++subjects[finding.subject];
  const std::map<std::string, int> wanted{{"blocking", 1},  {"transaction", 1}, {"statement", 1},   {"cache", 1},
                                          {"deadlocks", 1}, {"wraparound", 1},  {"replication", 2}, {"disk", 1}};
  EXPECT_EQ(subjects, wanted);
  const Finding first = find_trouble(state).front();
  EXPECT_TRUE(first.critical);
  EXPECT_EQ(first.to_do, "cairn triage terminate 7");
}

}  // namespace
}  // namespace cairn::triage
