// The GraphQL types that MLflow's page asks for, laid over the documents of the REST API: a field `runName` of an
// object is the member `run_name` of its document. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tracking/graphql_query.h"

namespace cairn::tracking {

// Throws Error(kInvalidParameterValue) unless every field is one of its object's type. `type` is Query or Mutation's
// common name for both: "Query".
void check_graphql(const std::vector<GraphqlField>& fields, std::string_view type);

// The name of the type of a field of Query.
std::string_view graphql_answer_type(std::string_view field);

// Writes what the fields ask for of an object. What the document leaves out has its type's empty value. What GraphQL
// cannot show becomes null and a line in `errors`.
void write_graphql(json::Writer& writer, const std::vector<GraphqlField>& fields, std::string_view type,
                   simdjson::dom::element document, std::vector<std::string>& errors);

// run_name for runName.
std::string snake_case(std::string_view camel_case);

}  // namespace cairn::tracking
