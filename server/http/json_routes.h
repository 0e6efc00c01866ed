// Routes whose action gives the text of a JSON answer: a table of them instead of a handler each.
#pragma once

#include <charconv>
#include <string>

#include "base/error.h"
#include "http/router.h"

namespace cairn::http {

// Context is what the actions work on (a db::Pool); it must outlive the router.
template <class Context>
struct JsonRoute {
  const char* method;
  const char* path;
  task<std::string> (*action)(Context&, Request&);

  Handler handler(Context& context) const {
    return [&context, action = action](Request& request) -> task<Response> {
      co_return json_response(co_await action(context, request));
    };
  }
};

// The integer that the path has for {id}, or another name. Throws Error(kInvalidParameterValue) when it is none.
inline int64_t path_id(const Request& request, const std::string& name = "id") {
  const std::string& text = request.captures.find(name)->second;
  int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size())
    throw invalid("The " + name + " in the path must be an integer, got '" + text + "'.");
  return id;
}

}  // namespace cairn::http
