#include "monitor/alerts.h"

#include <gtest/gtest.h>

namespace cairn::monitor {
namespace {

std::vector<Sample> deadlocks(double total) { return {{"pg_deadlocks", {}, total}}; }

std::vector<std::string> names(const std::vector<Alert>& alerts) {
  std::vector<std::string> found;
  for (const Alert& alert : alerts) found.emplace_back(alert.rule->alert);
  return found;
}
using Names = std::vector<std::string>;

TEST(Alerts, R30_AnAlertFiresAfterItsConditionHasLastedAndEnds) {
  AlertBook book;
  const Sample full{"cairn_pool_waiting", {{"pool", "x"}}, 3};
  EXPECT_TRUE(book.look({full}, 0).started.empty());
  EXPECT_TRUE(book.look({full}, 30).started.empty());
  const auto change = book.look({full}, 60);
  ASSERT_EQ(names(change.started), Names{"PoolExhausted"});
  EXPECT_EQ(change.started[0].labels, (LabelMap{{"pool", "x"}}));
  EXPECT_EQ(change.started[0].since, 0);
  EXPECT_EQ(change.started[0].description(), "3 of them: raise pool_size, or find what holds the connections.");
  EXPECT_TRUE(book.look({full}, 90).started.empty());
  EXPECT_EQ(names(book.look({}, 120).ended), Names{"PoolExhausted"});
  EXPECT_TRUE(book.look({full}, 150).started.empty()) << "it has to last again";
}

TEST(Alerts, R30_WhatFiredBeforeARestartGoesOnUntilItIsSeenToBeOver) {
  AlertBook book;
  ASSERT_TRUE(book.resume("DeadlocksDetected", {}, -100));
  EXPECT_FALSE(book.resume("NoSuchRule", {}, -100));
  EXPECT_TRUE(book.look(deadlocks(5), 0).ended.empty()) << "one sample tells no rate";
  EXPECT_TRUE(book.look(deadlocks(5), 30).ended.empty());
  EXPECT_EQ(names(book.look(deadlocks(5), 330).ended), Names{"DeadlocksDetected"});
  AlertBook other;
  other.resume("DiskFull", {}, -100);
  const auto change = other.look({{"cairn_disk_full", {}, 1}}, 0);
  EXPECT_TRUE(change.started.empty() && change.ended.empty());
  EXPECT_EQ(names(other.look({{"cairn_disk_full", {}, 0}}, 30).ended), Names{"DiskFull"});
}

TEST(Alerts, DescriptionsAreFilledIn) {
  EXPECT_EQ(expand("{{ $labels.a }}.{{ $labels.none }}: {{ $value | humanize }} {{ open", {{"a", "x"}}, 2.0 / 3),
            "x.: 0.6667 {{ open");
}

TEST(Alerts, TheMainFiguresAreThoseThatCanBeHad) {
  AlertBook book;
  book.look({{"pg_connections", {{"state", "active"}}, 2}, {"pg_connections", {{"state", "idle"}}, 3}}, 0);
  const auto figures = book.figures();
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0], (std::pair<std::string, double>{"connections", 5}));
  EXPECT_EQ(figures[1], (std::pair<std::string, double>{"connections_active", 2}));
}

}  // namespace
}  // namespace cairn::monitor
