// The part of PromQL that the rules are written in, evaluated over what the server has sampled of itself.
//
// Selectors with matchers, and with ranges under rate, increase and changes; sum, min, max, avg, count with `by`;
// histogram_quantile; time(); + - * /; comparisons; and, or, unless; on() and ignoring() between two vectors one to
// one. Results are those of Prometheus, which a test compares. Anything else is refused when the text is read.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/exposition.h"

namespace cairn::monitor {

using LabelMap = std::map<std::string, std::string>;

struct Element {
  LabelMap labels;  // the metric's name as __name__, where it has one
  double value = 0;
};
using Vector = std::vector<Element>;

// Samples of the past, for as long as any query looks back. Bounded by the metrics that are asked for.
class SeriesStore {
 public:
  struct Point {
    double time;
    double value;
  };
  struct Series {
    LabelMap labels;
    std::deque<Point> points;
  };

  // From now on series of this name are kept for so many seconds.
  void keep(const std::string& name, double seconds);
  bool wants(std::string_view name) const { return kept_.find(name) != kept_.end(); }
  // What was seen at `time`; a series that is not in it has ended.
  void add(const std::vector<Sample>& samples, double time);
  const std::map<std::string, Series>* find(const std::string& name) const;
  // When was looked last.
  double last_time() const { return last_time_; }

 private:
  struct Kept {
    double seconds = 0;
    std::map<std::string, Series> series;
  };
  std::map<std::string, Kept, std::less<>> kept_;
  double last_time_ = 0;
};

class Query {
 public:
  // `scale` is what every duration in the text is multiplied by. Throws Error(kInvalidParameterValue) for what is not
  // understood.
  explicit Query(std::string_view text, double scale = 1);
  ~Query();
  Query(Query&&) noexcept;

  // Tells the store what the query reads.
  void ask_for(SeriesStore& store) const;
  // The longest range that it looks back, in seconds.
  double range() const;
  // A scalar is one element without labels.
  Vector evaluate(const SeriesStore& store, double now) const;

  struct Node;

 private:
  std::unique_ptr<Node> root_;
};

}  // namespace cairn::monitor
