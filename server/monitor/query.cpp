#include "monitor/query.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "base/error.h"
#include "monitor/query_node.h"

namespace cairn::monitor {
namespace {

using Node = Query::Node;
using Kind = Node::Kind;
using Points = std::vector<SeriesStore::Point>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool is_scalar(const Node& node) {
  if (node.kind == Kind::kNumber || node.kind == Kind::kTime) return true;
  return node.kind == Kind::kBinary && is_scalar(*node.children[0]) && is_scalar(*node.children[1]);
}

bool is_comparison(const std::string& op) {
  return op == "==" || op == "!=" || op.starts_with('<') || op.starts_with('>');
}

bool compare(const std::string& op, double a, double b) {
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == ">") return a > b;
  if (op == "<") return a < b;
  if (op == ">=") return a >= b;
  return a <= b;
}

double calculate(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  return a / b;
}

// How much a counter rose within the window, divided by `seconds`, as far as its samples reach towards both ends of it:
// where the first or last is near the end (within a little more than the usual distance), the rise is taken to go on to
// it; else for half a distance. It cannot have risen from below zero. In Prometheus' order of operations.
std::optional<double> rise(const Points& points, double begin, double end, double seconds) {
  if (points.size() < 2) return std::nullopt;
  double risen = points.back().value - points.front().value;
  for (size_t i = 1; i < points.size(); ++i)
    if (points[i].value < points[i - 1].value) risen += points[i - 1].value;
  const double sampled = points.back().time - points.front().time;
  const double distance = sampled / static_cast<double>(points.size() - 1);
  double before = points.front().time - begin;
  if (risen > 0 && points.front().value >= 0) before = std::min(before, sampled * points.front().value / risen);
  const double after = end - points.back().time;
  const auto reach = [distance](double gap) { return gap < distance * 1.1 ? gap : distance / 2; };
  return risen * ((sampled + reach(before) + reach(after)) / sampled / seconds);
}

double changes(const Points& points) {
  double count = 0;
  for (size_t i = 1; i < points.size(); ++i) count += points[i].value != points[i - 1].value;
  return count;
}

// `buckets`: upper bound to cumulative count.
double quantile(double q, std::map<double, double> buckets) {
  if (buckets.size() < 2 || !std::isinf(buckets.rbegin()->first)) return kNaN;
  double most = 0;
  for (auto& [bound, count] : buckets) count = most = std::max(most, count);
  if (!(most > 0)) return kNaN;
  const double rank = q * most;
  const auto last = std::prev(buckets.end());
  const auto found = std::find_if(buckets.begin(), last, [rank](const auto& bucket) { return bucket.second >= rank; });
  if (found == last) return std::prev(last)->first;
  if (found == buckets.begin() && found->first <= 0) return found->first;
  const double low = found == buckets.begin() ? 0 : std::prev(found)->first;
  const double below = found == buckets.begin() ? 0 : std::prev(found)->second;
  return low + (found->first - low) * (rank - below) / (found->second - below);
}

class Evaluation {
 public:
  Evaluation(const SeriesStore& store, double now) : store_(store), now_(now) {}

  Vector run(const Node& node) const {
    switch (node.kind) {
      case Kind::kNumber:
        return {{{}, node.number}};
      case Kind::kTime:
        return {{{}, now_}};
      case Kind::kSelector:
        return instant(node);
      case Kind::kFunction:
        return node.name == "histogram_quantile" ? histogram_quantile(node) : over_range(node);
      case Kind::kAggregate:
        return aggregate(node);
      case Kind::kBinary:
        return binary(node);
    }
    return {};
  }

 private:
  template <class F>
  void each(const Node& selector, F&& use) const {
    const auto* all = store_.find(selector.name);
    if (all == nullptr) return;
    for (const auto& [text, series] : *all) {
      const auto fits = [&](const Matcher& matcher) { return matcher.matches(series.labels); };
      if (std::all_of(selector.matchers.begin(), selector.matchers.end(), fits)) use(series);
    }
  }

  Vector instant(const Node& node) const {
    Vector result;
    each(node, [&](const SeriesStore::Series& series) {
      if (series.points.empty() || series.points.back().time != store_.last_time()) return;
      result.push_back({series.labels, series.points.back().value});
      result.back().labels["__name__"] = node.name;
    });
    return result;
  }

  Vector over_range(const Node& node) const {
    const Node& selector = *node.children[0];
    Vector result;
    each(selector, [&](const SeriesStore::Series& series) {
      Points points;
      for (const auto& point : series.points)
        if (point.time >= now_ - selector.range && point.time <= now_) points.push_back(point);
      if (points.empty()) return;
      if (node.name == "changes") {
        result.push_back({series.labels, changes(points)});
      } else {
        const double seconds = node.name == "rate" ? selector.range : 1;
        if (const auto risen = rise(points, now_ - selector.range, now_, seconds))
          result.push_back({series.labels, *risen});
      }
    });
    return result;
  }

  Vector histogram_quantile(const Node& node) const {
    std::map<LabelMap, std::map<double, double>> histograms;
    for (Element& element : run(*node.children[1])) {
      const auto bound = element.labels.find("le");
      if (bound == element.labels.end()) continue;
      const double upper =
          bound->second == "+Inf" ? std::numeric_limits<double>::infinity() : std::atof(bound->second.c_str());
      element.labels.erase(bound);
      element.labels.erase("__name__");
      histograms[element.labels][upper] += element.value;
    }
    Vector result;
    for (const auto& [labels, buckets] : histograms)
      result.push_back({labels, quantile(node.children[0]->number, buckets)});
    return result;
  }

