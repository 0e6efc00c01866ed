#include "http/mlflow.h"

namespace cairn::http {

void add_mlflow_route(Router& router, const std::string& method, const std::string& path, Handler handler,
                      RouteOptions options, const std::string& version) {
  router.add(method, "/api/" + version + path, handler, options);
  router.add(method, "/ajax-api/" + version + path, std::move(handler), options);
}

Arguments::Arguments(const Request& request) {
  if (request.method == "GET" || request.method == "HEAD" || request.body.empty()) {
    fields_.emplace(request.query);
    return;
  }
  document_.emplace(request.body);
  fields_.emplace(json::root_fields(*document_));
}

}  // namespace cairn::http
