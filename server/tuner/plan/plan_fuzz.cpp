// needs: base/error.cpp base/json.cpp db/statement.cpp tuner/catalog/index_definition.cpp
// needs: tuner/plan/plan.cpp tuner/plan/plan_conditions.cpp tuner/plan/findings.cpp tuner/plan/scan_rules.cpp
// needs: tuner/plan/memory_rules.cpp tuner/plan/join_rules.cpp tuner/plan/estimate_rules.cpp
// needs: tuner/plan/statement_rules.cpp
//
// Plans of any shape: refused with an Error, or read and judged; the own times and shares stay within the whole.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "tuner/plan/findings.h"
#include "tuner/plan/plan_conditions.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const tuner::Condition& condition : tuner::read_conditions(text, "t"))
    fuzz::require(condition.text.size() <= text.size());
  try {
    const tuner::Plan plan = tuner::parse_plan(text);
    for (const tuner::PlanNode* node : tuner::plan_nodes(plan)) {
      fuzz::require(node->own_ms >= 0 && node->share_percent >= 0 && node->share_percent <= 100);
      fuzz::require(!std::isnan(node->total_ms));
    }
    for (const tuner::Finding& finding : tuner::find_problems(plan, {})) fuzz::require(!finding.kind.empty());
  } catch (const Error& error) {
    fuzz::require(http_status(error.code()) == 400);
  }
  return 0;
}
