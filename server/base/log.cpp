#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <chrono>
#include <regex>

#include "base/error.h"
#include "base/json.h"

namespace cairn::log {
namespace {

// One JSON object a line: {"time", "level", "message"}.
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    std::string line;
    json::Writer writer(line);
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(message.time.time_since_epoch()).count();
    const std::time_t seconds = micros / 1000000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char when[64];
    const size_t length = std::strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    writer.begin_object();
    writer.field("time", fmt::format("{}.{:06}Z", std::string_view(when, length), micros % 1000000));
    const auto level = spdlog::level::to_string_view(message.level);
    writer.field("level", std::string_view(level.data(), level.size()));
    writer.field("message", std::string_view(message.payload.data(), message.payload.size()));
    writer.end_object();
    line += '\n';
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

void configure(Format format, const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    throw invalid("unknown log level '" + level + "': use trace, debug, info, warn or error");
  }
  auto logger = spdlog::get("cairn");
  if (!logger) logger = spdlog::stderr_color_mt("cairn");
  if (format == Format::kJson) {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  }
  logger->set_level(parsed);
  spdlog::set_default_logger(logger);
}

std::string redact_url(std::string_view connection_string) {
  static const std::regex uri(R"(^([a-z]+://[^:/@]*):[^@]*@)");
  static const std::regex keyword(R"((password\s*=\s*)('(\\.|[^'])*'|\S+))", std::regex::icase);
  std::string text(connection_string);
  text = std::regex_replace(text, uri, "$1:***@");
  // Also the form ?password=... of a URL, which ends at the next '&'.
  static const std::regex argument(R"(([?&]password=)[^&]*)", std::regex::icase);
  text = std::regex_replace(text, argument, "$1***");
  return std::regex_replace(text, keyword, "$1***");
}

}  // namespace cairn::log
