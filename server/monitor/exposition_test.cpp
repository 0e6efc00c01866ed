#include "monitor/exposition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace cairn::monitor {
namespace {

bool all(std::string_view) { return true; }

TEST(Exposition, R30_WhatIsWrittenIsReadBack) {
  const Labels labels{{"queue", "a \"b\" \\ c\nd, e}"}, {"empty", ""}, {"n", "1"}};
  Exposition out;
  out.family("jobs", "gauge", "Jobs.");
  out.sample("jobs", label_text(labels), 0.1);
  out.gauge("plain", "No labels.", 1e300);
  out.gauge("not", "None.", std::nan(""));
  out.gauge("infinite", "Endless.", -std::numeric_limits<double>::infinity());
  const std::vector<Sample> samples = read_exposition(out.take(), all);
  ASSERT_EQ(samples.size(), 4u);
  EXPECT_EQ(samples[0].name, "jobs");
  EXPECT_EQ(samples[0].labels, (Labels{labels[0], labels[2]}));
  EXPECT_EQ(samples[0].value, 0.1);
  EXPECT_EQ(samples[1].value, 1e300);
  EXPECT_TRUE(std::isnan(samples[2].value));
  EXPECT_TRUE(std::isinf(samples[3].value) && samples[3].value < 0);
}

TEST(Exposition, NumbersAreAsShortAsTheyCanBeAndCountsAreWhole) {
  EXPECT_EQ(number_text(1000000), "1000000");
  EXPECT_EQ(number_text(-1), "-1");
  EXPECT_EQ(number_text(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(number_text(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(bound_text(0.0005), "0.0005");
}

TEST(Exposition, HistogramsAreCumulativeAndEndAtInfinity) {
  Exposition out;
  const double bounds[] = {0.5, 10};
  const int counts[] = {1, 2, 4};
  out.histogram("took", "Time.", bounds, counts, 99.5);
  EXPECT_EQ(out.take(),
            "# HELP took Time.\n# TYPE took histogram\ntook_bucket{le=\"0.5\"} 1\ntook_bucket{le=\"10\"} 2\n"
            "took_bucket{le=\"+Inf\"} 4\ntook_sum 99.5\ntook_count 4\n");
}

TEST(Exposition, OnlyWhatIsWantedIsReadAndNonsenseIsRefused) {
  EXPECT_EQ(read_exposition("a 1\nb{x=\"\n", [](std::string_view name) { return name == "a"; }).size(), 1u);
  for (const char* text : {"a", "a{", "a{b=\"c\" 1", "a{b=c} 1", "{b=\"c\"} 1", "a x", "a{b=\"c", "a 1x"})
    EXPECT_THROW(read_exposition(text, all), Error) << text;
}

}  // namespace
}  // namespace cairn::monitor
