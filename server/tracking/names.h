// The rules for keys and values that MLflow's clients rely on, and the names that runs get.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn::tracking {

constexpr size_t kMaxKeyLength = 250;
constexpr size_t kMaxParamLength = 6000;
constexpr size_t kMaxRunTagLength = 8000;
constexpr size_t kMaxExperimentTagLength = 20000;
constexpr size_t kMaxExperimentNameLength = 500;

// Characters (code points), which is what MLflow counts.
size_t character_count(std::string_view utf8);
// The first `limit` characters: MLflow's server cuts a value that is too long.
std::string truncated(std::string_view utf8, size_t limit);

// Throws Error(kInvalidParameterValue) unless the key of a metric, param or tag is at most 250 characters of letters,
// digits and _-./ :, and is a relative path that normalises to itself. `parameter` is how the message names it, and
// `length_name` where it is too long.
void check_key(std::string_view key, std::string_view parameter = "key", std::string_view length_name = "key");
// Throws Error(kInvalidParameterValue) with MLflow's text when the name is longer than `limit` characters.
void check_length(std::string_view value, std::string_view parameter, size_t limit);

// 32 hex digits, as MLflow's.
std::string new_run_id();
// adjective-noun-number
std::string random_run_name();

}  // namespace cairn::tracking
