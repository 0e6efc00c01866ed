// The process's log: spdlog behind one call to set it up. Lines go to standard error, as text or as one JSON object a
// line. Never log a secret: passwords, tokens, Authorization headers, the password part of a database URL (see
// redact_url).
#pragma once

#include <spdlog/spdlog.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace cairn::log {

// A line with values that a program may look for: members of their own in JSON, ` name=value` behind the message in
// text. Empty ones are left out.
struct Field {
  std::string_view name;
  std::variant<std::string_view, int64_t, double> value;
};
void event(spdlog::level::level_enum level, std::string_view message, std::initializer_list<Field> fields);

enum class Format { kText, kJson };

// Level is one of trace, debug, info, warn, error. Throws Error for another. Not thread-safe: call once at start.
void configure(Format format, const std::string& level);

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// The URL or key=value connection string with its password replaced by ***.
std::string redact_url(std::string_view connection_string);

}  // namespace cairn::log
