// Definitions as Feast's registry.db, and Feast's registry as a declaration: bytes and JSON only.
#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>
#include <vector>

namespace cairn::features {

struct RegistryOptions {
  std::string project;  // as feature_store.yaml names it
  int64_t now_s = 0;    // when it was made
};

// What DefinitionStore::as_json() gives, as the bytes of a registry.db.
std::string registry_of(simdjson::dom::element definitions, const RegistryOptions& options);

struct ImportedRegistry {
  std::string declaration;            // what DefinitionStore::apply() takes
  std::vector<std::string> left_out;  // what has no counterpart, each with its reason
};

// `project`: whose objects are taken; may be empty where the registry has one. Throws Error(kInvalidParameterValue)
// for bytes that are no registry.
ImportedRegistry declaration_of(std::string_view registry, const std::string& project);

}  // namespace cairn::features
