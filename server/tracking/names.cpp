#include "tracking/names.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

namespace cairn::tracking {
namespace {

bool is_key_character(unsigned char c) {
  // Every byte of a multi-byte character counts as a letter: MLflow's pattern takes Unicode letters.
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '-' || c == '.' || c == ' ' || c == ':' || c == '/';
}

constexpr std::array<std::string_view, 32> kAdjectives{
    "able",   "bold",  "brave", "bright", "calm",  "clever", "crisp",  "eager", "fair",  "fast",  "gentle",
    "glad",   "grand", "happy", "keen",   "kind",  "light",  "lively", "loud",  "lucky", "merry", "neat",
    "nimble", "proud", "quick", "quiet",  "rapid", "sharp",  "silent", "smart", "swift", "warm"};
constexpr std::array<std::string_view, 32> kNouns{"ant",   "bear",  "bird",  "bison", "crane", "crow", "deer",  "dove",
                                                  "duck",  "eagle", "elk",   "fawn",  "finch", "fox",  "goat",  "goose",
                                                  "hare",  "hawk",  "heron", "horse", "lark",  "lynx", "mole",  "moose",
                                                  "otter", "owl",   "panda", "quail", "seal",  "swan", "trout", "wren"};

}  // namespace

size_t character_count(std::string_view utf8) {
  size_t count = 0;
  for (const unsigned char c : utf8) count += (c & 0xC0) != 0x80;
  return count;
}

std::string truncated(std::string_view utf8, size_t limit) {
  size_t count = 0;
  for (size_t i = 0; i < utf8.size(); ++i) {
    if ((static_cast<unsigned char>(utf8[i]) & 0xC0) != 0x80 && ++count > limit) return std::string(utf8.substr(0, i));
  }
  return std::string(utf8);
}

void check_length(std::string_view value, std::string_view parameter, size_t limit) {
  if (value.size() > limit && character_count(value) > limit) {
    throw invalid("'" + std::string(parameter) + "' exceeds the maximum length of " + std::to_string(limit) +
                  " characters");
  }
}

void check_key(std::string_view key, std::string_view parameter, std::string_view length_name) {
  const auto refuse = [&](const std::string& why) {
    throw invalid("Invalid value " + json::quote(key) + " for parameter '" + std::string(parameter) +
                  "' supplied: " + why);
  };
  for (const unsigned char c : key) {
    if (!is_key_character(c)) {
      refuse(
          "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and "
          "slashes (/).");
    }
  }
  check_length(key, length_name, kMaxKeyLength);
  // Most keys are one plain segment, and are their own normal form.
  if (!key.empty() && key.front() != '.' && key.find('/') == key.npos) return;
  std::string normal = key.empty() ? "." : std::filesystem::path(key).lexically_normal().string();
  if (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  if (normal != key || key == "." || key.starts_with("/") || key.starts_with("..")) {
    refuse(
        "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
        "This name would resolve to '" +
        normal + "'");
  }
}

std::string new_run_id() { return to_hex(random_bytes(16)); }

std::string random_run_name() {
  uint64_t value = 0;
  std::memcpy(&value, random_bytes(sizeof value).data(), sizeof value);
  return std::string(kAdjectives[value % kAdjectives.size()]) + "-" +
         std::string(kNouns[(value >> 8) % kNouns.size()]) + "-" + std::to_string((value >> 16) % 1000);
}

}  // namespace cairn::tracking
