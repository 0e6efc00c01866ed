#include "registry/validate.h"

#include <algorithm>
#include <cctype>

namespace cairn::registry {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Letters beyond ASCII count as letters.
bool is_word(unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c >= 0x80; }
bool is_digit(unsigned char c) { return std::isdigit(c) != 0; }

void check_length(const std::string& text, const std::string& what, size_t max) {
  const auto continues = [](unsigned char c) { return (c & 0xC0) == 0x80; };
  if (text.size() - std::ranges::count_if(text, continues) > max)
    throw invalid("'" + what + "' exceeds the maximum length of " + std::to_string(max) + " characters");
}

void check_resolves_to_itself(const std::string& value, const std::string& parameter) {
  std::string resolved;
  if (value == "." || value == "..")
    resolved = value;
  else if (value.starts_with('/') || value.ends_with('/') || value.find("//") != std::string::npos ||
           ("/" + value + "/").find("/./") != std::string::npos ||
           ("/" + value + "/").find("/../") != std::string::npos)
    resolved = "another path";
  else
    return;
  throw invalid("Invalid value \"" + value + "\" for parameter '" + parameter +
                "' supplied: Names may be treated as files in certain cases, and must not resolve to other names when "
                "treated as such. This name would resolve to '" +
                resolved + "'");
}

}  // namespace

void check_model_name(const std::string& name) {
  if (std::ranges::all_of(name, [](unsigned char c) { return std::isspace(c) != 0; }))
    throw invalid("Missing value for required parameter 'name'.");
  if (name.find_first_of("/:") != std::string::npos)
    throw invalid("Invalid model name '" + name + "'. Names cannot contain '/' or ':'.");
  check_resolves_to_itself(name, "name");
  check_length(name, "name", 256);
}

void check_description(const std::string& description) { check_length(description, "description", 5000); }

void check_tag(const Tag& tag, size_t max_value) {
  const auto allowed = [](unsigned char c) {
    return is_word(c) || std::string_view("/.- :").find(c) != std::string_view::npos;
  };
  if (!std::ranges::all_of(tag.key, allowed))
    throw invalid("Invalid value \"" + tag.key +
                  "\" for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), "
                  "periods (.), spaces ( ), colon(:) and slashes (/).");
  check_resolves_to_itself(tag.key, "key");
  check_length(tag.key, "key", 250);
  check_length(tag.value, "value", kMaxVersionTagValue);
  check_length(tag.value, "value", max_value);
}

void check_alias(const std::string& alias) {
  if (!std::ranges::all_of(alias, [](unsigned char c) { return is_word(c) || c == '-'; }))
    throw invalid("Invalid alias name: '" + alias +
                  "'. Names may only contain alphanumerics, underscores (_), and dashes (-).");
  check_length(alias, "Registered model alias name", 255);
  const std::string name = lower(alias);
  if (name == "latest") throw invalid("'latest' alias name (case insensitive) is reserved.");
  if (name.size() > 1 && name[0] == 'v' && std::all_of(name.begin() + 1, name.end(), is_digit))
    throw invalid("Version alias name '" + alias + "' is reserved.");
}

void check_version(const std::string& version) {
  const size_t sign = version.starts_with('-') ? 1 : 0;
  if (version.size() == sign ||
      !std::all_of(version.begin() + static_cast<std::ptrdiff_t>(sign), version.end(), is_digit))
    throw invalid("Parameter 'version' must be an integer, got '" + version + "'.");
}

std::string check_stage(const std::string& stage) {
  for (const char* known : {"None", "Staging", "Production", "Archived"})
    if (lower(stage) == lower(known)) return known;
  throw invalid("Invalid Model Version stage: " + stage +
                ". Value must be one of None, Staging, Production, Archived.");
}

}  // namespace cairn::registry
