// needs: base/error.cpp base/json.cpp base/bytes.cpp
// needs: features/protobuf.cpp features/feast_registry.cpp features/types.cpp
// A registry of any bytes: a declaration in JSON, or a refusal.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/fuzz.h"
#include "base/json.h"
#include "features/feast_registry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn::features;
  ImportedRegistry imported;
  try {
    imported = declaration_of({reinterpret_cast<const char*>(data), size}, "");
  } catch (const cairn::Error& error) {
    cairn::fuzz::require(error.code() == cairn::ErrorCode::kInvalidParameterValue);
    return 0;
  }
  const cairn::json::Document document(imported.declaration);
  for (const char* list : {"entities", "feature_views", "feature_services"})
    cairn::fuzz::require(document.root()[list].is_array());
  return 0;
}
