// MLflow's rules for the names, tags and stages of the registry. Each throws Error(kInvalidParameterValue).
#pragma once

#include <string>

#include "registry/store.h"

namespace cairn::registry {

inline constexpr size_t kMaxModelTagValue = 5000;
inline constexpr size_t kMaxVersionTagValue = 100000;  // a prompt's text is a tag

void check_model_name(const std::string& name);
void check_description(const std::string& description);
void check_tag(const Tag& tag, size_t max_value);
void check_alias(const std::string& alias);
void check_version(const std::string& version);
// The stage as it is stored, from any case.
std::string check_stage(const std::string& stage);

}  // namespace cairn::registry
