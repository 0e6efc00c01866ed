// Routes: method and pattern to handler. Matching is by path segments; `{name}` captures one segment that is not empty,
// `{name...}` as the last one captures the rest, slashes and all, which may be nothing behind the last slash. Literal
// segments win over captures.
//
// A handler throws Error for what goes wrong: dispatch() turns it into the body that MLflow's clients expect
// ({"error_code", "message"}), an unknown route into 404 ENDPOINT_NOT_FOUND, a wrong method into 405, and anything else
// that is thrown into 500 with the details in the log only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/message.h"

namespace cairn::http {

using Handler = std::function<task<Response>(Request&)>;

struct RouteOptions {
  // The handler reads Request::stream; else the whole body is read first, up to max_body.
  bool streaming = false;
  uint64_t max_body = 8u << 20;
  // Served without credentials (health, version).
  bool open = false;
  // Served however many requests are under way, as are open ones: for who looks at a busy server.
  bool always = false;
};

struct Route {
  std::string method;
  std::string pattern;
  Handler handler;
  RouteOptions options;
};

class Router {
 public:
  void add(std::string method, std::string pattern, Handler handler, RouteOptions options = {});

  struct Match {
    const Route* route = nullptr;  // nullptr: no such route
    bool path_exists = false;      // another method is served at this path
    std::string allow;             // then: the methods that are, as the field Allow lists them
    std::map<std::string, std::string, std::less<>> captures;
  };
  // `raw_path` is the undecoded path: segments are split first and decoded then, so %2F never separates.
  // HEAD is answered by GET's route where it has none of its own.
  Match match(std::string_view method, std::string_view raw_path) const;

  // For the OpenAPI test and `--help`-like listings.
  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }

 private:
  struct Node;
  std::vector<std::unique_ptr<Route>> routes_;
  std::shared_ptr<Node> root_;  // null until the first add()
};

// The route that was matched, or throws the Error that says why there is none: 404, 405 or, for an unknown method, 501.
const Route& require_route(const Router::Match& match, std::string_view method, std::string_view path);

// The error as MLflow's clients expect it; 429 and 503 carry Retry-After, 401 WWW-Authenticate.
Response error_response(ErrorCode code, std::string_view message);
// Logs, with the request's ids, what the server's operator should know: an internal error, a full disk.
void log_failure(const Request& request, ErrorCode code, std::string_view what);
// Runs the route's handler and turns what it throws into a response.
task<Response> dispatch(const Route& route, Request& request);

}  // namespace cairn::http
