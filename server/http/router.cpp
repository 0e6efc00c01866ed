#include "http/router.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>

#include "base/json.h"
#include "base/log.h"

namespace cairn::http {

// A node stands for the segments so far. `here` are the routes that end at it, `rest` those whose last capture takes
// all that follows it.
struct Router::Node {
  struct End {
    const Route* route;
    std::vector<std::string> names;  // of its captures, in order
  };
  std::map<std::string, Node, std::less<>> literals;
  std::unique_ptr<Node> capture;
  std::vector<End> here;
  std::vector<End> rest;
};

namespace {

constexpr std::chrono::seconds kFullDiskLogPause{10};

constexpr std::string_view kMethods[] = {"GET",    "HEAD",    "POST",  "PUT",    "PATCH",
                                         "DELETE", "OPTIONS", "TRACE", "CONNECT"};

// Takes the text up to the next slash off the front of `path`, and the slash.
std::string_view take_segment(std::string_view& path) {
  const size_t slash = path.find('/');
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
  return segment;
}

bool is_capture(std::string_view segment) { return segment.starts_with('{') && segment.ends_with('}'); }

template <class NodeType>
class Walk {
 public:
  Walk(std::string_view method, Router::Match& match) : method_(method), match_(match) {}

  // `more` says whether there is a segment left: "/a/" has an empty one after "a".
  bool visit(const NodeType& node, std::string_view path, bool more) {
    if (!more) return finish(node.here);
    const std::string_view all = path;
    const bool more_behind = path.find('/') != path.npos;
    const std::string_view raw = take_segment(path);
    const auto decoded = percent_decode(raw, false);
    if (!decoded) return false;
    if (const auto it = node.literals.find(*decoded); it != node.literals.end()) {
      if (visit(it->second, path, more_behind)) return true;
    }
    if (node.capture && !decoded->empty()) {
      captured_.push_back(raw);
      if (visit(*node.capture, path, more_behind)) return true;
      captured_.pop_back();
    }
    if (node.rest.empty()) return false;
    captured_.push_back(all);
    if (finish(node.rest)) return true;
    captured_.pop_back();
    return false;
  }

  template <class Ends>
  bool finish(const Ends& ends) {
    for (const auto& end : ends) {
      if (end.route->method == method_) {
        match_.route = end.route;
        for (size_t i = 0; i < captured_.size(); ++i) {
          match_.captures[end.names[i]] = percent_decode(captured_[i], false).value_or("");
        }
        return true;
      }
      match_.path_exists = true;
      match_.allow += (match_.allow.empty() ? "" : ", ") + end.route->method;
    }
    return false;
  }

 private:
  std::string_view method_;
  Router::Match& match_;
  std::vector<std::string_view> captured_;
};

}  // namespace

void Router::add(std::string method, std::string pattern, Handler handler, RouteOptions options) {
  if (!pattern.starts_with('/')) throw std::logic_error("a route's pattern begins with a slash: " + pattern);
  routes_.push_back(std::make_unique<Route>(Route{std::move(method), pattern, std::move(handler), options}));
  const Route* route = routes_.back().get();
  if (!root_) root_ = std::make_shared<Node>();
  Node* node = root_.get();
  Node::End end{route, {}};
  std::vector<Node::End>* ends = nullptr;
  std::string_view path = std::string_view(pattern).substr(1);
  for (bool more = true; more;) {
    more = path.find('/') != path.npos;
    const std::string_view segment = take_segment(path);
    if (!is_capture(segment)) {
      node = &node->literals[std::string(segment)];
    } else if (segment.ends_with("...}")) {
      if (more) throw std::logic_error("{name...} must be a pattern's last segment: " + pattern);
      end.names.emplace_back(segment.substr(1, segment.size() - 5));
      ends = &node->rest;
    } else {
      end.names.emplace_back(segment.substr(1, segment.size() - 2));
      if (!node->capture) node->capture = std::make_unique<Node>();
      node = node->capture.get();
    }
  }
  if (ends == nullptr) ends = &node->here;
  for (const Node::End& other : *ends) {
    if (other.route->method == route->method) throw std::logic_error("two routes for " + route->method + " " + pattern);
  }
  ends->push_back(std::move(end));
}

Router::Match Router::match(std::string_view method, std::string_view raw_path) const {
  Match match;
  if (!root_ || !raw_path.starts_with('/')) return match;
  raw_path.remove_prefix(1);
  Walk<Node>(method, match).visit(*root_, raw_path, true);
  if (!match.route && method == "HEAD") {
    Match get;
    if (Walk<Node>("GET", get).visit(*root_, raw_path, true)) return get;
  }
  return match;
}

const Route& require_route(const Router::Match& match, std::string_view method, std::string_view path) {
  if (match.route) return *match.route;
  if (std::find(std::begin(kMethods), std::end(kMethods), method) == std::end(kMethods)) {
    throw Error(ErrorCode::kNotImplemented, "Unknown method " + std::string(method));
  }
  if (match.path_exists) {
    throw Error(ErrorCode::kMethodNotAllowed,
                "Method " + std::string(method) + " is not served at " + std::string(path) + ", only " + match.allow);
  }
  throw Error(ErrorCode::kEndpointNotFound, "Nothing is served at " + std::string(path));
}

Response error_response(ErrorCode code, std::string_view message) {
  Response response;
  response.status = http_status(code);
  json::Writer writer(response.body);
  writer.begin_object();
  writer.field("error_code", error_name(code));
  writer.field("message", message);
  writer.end_object();
  if (response.status == 429 || response.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"cairn\"");
  return response;
}

void log_failure(const Request& request, ErrorCode code, std::string_view what) {
  if (code == ErrorCode::kInsufficientStorage) {
    // Every write fails for the same reason, and the log may be on the same disk.
    static auto next = std::chrono::steady_clock::time_point::min();
    const auto now = std::chrono::steady_clock::now();
    if (now < next) return;
    next = now + kFullDiskLogPause;
  } else if (code != ErrorCode::kInternalError) {
    return;
  }
  // Without the query, which may hold secrets.
  log::event(spdlog::level::err, what,
             {{"method", request.method},
              {"path", std::string_view(request.raw_target).substr(0, request.raw_target.find('?'))},
              {"request_id", request.request_id},
              {"traceparent", request.traceparent}});
}

task<Response> dispatch(const Route& route, Request& request) {
  try {
    task<Response> work = route.handler(request);
    co_return co_await work;
  } catch (const Error& e) {
    log_failure(request, e.code(), e.what());
    co_return error_response(e.code(), e.what());
  } catch (const std::exception& e) {
    log_failure(request, ErrorCode::kInternalError, e.what());
  } catch (...) {
    log_failure(request, ErrorCode::kInternalError, "unknown exception");
  }
  co_return error_response(ErrorCode::kInternalError,
                           "Internal error: the server's log says more under request id " + request.request_id);
}

}  // namespace cairn::http