  Vector aggregate(const Node& node) const {
    struct Group {
      double sum = 0, count = 0;
      double min = std::numeric_limits<double>::infinity(), max = -std::numeric_limits<double>::infinity();
    };
    std::map<LabelMap, Group> groups;
    for (const Element& element : run(*node.children[0])) {
      Group& group = groups[kept(element.labels, node.labels)];
      group.sum += element.value;
      ++group.count;
      group.min = std::min(group.min, element.value);
      group.max = std::max(group.max, element.value);
    }
    Vector result;
    for (const auto& [labels, group] : groups) {
      const double value = node.name == "sum"     ? group.sum
                           : node.name == "count" ? group.count
                           : node.name == "min"   ? group.min
                           : node.name == "max"   ? group.max
                                                  : group.sum / group.count;
      result.push_back({labels, value});
    }
    return result;
  }

  static LabelMap kept(const LabelMap& labels, const std::vector<std::string>& names) {
    LabelMap result;
    for (const std::string& name : names)
      if (const auto found = labels.find(name); found != labels.end()) result.insert(*found);
    return result;
  }
  // What has to be equal for two elements to meet.
  static LabelMap key(const Node& node, LabelMap labels) {
    if (node.on) return kept(labels, node.labels);
    labels.erase("__name__");
    for (const std::string& name : node.labels) labels.erase(name);
    return labels;
  }

  Vector binary(const Node& node) const {
    const Vector left = run(*node.children[0]), right = run(*node.children[1]);
    if (node.name == "and" || node.name == "unless" || node.name == "or") return sets(node, left, right);
    const bool scalar_left = is_scalar(*node.children[0]), scalar_right = is_scalar(*node.children[1]);
    Vector result;
    if (scalar_left || scalar_right) {
      for (const Element& element : scalar_left && !scalar_right ? right : left) {
        const double a = scalar_left ? left.at(0).value : element.value;
        const double b = scalar_right ? right.at(0).value : element.value;
        combine(node, element, {a, b}, result);
      }
      return result;
    }
    std::map<LabelMap, double> others;
    for (const Element& element : right) others.emplace(key(node, element.labels), element.value);
    for (const Element& element : left) {
      const LabelMap meets = key(node, element.labels);
      const auto other = others.find(meets);
      if (other == others.end()) continue;
      combine(node, {node.on || node.ignoring ? meets : element.labels, element.value}, {element.value, other->second},
              result);
    }
    return result;
  }

  // A comparison lets its left side through, or, where that is a number, the other.
  static void combine(const Node& node, const Element& element, std::pair<double, double> sides, Vector& result) {
    if (is_comparison(node.name)) {
      if (compare(node.name, sides.first, sides.second)) result.push_back(element);
      return;
    }
    Element combined = element;
    combined.labels.erase("__name__");
    combined.value = calculate(node.name, sides.first, sides.second);
    result.push_back(std::move(combined));
  }

  static Vector sets(const Node& node, const Vector& left, const Vector& right) {
    std::set<LabelMap> there;
    for (const Element& element : node.name == "or" ? left : right) there.insert(key(node, element.labels));
    Vector result;
    if (node.name == "or") result = left;
    for (const Element& element : node.name == "or" ? right : left)
      if (there.contains(key(node, element.labels)) == (node.name == "and")) result.push_back(element);
    return result;
  }

  const SeriesStore& store_;
  double now_;
};

void each_selector(const Node& node, const std::function<void(const Node&)>& use) {
  if (node.kind == Kind::kSelector) use(node);
  for (const auto& child : node.children) each_selector(*child, use);
}

}  // namespace

void SeriesStore::keep(const std::string& name, double seconds) {
  double& kept = kept_[name].seconds;
  kept = std::max(kept, seconds);
}

void SeriesStore::add(const std::vector<Sample>& samples, double time) {
  last_time_ = time;
  for (const Sample& sample : samples) {
    const auto kept = kept_.find(sample.name);
    if (kept == kept_.end()) continue;
    Series& series = kept->second.series[label_text(sample.labels)];
    if (series.points.empty())
      for (const auto& [name, value] : sample.labels) series.labels[name] = value;
    series.points.push_back({time, sample.value});
  }
  for (auto& [name, kept] : kept_) {
    for (auto series = kept.series.begin(); series != kept.series.end();) {
      auto& points = series->second.points;
      while (!points.empty() && points.front().time < time - kept.seconds) points.pop_front();
      series = points.empty() ? kept.series.erase(series) : std::next(series);
    }
  }
}

const std::map<std::string, SeriesStore::Series>* SeriesStore::find(const std::string& name) const {
  const auto kept = kept_.find(name);
  return kept == kept_.end() ? nullptr : &kept->second.series;
}

Query::Query(std::string_view text, double scale) : root_(parse_query(text, scale)) {}
Query::~Query() = default;
Query::Query(Query&&) noexcept = default;

void Query::ask_for(SeriesStore& store) const {
  each_selector(*root_, [&](const Node& selector) { store.keep(selector.name, selector.range); });
}

double Query::range() const {
  double longest = 0;
  each_selector(*root_, [&](const Node& selector) { longest = std::max(longest, selector.range); });
  return longest;
}

Vector Query::evaluate(const SeriesStore& store, double now) const { return Evaluation(store, now).run(*root_); }

}  // namespace cairn::monitor
