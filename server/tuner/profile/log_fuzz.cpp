// needs: base/error.cpp base/bytes.cpp db/statement.cpp tuner/profile/log_entries.cpp
// A server's log of any bytes, in each format: read without harm; what is found is text that may be sent to PostgreSQL.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/fuzz.h"
#include "tuner/profile/log_entries.h"

namespace {

void require_sendable(const std::string& text, size_t size) {
  cairn::fuzz::require(text.size() <= size && text.find('\0') == text.npos);
}

// As the server writes them: what is read is written back to the same.
void require_read_back(std::string_view text) {
  const cairn::tuner::Values values = cairn::tuner::logged_parameters(text);
  std::string written;
  for (size_t i = 0; i < values.size(); ++i) {
    written += (i == 0 ? "$" : ", $") + std::to_string(i + 1) + " = ";
    if (!values[i]) {
      written += "NULL";
      continue;
    }
    written += '\'';
    for (const char c : *values[i]) written += c == '\'' ? "''" : std::string(1, c);
    written += '\'';
  }
  cairn::fuzz::require(values.empty() || written == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn::tuner;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const LogFormat format : {LogFormat::kStderr, LogFormat::kCsv, LogFormat::kJson}) {
    for (const LogEntry& entry : read_log(bytes, {.format = format, .line_prefix = "%m %u@%d ", .database = "shop"})) {
      cairn::fuzz::require(!entry.text.empty());
      require_sendable(entry.text, size);
      require_sendable(entry.plan, size);
      for (const Value& value : entry.parameters) require_sendable(value.value_or(""), size);
    }
  }
  require_read_back(bytes);
  return 0;
}
