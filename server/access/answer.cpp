#include "access/answer.h"

#include "base/json.h"

namespace cairn::access {
namespace {

using simdjson::dom::element;

// At "info.id" in an item; a number as its digits.
std::string name_at(element item, std::string_view path) {
  while (!path.empty()) {
    const size_t dot = path.find('.');
    element next;
    if (item[path.substr(0, dot)].get(next)) return "";
    item = next;
    path = dot == path.npos ? "" : path.substr(dot + 1);
  }
  std::string_view text;
  return item.get(text) ? simdjson::minify(item) : std::string(text);
}

}  // namespace

void leave_out_unreadable(std::string& body, std::string_view where, const http::Permissions& permissions) {
  const size_t dot = where.find('.');
  const std::string_view list = where.substr(0, dot), path = where.substr(dot + 1);
  const json::Document document(body);
  simdjson::dom::object root;
  if (document.root().get(root)) return;
  std::string kept;
  json::Writer writer(kept);
  writer.begin_object();
  for (const auto [key, value] : root) {
    writer.key(key);
    simdjson::dom::array items;
    if (key != list || value.get(items)) {
      writer.raw(simdjson::minify(value));
      continue;
    }
    writer.begin_array();
    for (const element item : items)
      if (permissions.find(name_at(item, path)) != http::Permission::kNone) writer.raw(simdjson::minify(item));
    writer.end_array();
  }
  writer.end_object();
  body = std::move(kept);
}

}  // namespace cairn::access
