// The page for people: the files of dashboard/, which are inside the binary.
#include <map>

#include "app/page.h"
#include "base/bytes.h"
#include "base/error.h"
#include "embedded/dashboard.h"

namespace cairn::app {
namespace {

using http::Request;
using http::Response;

constexpr const char* kFirst = "index.html";
constexpr size_t kTagLength = 16;

// Nothing from elsewhere, nothing written into the page, nobody's frame around it. Images of artifacts are blobs.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri "
    "'none'; form-action 'self'; frame-ancestors 'none'";

const char* content_type(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  return "image/svg+xml";
}

// A browser asks again each time, and is told when nothing has changed: a new binary's page is there at once.
Response file_response(const Request& request, const std::string& name) {
  const std::string_view content = embedded_dashboard(name);
  if (content.data() == nullptr) throw not_found("The page has no file '" + name + "'.");
  static std::map<std::string, std::string> tags;
  std::string& tag = tags[name];
  if (tag.empty()) tag = '"' + sha256_hex(content).substr(0, kTagLength) + '"';
  Response response;
  response.content_type = content_type(name);
  response.headers = {{"ETag", tag},
                      {"Cache-Control", "no-cache"},
                      {"Content-Security-Policy", kPolicy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Opener-Policy", "same-origin"}};
  if (request.header("if-none-match") == tag)
    response.status = 304;
  else
    response.body = content;
  return response;
}

}  // namespace

// Open, for they tell nothing: what the page shows it asks for with the user's own credentials.
void register_page(http::Router& router) {
  const http::RouteOptions open{.open = true};
  router.add(
      "GET", "/", [](Request& request) -> task<Response> { co_return file_response(request, kFirst); }, open);
  router.add(
      "GET", "/ui/{file}",
      [](Request& request) -> task<Response> {
        co_return file_response(request, request.captures.find("file")->second);
      },
      open);
}

}  // namespace cairn::app
