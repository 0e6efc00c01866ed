// The alerts: one table, from which Prometheus' rule files are written and which the server itself evaluates.
#pragma once

#include <chrono>
#include <span>
#include <string>

namespace cairn::monitor {

struct Rule {
  const char* group;
  const char* alert;
  const char* expr;  // PromQL, of the part that query.h knows, so that it can be evaluated without Prometheus too
  std::chrono::seconds lasting;  // `for`
  const char* severity;          // critical: somebody has to look now; warning; info
  const char* summary;
  const char* description;        // may have {{ $labels.NAME }} and {{ $value | humanize }}
  bool needs_prometheus = false;  // only it can tell: that a server does not answer
};

std::span<const Rule> rules();

// Of one group, as a rule file for Prometheus.
std::string rule_file(const std::string& group);

}  // namespace cairn::monitor
