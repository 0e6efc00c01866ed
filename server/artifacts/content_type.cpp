#include "artifacts/content_type.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace cairn::artifacts {
namespace {

constexpr std::string_view kText[] = {
    "MLmodel", "MLproject", "cf",   "cfg",        "cnf", "conf", "csv", "err",  "hocon", "ini", "ipynb", "js",   "json",
    "log",     "md",        "prop", "properties", "py",  "py3",  "rst", "toml", "tsv",   "txt", "xml",   "yaml", "yml"};

constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
    {"bmp", "image/bmp"},     {"css", "text/css"},          {"gif", "image/gif"},
    {"htm", "text/html"},     {"html", "text/html"},        {"ico", "image/vnd.microsoft.icon"},
    {"jpeg", "image/jpeg"},   {"jpg", "image/jpeg"},        {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},     {"pdf", "application/pdf"},   {"png", "image/png"},
    {"svg", "image/svg+xml"}, {"tar", "application/x-tar"}, {"tif", "image/tiff"},
    {"tiff", "image/tiff"},   {"wav", "audio/x-wav"},       {"webm", "video/webm"},
    {"webp", "image/webp"},   {"zip", "application/zip"},
};

// Characters of RFC 5987's attr-char, which is also a subset of a token.
bool is_plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$&+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

std::string_view content_type(std::string_view file_name) {
  const size_t dot = file_name.rfind('.');
  std::string extension(dot == file_name.npos ? file_name : file_name.substr(dot + 1));
  if (std::find(std::begin(kText), std::end(kText), extension) != std::end(kText)) return "text/plain";
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const auto& [known, type] : kTypes) {
    if (dot != file_name.npos && known == extension) return type;
  }
  return "application/octet-stream";
}

std::string content_disposition(std::string_view file_name) {
  std::string plain;
  std::string encoded;
  bool quoted = false;
  bool ascii = true;
  for (const char c : file_name) {
    const bool printable = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    if (is_plain(c)) {
      encoded += c;
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
      quoted = true;
    }
    if (!printable) ascii = false;
    plain += printable ? c : '_';
  }
  std::string value = "attachment; filename=" + (quoted ? '"' + plain + '"' : plain);
  if (!ascii) value += "; filename*=UTF-8''" + encoded;
  return value;
}

}  // namespace cairn::artifacts
