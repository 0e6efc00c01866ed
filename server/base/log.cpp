#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <chrono>
#include <regex>
#include <span>

#include "base/error.h"
#include "base/json.h"

namespace cairn::log {
namespace {

// Of the line that this thread is writing: a formatter sees nothing but the message. Its sink is not asynchronous.
thread_local std::span<const Field> current_fields;

bool is_empty(const Field& field) {
  const auto* text = std::get_if<std::string_view>(&field.value);
  return text != nullptr && text->empty();
}

// The flag %* of the text form: the fields. What could be taken for the end of a value or of the line is quoted.
class FieldsFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    std::string line;
    for (const Field& field : current_fields) {
      if (is_empty(field)) continue;
      line += fmt::format(" {}=", field.name);
      if (const auto* text = std::get_if<std::string_view>(&field.value)) {
        const auto plain = [](unsigned char c) { return c > ' ' && c != '"' && c != '\\' && c != 0x7F; };
        line += std::all_of(text->begin(), text->end(), plain) ? std::string(*text) : json::quote(*text);
      } else if (const auto* integer = std::get_if<int64_t>(&field.value)) {
        line += std::to_string(*integer);
      } else {
        line += fmt::format("{}", std::get<double>(field.value));
      }
    }
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<FieldsFlag>(); }
};

// One JSON object a line: {"time", "level", "message"} and the fields.
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
    for (const Field& field : current_fields) {
      if (!is_empty(field)) std::visit([&](const auto& value) { writer.field(field.name, value); }, field.value);
    }
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
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<FieldsFlag>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v%*");
    logger->set_formatter(std::move(formatter));
  }
  logger->set_level(parsed);
  spdlog::set_default_logger(logger);
}

void event(spdlog::level::level_enum level, std::string_view message, std::initializer_list<Field> fields) {
  current_fields = {fields.begin(), fields.size()};
  spdlog::log(level, "{}", message);
  current_fields = {};
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
