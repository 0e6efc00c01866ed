#include "http/mlflow.h"

#include "base/error.h"

namespace cairn::http {
namespace {

// A form that a browser posts across sites without asking is never JSON, so the header must say so.
void check_content_type(const Request& request) {
  const std::string_view header = request.header("content-type");
  if (header.empty()) throw invalid("Bad Request. Content-Type header is missing.");
  std::string_view type = header.substr(0, header.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (type != "application/json") throw invalid("Bad Request. Content-Type must be one of ['application/json'].");
}

}  // namespace

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
  check_content_type(request);
  document_.emplace(request.body);
  fields_.emplace(json::root_fields(*document_));
}

}  // namespace cairn::http
