// A bar chart as SVG: what statements took before and after.
#pragma once

#include <string>
#include <vector>

namespace cairn::tuner {

struct ChartBar {
  std::string label = {};
  double before_ms = 0;
  double after_ms = 0;
};

// Two bars for each, on a logarithmic scale, for a good change is one of orders of magnitude. Labels may hold any text.
std::string bar_chart(const std::string& title, const std::vector<ChartBar>& bars);

}  // namespace cairn::tuner
