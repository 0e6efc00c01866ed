// MLflow's artifact routes. The proxy takes paths from the store's root; the others resolve a run, a model version or a
// logged model to its place in the store first.
#include <algorithm>
#include <charconv>
#include <optional>

#include "artifacts/api.h"
#include "artifacts/content_type.h"
#include "base/error.h"
#include "base/json.h"
#include "http/mlflow.h"

namespace cairn::artifacts {
namespace {

using http::Request;
using http::Response;

// Streamed, so only the disk bounds it.
constexpr uint64_t kMaxUpload = uint64_t{1} << 50;

std::string argument(const Request& request, std::string_view name) {
  return std::string(request.argument(name).value_or(""));
}

std::string required_argument(const Request& request, std::string_view name) {
  const auto value = request.argument(name);
  if (!value || value->empty()) {
    throw invalid("Missing value for required parameter '" + std::string(name) +
                  "'. See the API docs for more information about request parameters.");
  }
  return std::string(*value);
}

// The path that a proxy route captured. An escaped separator could mean another file to whoever stands before us.
std::string captured_path(const Request& request) {
  std::string target = request.raw_target.substr(0, request.raw_target.find('?'));
  std::transform(target.begin(), target.end(), target.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  if (target.find("%2f") != target.npos || target.find("%5c") != target.npos) throw invalid("Invalid path");
  const std::string& path = request.captures.find("path")->second;
  if (path.empty() || path.ends_with('/'))
    throw invalid("Artifact path must include a filename (cannot end with '/').");
  check_path(path);
  return path;
}

// A directory that a list asks for: may be empty, may end with a slash.
std::string directory_argument(const Request& request, std::string_view name) {
  std::string path = argument(request, name);
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (!path.empty()) check_path(path);
  return path;
}

std::string join(const std::string& directory, const std::string& path) {
  return directory.empty() || path.empty() ? directory + path : directory + "/" + path;
}

std::string served_path(const std::string& uri) {
  const auto path = store_path(uri);
  if (path) return *path;
  throw invalid("The artifacts are at '" + uri + "', which this server does not serve: read them there directly.");
}

constexpr db::Statement kRunUri{
    "artifacts_run_uri",
    "SELECT coalesce(nullif(artifact_uri, ''), 'mlflow-artifacts:/' || experiment_id || '/' || run_id || '/artifacts') "
    "FROM tracking.training_runs WHERE run_id = $1"};

task<std::string> run_uri(db::Pool& pool, const Request& request) {
  const std::string run_id =
      request.argument("run_id") ? required_argument(request, "run_id") : argument(request, "run_uuid");
  if (run_id.empty()) required_argument(request, "run_id");
  task<db::Rows> query = pool.query(kRunUri, db::Params::of(run_id));
  const db::Rows rows = co_await query;
  if (rows.empty()) throw not_found("Run with id=" + run_id + " not found");
  co_return rows.text(0, 0);
}

constexpr db::Statement kLoggedModelUri{
    "artifacts_logged_model_uri",
    "SELECT coalesce(nullif(artifact_location, ''), "
    "'mlflow-artifacts:/' || experiment_id || '/models/' || model_id || '/artifacts') "
    "FROM tracking.logged_models WHERE model_id = $1 AND lifecycle_stage = 'active'"};

task<std::string> logged_model_uri(db::Pool& pool, const Request& request) {
  const std::string model_id = request.captures.find("model_id")->second;
  task<db::Rows> query = pool.query(kLoggedModelUri, db::Params::of(model_id));
  const db::Rows rows = co_await query;
  if (rows.empty()) throw not_found("Logged model with ID '" + model_id + "' not found.");
  co_return rows.text(0, 0);
}

// A version made from a logged model (models:/m-…) has its files where that model has them.
constexpr db::Statement kModelVersionUri{
    "artifacts_model_version_uri",
    "SELECT CASE WHEN v.storage_location NOT IN ('', v.source) OR l.model_id IS NULL "
    "THEN coalesce(nullif(v.storage_location, ''), v.source) "
    "ELSE coalesce(nullif(l.artifact_location, ''), "
    "'mlflow-artifacts:/' || l.experiment_id || '/models/' || l.model_id || '/artifacts') END "
    "FROM registry.model_versions v JOIN registry.models m USING (model_id) "
    "LEFT JOIN tracking.logged_models l ON 'models:/' || l.model_id = v.source "
    "WHERE m.model_name = $1 AND v.version = $2"};

task<std::string> model_version_uri(db::Pool& pool, const Request& request) {
  const std::string name = required_argument(request, "name");
  const std::string text = required_argument(request, "version");
  int32_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw invalid("Parameter 'version' must be an integer, got '" + text + "'.");
  }
  task<db::Rows> query = pool.query(kModelVersionUri, db::Params::of(name, version));
  const db::Rows rows = co_await query;
  if (rows.empty()) throw not_found("Model Version (name=" + name + ", version=" + text + ") not found");
  co_return rows.text(0, 0);
}

void write_files(json::Writer& writer, const std::vector<Entry>& entries, const std::string& prefix) {
  if (entries.empty()) return;
  writer.key("files");
  writer.begin_array();
  for (const Entry& entry : entries) {
    writer.begin_object();
    writer.field("path", join(prefix, entry.name));
    writer.field("is_dir", entry.is_directory);
    if (entry.size > 0) writer.field("file_size", entry.size);
    writer.end_object();
  }
  writer.end_array();
}

// The first and last byte that a Range header asks for. Several ranges, or what cannot be read, is no range at all.
struct Range {
  uint64_t first;
  uint64_t end;  // one past the last; first when nothing can be sent
};
std::optional<Range> parse_range(std::string_view header, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const size_t dash = header.find('-');
  if (dash == header.npos) return std::nullopt;
  const auto number = [](std::string_view text) -> std::optional<uint64_t> {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const auto first = number(header.substr(0, dash));
  const auto last = number(header.substr(dash + 1));
  if (!first && dash == 0 && last) return Range{size - std::min(*last, size), size};
  if (!first || (!last && dash + 1 != header.size()) || (last && *last < *first)) return std::nullopt;
  if (*first >= size) return Range{0, 0};
  return Range{*first, last ? std::min(*last, size - 1) + 1 : size};
}

task<Response> download(ArtifactStore& store, const Request& request, std::string path) {
  task<std::unique_ptr<Artifact>> opening = store.open(path);
  const std::unique_ptr<Artifact> artifact = co_await opening;
  const std::string name = path.substr(path.rfind('/') + 1);
  const uint64_t size = artifact->size();
  Response response;
  response.content_type = content_type(name);
  response.headers = {{"Content-Disposition", content_disposition(name)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Accept-Ranges", "bytes"}};
  Range range{0, size};
  if (const auto asked = parse_range(request.header("range"), size)) {
    range = *asked;
    const bool none = range.first == range.end;
    response.status = none ? 416 : 206;
    const std::string part = none ? "*" : std::to_string(range.first) + "-" + std::to_string(range.end - 1);
    response.headers.emplace_back("Content-Range", "bytes " + part + "/" + std::to_string(size));
  }
  response.stream = artifact->read(range.first, range.end - range.first);
  co_return response;
}

// Where a handler finds what it serves.
using Locate = task<std::string> (*)(db::Pool&, const Request&);

http::Handler list_handler(db::Pool& pool, ArtifactStore& store, Locate locate, const char* path_name) {
  return [&pool, &store, locate, path_name](Request& request) -> task<Response> {
    const std::string path = directory_argument(request, path_name);
    task<std::string> locating = locate(pool, request);
    const std::string uri = co_await locating;
    task<std::vector<Entry>> listing = store.list(join(served_path(uri), path));
    const std::vector<Entry> entries = co_await listing;
    std::string body;
    json::Writer writer(body);
    writer.begin_object();
    writer.field("root_uri", uri);
    write_files(writer, entries, path);
    writer.end_object();
    co_return http::json_response(std::move(body));
  };
}

http::Handler download_handler(db::Pool& pool, ArtifactStore& store, Locate locate, const char* path_name) {
  return [&pool, &store, locate, path_name](Request& request) -> task<Response> {
    const std::string path = required_argument(request, path_name);
    check_path(path);
    task<std::string> locating = locate(pool, request);
    const std::string uri = co_await locating;
    task<Response> downloading = download(store, request, join(served_path(uri), path));
    co_return co_await downloading;
  };
}

http::Handler proxy_list(ArtifactStore& store) {
  return [&store](Request& request) -> task<Response> {
    task<std::vector<Entry>> listing = store.list(directory_argument(request, "path"));
    const std::vector<Entry> entries = co_await listing;
    std::string body;
    json::Writer writer(body);
    writer.begin_object();
    write_files(writer, entries, "");
    writer.end_object();
    co_return http::json_response(std::move(body));
  };
}

http::Handler proxy_download(ArtifactStore& store) {
  return [&store](Request& request) -> task<Response> {
    task<Response> downloading = download(store, request, captured_path(request));
    co_return co_await downloading;
  };
}

http::Handler proxy_upload(ArtifactStore& store) {
  return [&store](Request& request) -> task<Response> {
    task<> writing = store.write(captured_path(request), *request.stream);
    co_await writing;
    Response response;
    response.content_type.clear();
    co_return response;
  };
}

http::Handler proxy_remove(ArtifactStore& store) {
  return [&store](Request& request) -> task<Response> {
    task<> removing = store.remove(captured_path(request));
    co_await removing;
    co_return http::json_response("{}");
  };
}

// A client that is told so falls back to one plain upload or download.
task<Response> refuse_multipart(Request&) {
  throw Error(ErrorCode::kNotImplemented, "Multipart upload is not supported for the current artifact repository");
  co_return Response();
}
task<Response> refuse_presigned(Request&) {
  throw Error(ErrorCode::kNotImplemented, "Multipart download is not supported for the current artifact repository");
  co_return Response();
}

}  // namespace

void register_routes(http::Router& router, db::Pool& pool, ArtifactStore& store) {
  const std::string proxy = "/mlflow-artifacts/artifacts";
  http::RouteOptions streaming;
  streaming.streaming = true;
  streaming.max_body = kMaxUpload;
  http::add_mlflow_route(router, "GET", proxy, proxy_list(store));
  http::add_mlflow_route(router, "GET", proxy + "/{path...}", proxy_download(store));
  http::add_mlflow_route(router, "PUT", proxy + "/{path...}", proxy_upload(store), streaming);
  http::add_mlflow_route(router, "DELETE", proxy + "/{path...}", proxy_remove(store));
  for (const char* step : {"create", "complete", "abort"}) {
    http::add_mlflow_route(router, "POST", std::string("/mlflow-artifacts/mpu/") + step + "/{path...}",
                           refuse_multipart);
  }
  http::add_mlflow_route(router, "GET", "/mlflow-artifacts/presigned/{path...}", refuse_presigned);

  http::add_mlflow_route(router, "GET", "/mlflow/artifacts/list", list_handler(pool, store, run_uri, "path"));
  http::add_mlflow_route(router, "GET", "/mlflow/logged-models/{model_id}/artifacts/directories",
                         list_handler(pool, store, logged_model_uri, "artifact_directory_path"));
  http::add_mlflow_route(router, "GET", "/mlflow/logged-models/{model_id}/artifacts/files",
                         download_handler(pool, store, logged_model_uri, "artifact_file_path"));
  router.add("GET", "/get-artifact", download_handler(pool, store, run_uri, "path"));
  router.add("GET", "/model-versions/get-artifact", download_handler(pool, store, model_version_uri, "path"));
}

}  // namespace cairn::artifacts
