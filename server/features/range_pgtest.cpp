// Ranges and windows beside a model: events in a map, sums in a loop.
#include <cmath>
#include <map>
#include <random>

#include "features/testing.h"

namespace cairn::features {
namespace {

class RangeTest : public FeaturesTest {
 protected:
  static std::string second_of(int n) {
    return fmt::format("2026-01-01T{:02}:{:02}:{:02}Z", n / 3600, n / 60 % 60, n % 60);
  }
  static std::string quoted(const std::string& text) { return "\"" + text + "\""; }

  // Random events of three drivers in three hours, most of them in two versions.
  void fill() {
    ASSERT_EQ(apply(kDrivers).status, 200);
    std::mt19937 random(20260401);
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    for (const std::string created : {"2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"}) {
      std::string keys, rate, trips, rest, events, createds;
      for (int i = 0; i < 300; ++i) {
        const int driver = 1 + below(3), second = below(3 * 3600 / 10) * 10;
        if (created.find("-01T") != created.npos || events_[driver].contains(second)) {
          const std::string comma = keys.empty() ? "" : ",";
          const int value = below(1000);
          if (written_.contains({driver, second, created})) continue;
          written_.insert({driver, second, created});
          keys += comma + std::to_string(driver);
          rate += comma + (value % 10 == 0 ? "null" : fmt::format("{}", value / 8.0));
          trips += comma + std::to_string(value);
          rest += comma + "null";
          events += comma + quoted(second_of(second));
          createds += comma + quoted(created);
          events_[driver][second] = value;
        }
      }
      ASSERT_EQ(write("stats", "{\"driver_id\": [" + keys + "], \"conv_rate\": [" + rate + "], \"trips\": [" + trips +
                                   "], \"tags\": [" + rest + "], \"active\": [" + rest + "], \"note\": [" + rest +
                                   "], \"event_timestamp\": [" + events + "], \"created\": [" + createds + "]}")
                    .status,
                200);
    }
  }
  Answer range(const std::string& more) {
    return post(
        "/api/v1/features/range",
        R"({"features": ["stats:trips", "stats:conv_rate"], "entities": {"driver_id": [3, 1, 9, 2]}, )" + more + "}");
  }

