// Prometheus' text format: written, and read back.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::monitor {

using Labels = std::vector<std::pair<std::string, std::string>>;

// What stands between the braces. A label without a value is left out: to Prometheus it is the same.
std::string label_text(const Labels& labels);

class Exposition {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help);
  // `labels` as label_text() gives them.
  void sample(std::string_view name, std::string_view labels, double value);
  void gauge(std::string_view name, std::string_view help, double value) { metric(name, "gauge", help, value); }
  void counter(std::string_view name, std::string_view help, double value) { metric(name, "counter", help, value); }
  // `cumulative` has one count more than there are bounds: that of all.
  template <class Bounds, class Counts>
  void histogram(const std::string& name, std::string_view help, const Bounds& bounds, const Counts& cumulative,
                 double sum);
  std::string take() { return std::move(out_); }

 private:
  void metric(std::string_view name, std::string_view type, std::string_view help, double value) {
    family(name, type, help);
    sample(name, "", value);
  }
  std::string out_;
};

// A number as the format has it: the shortest text that reads back equal, or NaN, +Inf, -Inf.
std::string number_text(double value);
// Part of a series' identity: written plainly.
std::string bound_text(double bound);

struct Sample {
  std::string name;
  Labels labels;
  double value = 0;
};

// The samples of `text` whose name is `wanted`. A line that is no sample throws Error(kInvalidParameterValue).
std::vector<Sample> read_exposition(std::string_view text, const std::function<bool(std::string_view)>& wanted);

template <class Bounds, class Counts>
void Exposition::histogram(const std::string& name, std::string_view help, const Bounds& bounds,
                           const Counts& cumulative, double sum) {
  family(name, "histogram", help);
  size_t bucket = 0;
  for (const double bound : bounds)
    sample(name + "_bucket", "le=\"" + bound_text(bound) + "\"", static_cast<double>(cumulative[bucket++]));
  const auto all = static_cast<double>(cumulative[bucket]);
  sample(name + "_bucket", "le=\"+Inf\"", all);
  sample(name + "_sum", "", sum);
  sample(name + "_count", "", all);
}

}  // namespace cairn::monitor
