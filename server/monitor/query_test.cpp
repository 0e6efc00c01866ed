// Queries beside Prometheus itself: promtool evaluates the same text over the same samples.
#include "monitor/query.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <regex>

#include "base/error.h"
#include "base/json.h"
#include "monitor/rules.h"

namespace cairn::monitor {
namespace {

constexpr int kSteps = 60;
constexpr double kStep = 30;

struct TestSeries {
  std::string name;
  Labels labels;
  std::vector<std::optional<double>> values;
};

// Names of metrics that a text mentions.
std::set<std::string> names_in(const std::string& text) {
  std::set<std::string> names;
  const std::regex pattern("\\b(pg|cairn)_[a-z_]+");
  for (std::sregex_iterator at(text.begin(), text.end(), pattern); at != std::sregex_iterator(); ++at)
    names.insert(at->str());
  return names;
}

class Samples {
 public:
  explicit Samples(unsigned seed) : random_(seed) {}

  // Gauges, counters that fall to zero now and then, series that begin late or have gaps.
  void add(const std::string& name) {
    const bool histogram = name.ends_with("_bucket");
    const bool setting = name.starts_with("pg_settings_");  // one an instance
    const int series = histogram || setting ? 1 : number(1, 3);
    for (int i = 0; i < series; ++i) {
      const Labels labels{{"instance", number(0, 1) == 0 ? "a" : "b"}, {"datname", fmt::format("d{}", i)}};
      const std::vector<const char*> bounds =
          histogram ? std::vector<const char*>{"1", "2.5", "1000", "+Inf"} : std::vector<const char*>{""};
      std::vector<double> sums(bounds.size(), 0);
      std::vector<TestSeries> made;
      for (const char* bound : bounds) {
        made.push_back({name, labels, {}});
        if (histogram) made.back().labels.emplace_back("le", bound);
      }
      const bool counter = histogram || number(0, 1) == 0;
      const int begins = number(0, 3) == 0 ? number(0, kSteps - 1) : 0;
      for (int step = 0; step < kSteps; ++step) {
        const bool gap = step < begins || (!histogram && number(0, 9) == 0);
        if (counter && number(0, 30) == 0) std::fill(sums.begin(), sums.end(), 0);
        double below = 0;
        for (size_t b = 0; b < sums.size(); ++b) {
          below += number(0, 3) * std::pow(10, number(0, 4));
          sums[b] = counter ? sums[b] + below : number(0, 2) * std::pow(10, number(-1, 9));
          made[b].values.push_back(gap ? std::nullopt : std::optional(sums[b]));
        }
      }
      all.insert(all.end(), made.begin(), made.end());
    }
  }
  int number(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  std::vector<TestSeries> all;

 private:
  std::mt19937 random_;
};

std::string selector(const std::string& name, const LabelMap& labels) {
  return name + "{" + label_text(Labels(labels.begin(), labels.end())) + "}";
}

// The samples as promtool's input, and what it has to find.
class Comparison {
 public:
  explicit Comparison(const Samples& samples) : samples_(samples) {}

  void run(const std::string& expr, int at_step) {
    const Query query(expr);
    SeriesStore store;
    query.ask_for(store);
    for (int step = 0; step <= at_step; ++step) {
      std::vector<Sample> seen;
      for (const TestSeries& series : samples_.all)
        if (series.values[step]) seen.push_back({series.name, series.labels, *series.values[step]});
      store.add(seen, step * kStep);
    }
    std::string expected;
    for (Element& element : query.evaluate(store, at_step * kStep)) {
      if (std::isnan(element.value)) return;
      const std::string name = element.labels["__name__"];
      element.labels.erase("__name__");
      expected += fmt::format("{}{{\"labels\":{},\"value\":{}}}", expected.empty() ? "" : ",",
                              json::quote(selector(name, element.labels)), number_of(element.value));
    }
    checks_ += fmt::format("{}{{\"expr\":{},\"eval_time\":\"{}s\",\"exp_samples\":[{}]}}", checks_.empty() ? "" : ",",
                           json::quote(expr), at_step * kStep, expected);
    ++count;
  }