  std::map<int, std::map<int, int>> events_;  // driver, second: the last version
  std::set<std::tuple<int, int, std::string>> written_;
};

TEST_F(RangeTest, R09_PagesHoldTheLastVersionOfEachEventInOrder) {
  fill();
  std::string expected, got;
  for (const int driver : {3, 1, 2})
    for (const auto& [second, value] : events_[driver])
      if (second >= 600 && second < 7200) expected += fmt::format("{} {} {};", driver, second_of(second), value);
  std::string token;
  int pages = 0;
  do {
    const Answer answer =
        range(fmt::format(R"("start": "{}", "end": "{}", "limit": 37{})", second_of(600), second_of(7200), token));
    ASSERT_EQ(answer.status, 200) << answer.body;
    const json::Document page(answer.body);
    const auto columns = page.root()["columns"];
    ASSERT_LE(columns["trips"].get_array().size(), 37u);
    for (size_t i = 0; i < columns["trips"].get_array().size(); ++i) {
      const int64_t value = columns["trips"].at(i).get_int64().value();
      got += fmt::format("{} {} {};", columns["driver_id"].at(i).get_int64().value(),
                         std::string(columns["event_timestamp"].at(i).get_string().value()), value);
      ASSERT_EQ(columns["conv_rate"].at(i).is_null(), value % 10 == 0);
    }
    std::string_view next;
    token = page.root()["next_page_token"].get_string().get(next) == simdjson::SUCCESS
                ? fmt::format(R"(, "page_token": "{}")", next)
                : "";
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(got, expected);
  EXPECT_GT(pages, 3);
}

// What a window's row is to hold, from the model.
struct Expected {
  std::vector<std::pair<int, double>> points;
  double avg() const {
    double sum = 0;
    for (const auto& [second, value] : points) sum += value;
    return sum / double(points.size());
  }
  double stddev() const {
    double sum = 0;
    for (const auto& [second, value] : points) sum += (value - avg()) * (value - avg());
    return std::sqrt(sum / double(points.size() - 1));
  }
  double trend() const {
    double at = 0, both = 0, squares = 0;
    for (const auto& [second, value] : points) at += second / double(points.size());
    for (const auto& [second, value] : points)
      both += (second - at) * (value - avg()), squares += (second - at) * (second - at);
    return both / squares;
  }
};

TEST_F(RangeTest, R06_WindowsAreWhatALoopComputes) {
  fill();
  const Answer answer = range(fmt::format(R"("start": "{}", "end": "{}", "window_s": 900, "moving_average": 3)",
                                          second_of(0), second_of(10800)));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json::Document document(answer.body);
  const auto columns = document.root()["columns"];
  size_t row = 0;
  for (const int driver : {3, 1, 2}) {
    std::map<int, Expected> windows;
    for (const auto& [second, value] : events_[driver]) windows[second / 900].points.emplace_back(second, value);
    for (const auto& [window, expected] : windows) {
      SCOPED_TRACE(fmt::format("driver {}, window {}", driver, window));
      const auto number = [&](const char* name) {
        const auto cell = columns[std::string("trips__") + name].at(row);
        return cell.is_null() ? std::nan("") : cell.get_double().value();
      };
      ASSERT_EQ(columns["driver_id"].at(row).get_int64().value(), driver);
      ASSERT_EQ(std::string(columns["window_start"].at(row).get_string().value()), second_of(window * 900));
      ASSERT_EQ(columns["trips__count"].at(row).get_int64().value(), std::ssize(expected.points));
      ASSERT_NEAR(number("avg"), expected.avg(), 1e-9);
      const auto [lowest, highest] = std::ranges::minmax(expected.points, {}, &std::pair<int, double>::second);
      ASSERT_EQ(number("min"), lowest.second);
      ASSERT_EQ(number("max"), highest.second);
      if (expected.points.size() > 1) {
        const auto &first = expected.points.front(), &last = expected.points.back();
        ASSERT_NEAR(number("stddev"), expected.stddev(), 1e-9 * expected.stddev());
        ASSERT_NEAR(number("trend"), expected.trend(), 1e-9);
        ASSERT_NEAR(number("rate"), (last.second - first.second) / (last.first - first.first), 1e-12);
      } else {
        ASSERT_TRUE(std::isnan(number("stddev")) && std::isnan(number("rate")));
      }
      double sum = 0, count = 0;
      for (int before = window - 2; before <= window; ++before)
        for (const auto& [second, value] :
             windows.contains(before) ? windows[before].points : std::vector<std::pair<int, double>>{})
          sum += value, ++count;
      ASSERT_NEAR(number("moving_avg"), sum / count, 1e-9);
      // A feature with gaps counts what is there.
      const auto gaps = std::ranges::count_if(expected.points, [](const auto& p) { return int(p.second) % 10 == 0; });
      ASSERT_EQ(columns["conv_rate__count"].at(row).get_int64().value(), std::ssize(expected.points) - gaps);
      ++row;
    }
  }
  EXPECT_EQ(columns["trips__count"].get_array().size(), row);
}

TEST_F(RangeTest, WhatIsNoRangeIsRefused) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  const std::string day = R"("start": "2026-01-01", "end": "2026-01-02")";
  EXPECT_EQ(range(day).body,
            R"({"columns":{"driver_id":[],"event_timestamp":[],"created":[],"trips":[],"conv_rate":[]}})");
  EXPECT_EQ(range(R"("start": "soon", "end": "2026-01-02")").status, 400);
  EXPECT_EQ(range(day + R"(, "limit": 0)").status, 400);
  EXPECT_EQ(range(day + R"(, "page_token": "1")").status, 400);
  EXPECT_EQ(range(day + R"(, "window_s": 0)").status, 400);
  const auto other = [&](const std::string& features, const std::string& more) {
    return post("/api/v1/features/range", R"({"entities": {"driver_id": [1], "city": ["x"]}, )" + day +
                                              R"(, "features": )" + features + more + "}")
        .status;
  };
  EXPECT_EQ(other(R"(["stats:trips", "in_city:rank"])", ""), 400);
  EXPECT_EQ(other(R"(["stats:note"])", R"(, "window_s": 60)"), 400);
  EXPECT_EQ(other(R"(["stats:nothing"])", ""), 404);
  EXPECT_EQ(other("[]", ""), 400);
}

}  // namespace
}  // namespace cairn::features
