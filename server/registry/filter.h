// MLflow's filter grammar for the registry, compiled to an SQL condition with parameters.
//
//   or     = and (OR and)*          clause = key OP value | key [NOT] IN (list) | key IS [NOT] NULL
//   and    = factor (AND factor)*   key    = [attribute.|tag.|tags.]name, the name in backticks or double quotes if odd
//   factor = ( or ) | clause
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "db/statement.h"

namespace cairn::registry {

struct Attribute {
  std::string_view key;
  std::string_view column;
  bool numeric = false;
  bool lists = false;  // may be compared with IN
};

struct FilterTarget {
  std::vector<Attribute> attributes;
  std::string_view tags;        // the jsonb column
  std::string_view is_prompt;   // condition that is true for prompts
  std::string_view valid_keys;  // as MLflow's message has them
};

// Never empty. Leaves prompts out unless the filter asks for their tag.
std::string compile_filter(std::string_view filter, const FilterTarget& target, db::Params& params);

}  // namespace cairn::registry
