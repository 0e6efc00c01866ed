// The page for people: the files of dashboard/, which are inside the binary.
#include <fmt/format.h>
#include <zlib.h>

#include <map>

#include "app/page.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/version.h"
#include "embedded/dashboard.h"

namespace cairn::app {
namespace {

using http::Request;
using http::Response;

constexpr const char* kFirst = "index.html";
constexpr size_t kTagLength = 16;

// Nothing from elsewhere, nothing written into the page but the one script that it comes with, nobody's frame around
// it. Images of artifacts are blobs.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'{}; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri "
    "'none'; form-action 'self'; frame-ancestors 'none'";

const char* content_type(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  return "image/svg+xml";
}

// As a gzip file. Throws Error when there is no memory for it.
std::string compressed(std::string_view content) {
  constexpr int kGzip = 15 + 16, kMemory = 9;
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzip, kMemory, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error(ErrorCode::kInternalError, "zlib cannot compress the page");
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);  // there is room for all of it
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct File {
  std::string content;
  std::string gzip;
  std::string tag;
};

// The files by their names, and what stands for all of them in addresses: modules name each other relatively, so all of
// a page's are of one version.
struct Page {
  std::string version;
  std::string policy;
  std::map<std::string, File, std::less<>> files;
};

std::string tag_of(std::string_view content) { return sha256_hex(content).substr(0, kTagLength); }

// The policy's word for the script in the page: its hash.
std::string source_of_script(std::string_view html) {
  constexpr std::string_view kBegin = "<script>";
  const size_t begin = html.find(kBegin) + kBegin.size(), end = html.find("</script>", begin);
  return fmt::format(" 'sha256-{}'", base64(sha256(html.substr(begin, end - begin))));
}

Page make_page() {
  Page page;
  std::string all;
  for (const std::string_view name : embedded_dashboard_names()) all += embedded_dashboard(name);
  page.version = tag_of(all);
  for (const std::string_view name : embedded_dashboard_names()) {
    File& file = page.files[std::string(name)];
    file.content = embedded_dashboard(name);
    if (name == kFirst) {
      const std::string from = "\"ui/", to = from + page.version + "/";
      for (size_t at = 0; (at = file.content.find(from, at)) != std::string::npos; at += to.size())
        file.content.replace(at, from.size(), to);
      const std::string placeholder = "{version}";
      file.content.replace(file.content.find(placeholder), placeholder.size(), kVersion);
      page.policy = fmt::format(kPolicy, source_of_script(file.content));
    }
    file.gzip = compressed(file.content);
    file.tag = tag_of(file.content);
  }
  return page;
}

const Page& page() {
  static const Page made = make_page();
  return made;
}

// Under its version's address a file never changes. Elsewhere a browser asks again each time, and is told when nothing
// has changed: a new binary's page is there at once.
Response file_response(const Request& request, const std::string& name, const std::string& version = "") {
  const auto found = page().files.find(name);
  if (found == page().files.end()) throw not_found("The page has no file '" + name + "'.");
  const File& file = found->second;
  const bool gzip = request.header("accept-encoding").find("gzip") != std::string_view::npos;
  const std::string tag = '"' + file.tag + (gzip ? "-gzip\"" : "\"");
  Response response;
  response.content_type = content_type(name);
  response.headers = {{"ETag", tag},
                      {"Cache-Control", version == page().version ? "public, max-age=31536000, immutable" : "no-cache"},
                      {"Vary", "Accept-Encoding"},
                      {"Content-Security-Policy", page().policy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Opener-Policy", "same-origin"}};
  if (request.header("if-none-match") == tag) {
    response.status = 304;
    return response;
  }
  if (gzip) response.headers.emplace_back("Content-Encoding", "gzip");
  response.body = gzip ? file.gzip : file.content;
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
  router.add(
      "GET", "/ui/{version}/{file}",
      [](Request& request) -> task<Response> {
        co_return file_response(request, request.captures.find("file")->second,
                                request.captures.find("version")->second);
      },
      open);
}

}  // namespace cairn::app
