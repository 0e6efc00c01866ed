// needs: base/error.cpp db/statement.cpp registry/filter.cpp
// The registry's filters: whatever the bytes, they are refused with an Error or become an SQL condition that holds
// nothing of them but parameters.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "registry/filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  static const registry::FilterTarget target{{{"name", "m.model_name", false, true},
                                              {"source_path", "v.source", false, false},
                                              {"version_number", "v.version", true, false}},
                                             "v.tags",
                                             "m.is_prompt",
                                             "{'name'}"};
  db::Params params;
  params.add("of the query around it");
  try {
    const std::string sql =
        registry::compile_filter(std::string_view(reinterpret_cast<const char*>(data), size), target, params);
    fuzz::require(!sql.empty());
    fuzz::require_bound("$1 = '' AND (" + sql + ")", params.size());
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::kInvalidParameterValue);
  }
  return 0;
}
