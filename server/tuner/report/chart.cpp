#include "tuner/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tuner/report/markdown.h"

namespace cairn::tuner {
namespace {

constexpr int kWidth = 820;
constexpr int kLabels = 310;  // their width
constexpr int kValues = 90;   // beside the longest bar
constexpr int kHead = 56;
constexpr int kBar = 14;
constexpr int kRow = 44;
constexpr double kLeastMs = 1e-3;
constexpr const char* kBefore = "#9aa5b1";
constexpr const char* kAfter = "#2f9e6e";

// Control characters other than white space are not allowed in XML, not even escaped.
std::string xml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return escaped;
}

std::string text_at(double x, double y, const std::string& attributes, const std::string& text) {
  return fmt::format(R"(<text x="{:.0f}" y="{:.0f}" {}>{}</text>)", x, y, attributes, xml(text)) + "\n";
}

std::string bar_at(double y, double width, const char* colour, double ms) {
  return fmt::format(R"(<rect x="{}" y="{:.0f}" width="{:.1f}" height="{}" rx="2" fill="{}"/>)", kLabels, y, width,
                     kBar, colour) +
         "\n" + text_at(kLabels + width + 6, y + kBar - 3, "class=\"value\"", in_ms(ms));
}

}  // namespace

std::string bar_chart(const std::string& title, const std::vector<ChartBar>& bars) {
  double least = 1e9, most = kLeastMs;
  for (const ChartBar& bar : bars) {
    least = std::min({least, bar.before_ms, bar.after_ms});
    most = std::max({most, bar.before_ms, bar.after_ms});
  }
  const double low = std::floor(std::log10(std::max(least, kLeastMs)) - 0.01);
  const double high = std::max(low + 1, std::ceil(std::log10(most)));
  const auto width = [&](double ms) {
    return std::max(1.0, (std::log10(std::max(ms, kLeastMs)) - low) / (high - low) * (kWidth - kLabels - kValues));
  };
  const int height = kHead + kRow * static_cast<int>(bars.size()) + 26;
  std::string svg = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">)", kWidth,
      height);
  svg += "\n<!-- Written by `cairn tune report`. -->\n<title>" + xml(title) + "</title>\n";
  svg +=
      "<style>text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:14px}.value,.axis{fill:#57606a;"
      "font-size:11px}</style>\n";
  svg += fmt::format(R"(<rect width="{}" height="{}" fill="#ffffff"/>)", kWidth, height) + "\n";
  svg += text_at(12, 20, "class=\"title\"", title);
  svg += fmt::format(R"(<rect x="12" y="32" width="12" height="10" fill="{}"/>)", kBefore) + "\n" +
         text_at(28, 41, "class=\"value\"", "before") +
         fmt::format(R"(<rect x="80" y="32" width="12" height="10" fill="{}"/>)", kAfter) + "\n" +
         text_at(96, 41, "class=\"value\"", "after; the scale is logarithmic");
  for (double power = low; power <= high; ++power) {
    const double x = kLabels + (power - low) / (high - low) * (kWidth - kLabels - kValues);
    svg += fmt::format(R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="#e6e8eb"/>)", x, kHead - 6,
                       height - 22) +
           "\n" +
           text_at(x, height - 8, "class=\"axis\" text-anchor=\"middle\"", fmt::format("{:g} ms", std::pow(10, power)));
  }
  for (size_t i = 0; i < bars.size(); ++i) {
    const int y = kHead + kRow * static_cast<int>(i);
    svg += text_at(12, y + 19, "", bars[i].label);
    svg += bar_at(y, width(bars[i].before_ms), kBefore, bars[i].before_ms);
    svg += bar_at(y + kBar + 3, width(bars[i].after_ms), kAfter, bars[i].after_ms);
  }
  return svg + "</svg>\n";
}

}  // namespace cairn::tuner
