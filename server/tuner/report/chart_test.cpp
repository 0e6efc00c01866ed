#include "tuner/report/chart.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

TEST(R21_Chart, HoldsAnyLabelAndAnyTime) {
  const std::string svg = bar_chart("<&>", {{"a \"b\" </text>\x01", 1200, 0.07}, {"nothing", 0, 0}});
  EXPECT_NE(svg.find("&lt;&amp;&gt;"), std::string::npos);
  EXPECT_NE(svg.find("a &quot;b&quot; &lt;/text&gt; </text>"), std::string::npos);
  EXPECT_NE(svg.find("1200 ms"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_NE(bar_chart("", {}).find("</svg>"), std::string::npos);
}

}  // namespace
}  // namespace cairn::tuner
