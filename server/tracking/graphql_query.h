// Reads the GraphQL documents that MLflow's page sends: operations, aliases, arguments, variables, fragments,
// @skip and @include. Pure.
//
// What comes out is the chosen operation as a tree of fields, fragments put in and variables replaced. Depth and size
// are bounded, whatever the fragments say. Types are not looked at: see graphql_schema.h.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace cairn::tracking {

struct GraphqlField {
  std::string alias;  // the name where none is given
  std::string name;
  std::vector<std::pair<std::string, std::string>> arguments;  // values as JSON
  std::vector<GraphqlField> fields;                            // each alias once
  bool has_selection = false;
};

// `variables` may be null. Throws Error(kInvalidParameterValue) with what is wrong and where.
std::vector<GraphqlField> parse_graphql(std::string_view text, std::string_view operation,
                                        const json::Fields* variables);

}  // namespace cairn::tracking
