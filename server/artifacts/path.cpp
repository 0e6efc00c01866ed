#include <algorithm>

#include "artifacts/api.h"
#include "base/error.h"

namespace cairn::artifacts {
namespace {

constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxDepth = 100;

bool is_plain_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > kMaxNameBytes) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return false;
  }
  return true;
}

}  // namespace

void check_path(std::string_view path) {
  const Error error = invalid("Invalid path");
  if (path.size() > kMaxPathBytes) throw error;
  size_t depth = 0;
  for (std::string_view rest = path;;) {
    const size_t slash = rest.find('/');
    if (!is_plain_name(rest.substr(0, slash)) || ++depth > kMaxDepth) throw error;
    if (slash == rest.npos) break;
    rest.remove_prefix(slash + 1);
  }
  // A path that is harmless here may be unescaped once more by whoever handles it next. Each round is shorter.
  if (path.find('%') == path.npos) return;
  const auto decoded = http::percent_decode(path, false);
  if (decoded && *decoded != path) check_path(*decoded);
}

std::optional<std::string> store_path(const std::string& uri) {
  constexpr std::string_view kScheme = "mlflow-artifacts:";
  if (!uri.starts_with(kScheme)) return std::nullopt;
  std::string path = uri.substr(kScheme.size());
  // With an authority the URI names a server, and we are it.
  if (path.starts_with("//")) path.erase(0, std::min(path.find('/', 2), path.size()));
  path.erase(0, std::min(path.find_first_not_of('/'), path.size()));
  while (path.ends_with('/')) path.pop_back();
  if (!path.empty()) check_path(path);
  return path;
}

}  // namespace cairn::artifacts
