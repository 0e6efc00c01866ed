// Which alerts fire: the rules' state over time, without a database.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "monitor/query.h"
#include "monitor/rules.h"

namespace cairn::monitor {

struct Alert {
  const Rule* rule = nullptr;
  LabelMap labels;  // of the series, without the metric's name
  double value = 0;
  double since = 0;  // when its condition came true
  std::string description() const;
};

// `{{ $labels.NAME }}` and `{{ $value | humanize }}` filled in.
std::string expand(const std::string& text, const LabelMap& labels, double value);

class AlertBook {
 public:
  // Every duration of the rules is multiplied by `scale`.
  explicit AlertBook(double scale = 1);

  bool wants(std::string_view metric) const { return store_.wants(metric); }

  struct Change {
    std::vector<Alert> started;
    std::vector<Alert> ended;
  };
  // Looks at what was scraped at `now`, in seconds.
  Change look(const std::vector<Sample>& samples, double now);
  // An alert that fired when another process stopped: it goes on, unless its condition is seen to be false. Says
  // whether there is such a rule.
  bool resume(const std::string& alert, const LabelMap& labels, double since);

  // The main figures as of the last look, by name.
  std::vector<std::pair<std::string, double>> figures() const;

 private:
  struct Watched {
    const Rule* rule;
    Query query;
    struct State {
      Alert alert;
      bool firing = false;
    };
    std::map<LabelMap, State> states;
  };
  void look(Watched& watched, double now, Change& change);

  double scale_;
  std::vector<Watched> watched_;
  std::vector<std::pair<std::string, Query>> figure_queries_;
  SeriesStore store_;
  std::optional<double> first_look_;
  double last_look_ = 0;
};

}  // namespace cairn::monitor