  // JSON is YAML. `_` is a sample that is missing; promtool forgets a series only after five minutes without one, the
  // store at once: `stale` says so.
  std::string text() const {
    std::string series_text;
    for (const TestSeries& series : samples_.all) {
      std::string values;
      for (const auto& value : series.values) values += (value ? fmt::format("{:.17g}", *value) : "stale") + " ";
      series_text +=
          fmt::format("{}{{\"series\":{},\"values\":{}}}", series_text.empty() ? "" : ",",
                      json::quote(selector(series.name, LabelMap(series.labels.begin(), series.labels.end()))),
                      json::quote(values));
    }
    return fmt::format(
        "{{\"evaluation_interval\":\"30s\",\"tests\":[{{\"interval\":\"{}s\",\"input_series\":[{}],\"promql_expr_"
        "test\":[{}]}}]}}",
        kStep, series_text, checks_);
  }

  int count = 0;

 private:
  static std::string number_of(double value) {
    return std::isinf(value) ? (value > 0 ? ".inf" : "-.inf") : fmt::format("{:.17g}", value);
  }
  const Samples& samples_;
  std::string checks_;
};

TEST(Query, R30_GivesWhatPrometheusGives) {
  ASSERT_EQ(std::system("command -v promtool >/dev/null"), 0) << "promtool is in Debian's package prometheus";
  std::vector<std::string> exprs{
      "1 + 2 * 3 - 4 / 8",
      "pg_a > 5 or pg_b",
      "pg_a unless pg_b",
      "pg_a and on (instance) pg_b > 1",
      "pg_a / pg_b",
      "max by (instance) (pg_a) - ignoring (datname) sum by (instance) (pg_b)",
      "sum(pg_a) / count(pg_a)",
      "avg by (instance) (pg_a) != 0",
      "pg_a{datname=~\"d[01]\",instance!=\"b\"}",
      "pg_a{datname!~\"d[01]\"}",
      "100 < pg_a",
      "time() - pg_a <= 1000",
      "min by (datname) (increase(pg_a[3m]))",
      "changes(pg_b[10m])",
      "histogram_quantile(0.5, sum by (le) (rate(pg_c_bucket[2m])))",
      "rate(pg_a[1h])",
  };
  for (const Rule& rule : rules())
    if (!rule.needs_prometheus) exprs.emplace_back(rule.expr);
  const std::string file = testing::TempDir() + "query_test_" + std::to_string(getpid()) + ".yml";
  for (unsigned seed = 1; seed <= 5; ++seed) {
    Samples samples(seed);
    std::set<std::string> names;
    for (const std::string& expr : exprs) names.merge(names_in(expr));
    for (const std::string& name : names) samples.add(name);
    Comparison comparison(samples);
    for (const std::string& expr : exprs) comparison.run(expr, samples.number(0, kSteps - 1));
    EXPECT_GT(comparison.count, 30);
    std::ofstream(file) << comparison.text();
    ASSERT_EQ(std::system(("promtool test rules " + file).c_str()), 0) << "seed " << seed;
  }
  std::filesystem::remove(file);
}

TEST(Query, WhatIsNotUnderstoodIsRefused) {
  for (const char* text :
       {"", "pg_a[5m]x", "rate(pg_a)", "rate(pg_a[5m", "topk(1, pg_a)", "pg_a{", "pg_a{b=\"c}", "(pg_a", "pg_a +",
        "pg_a{b~\"c\"}", "pg_a{b=~\"(\"}", "histogram_quantile(pg_a, pg_b)", "pg_a[0s]"})
    EXPECT_THROW(Query{text}, Error) << text;
  EXPECT_THROW(Query(std::string(1000, '(')), Error);
}

TEST(Query, AStoreKeepsOnlyWhatIsLookedBackFor) {
  SeriesStore store;
  Query("rate(pg_a[1m]) > pg_b").ask_for(store);
  for (int i = 0; i < 1000; ++i)
    store.add({{"pg_a", {}, double(i)}, {"pg_b", {{"n", std::to_string(i)}}, 1}, {"pg_c", {}, 1}}, i);
  EXPECT_EQ(store.find("pg_a")->begin()->second.points.size(), 61u);
  EXPECT_EQ(store.find("pg_b")->size(), 1u);
  EXPECT_EQ(store.find("pg_c"), nullptr);
}

}  // namespace
}  // namespace cairn::monitor
