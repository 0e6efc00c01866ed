#include "app/local_api.h"

#include "registry/api.h"

namespace cairn::app {
namespace {

db::PoolOptions pool_options(const std::string& connection_string) {
  db::PoolOptions options;
  options.connection_string = connection_string;
  options.size = 1;
  options.max_overflow = 1;
  return options;
}

}  // namespace

LocalApi::LocalApi(const std::string& connection_string) : pool_(pool_options(connection_string)) {
  tracking_ = std::make_unique<tracking::Tracking>(router_, pool_);
  registry::register_routes(router_, pool_);
}

std::string LocalApi::get(const std::string& path, const Query& query) {
  http::Request request;
  request.method = "GET";
  request.path = path;
  request.query = query;
  return call(request);
}

std::string LocalApi::post(const std::string& path, const std::string& body) {
  http::Request request;
  request.method = "POST";
  request.path = path;
  request.headers = {{"content-type", "application/json"}};
  request.body = body;
  return call(request);
}

std::string LocalApi::call(http::Request& request) {
  http::Router::Match match = router_.match(request.method, request.path);
  const http::Route& route = http::require_route(match, request.method, request.path);
  request.captures = std::move(match.captures);
  // Not dispatch(): an Error is to reach the command as it is.
  return reactor_.block_on(route.handler(request)).body;
}

}  // namespace cairn::app
