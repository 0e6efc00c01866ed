// The process's log: spdlog behind one call to set it up. Lines go to standard error, as text or as one JSON object a
// line. Never log a secret: passwords, tokens, Authorization headers, the password part of a database URL (see
// redact_url).
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace cairn::log {

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
