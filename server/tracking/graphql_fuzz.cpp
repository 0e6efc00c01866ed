// needs: base/error.cpp base/json.cpp tracking/graphql_query.cpp tracking/graphql_schema.cpp
// Whatever the bytes, a GraphQL document is read or refused with Error, and what was read can be shown.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "tracking/graphql_query.h"
#include "tracking/graphql_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const cairn::json::Document document(R"({"x": {"runId": "r"}, "y": true})");
  static const cairn::json::Fields variables = cairn::json::root_fields(document);
  try {
    const auto fields = cairn::tracking::parse_graphql(text, "", &variables);
    cairn::tracking::check_graphql(fields, "Query");
    std::string out;
    cairn::json::Writer writer(out);
    std::vector<std::string> errors;
    cairn::tracking::write_graphql(writer, fields, "Query", document.root(), errors);
  } catch (const cairn::Error&) {
  }
  return 0;
}
