// A query's tree: between its reader and its evaluation.
#pragma once

#include <optional>
#include <regex>

#include "monitor/query.h"

namespace cairn::monitor {

struct Matcher {
  std::string label;
  std::string op;  // = != =~ !~
  std::string value;
  std::regex pattern;  // of =~ and !~

  bool matches(const LabelMap& labels) const;
};

struct Query::Node {
  enum class Kind { kNumber, kTime, kSelector, kFunction, kAggregate, kBinary };
  Kind kind = Kind::kNumber;
  double number = 0;
  std::string name;  // of the metric, the function, the aggregation, the operator
  std::vector<Matcher> matchers;
  double range = 0;  // of a selector, in seconds; 0: an instant
  // Labels of by(), on(), ignoring().
  std::vector<std::string> labels;
  bool on = false;        // a binary operator with on()
  bool ignoring = false;  // or ignoring()
  std::vector<std::unique_ptr<Node>> children;
};

// Throws Error(kInvalidParameterValue).
std::unique_ptr<Query::Node> parse_query(std::string_view text, double scale);

}  // namespace cairn::monitor
