// For this module's tests with a database: its whole schema, and its routes without sockets.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/reactor.h"
#include "schema/testing.h"
#include "tracking/api.h"

namespace cairn::tracking {

class ApiTest : public testing::Test {
 protected:
  ApiTest() : pool_(options()) { tracking_ = std::make_unique<Tracking>(router_, pool_); }

  // The answer's body; of a refusal its status before it.
  task<std::string> ask(std::string method, std::string target, std::string body = "") {
    const size_t query = target.find('?');
    http::Request request;
    request.method = method;
    request.raw_target = target;
    if (query != target.npos) request.query = *http::parse_query(target.substr(query + 1));
    request.headers = {{"content-type", "application/json"}};
    request.body = body;
    http::Router::Match match = router_.match(method, "/api/2.0/mlflow/" + target.substr(0, query));
    const http::Route& route = http::require_route(match, method, target);
    request.captures = std::move(match.captures);
    const http::Response response = co_await http::dispatch(route, request);
    co_return (response.status == 200 ? "" : std::to_string(response.status) + " ") + response.body;
  }
  std::string call(const std::string& method, const std::string& target, const std::string& body = "") {
    return reactor_.block_on(ask(method, target, body));
  }
  std::string post(const std::string& target, const std::string& body) { return call("POST", target, body); }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  db::Pool pool_;
  http::Router router_;
  std::unique_ptr<Tracking> tracking_;

 private:
  db::PoolOptions options() const {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 2;
    return options;
  }
};

}  // namespace cairn::tracking
