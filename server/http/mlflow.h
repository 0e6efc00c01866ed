// What every handler of MLflow's API shares: its two prefixes and its way to pass arguments.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "http/router.h"

namespace cairn::http {

// Serves /api/VERSION/PATH and /ajax-api/VERSION/PATH; `path` begins with a slash, version is 2.0 or 3.0.
void add_mlflow_route(Router& router, const std::string& method, const std::string& path, Handler handler,
                      RouteOptions options = {}, const std::string& version = "2.0");

// The arguments of a request: the JSON object in its body, or, for GET and where there is no body, the query's.
// Read them before the first co_await; the request must outlive this.
class Arguments {
 public:
  explicit Arguments(const Request& request);
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  const json::Fields* operator->() const { return &*fields_; }
  const json::Fields& operator*() const { return *fields_; }

 private:
  std::optional<json::Document> document_;
  std::optional<json::Fields> fields_;
};

}  // namespace cairn::http
