#include "registry/source.h"

#include <algorithm>
#include <cctype>

#include "http/message.h"

namespace cairn::registry {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

std::string scheme_of(const std::string& source) {
  const size_t colon = source.find(':');
  if (colon == std::string::npos || colon < 2) return "";
  std::string scheme = source.substr(0, colon);
  if (scheme.find('/') != std::string::npos) return "";
  std::ranges::transform(scheme, scheme.begin(), [](unsigned char c) { return std::tolower(c); });
  return scheme;
}

std::vector<std::string> segments_of(const std::string& path) {
  std::vector<std::string> segments;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) segments.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return segments;
}

// Also where the dots or slashes are percent-encoded, more than once.
bool has_parent_reference(std::string source) {
  for (int round = 0; round < 4; ++round) {
    std::ranges::replace(source, '\\', '/');
    const auto segments = segments_of(source);
    if (std::ranges::find(segments, "..") != segments.end()) return true;
    const auto decoded = http::percent_decode(source, false);
    if (!decoded || *decoded == source) return false;
    source = *decoded;
  }
  return true;
}

Error invalid_source(const NewVersion& version, const std::string& why) {
  return invalid("Invalid model version source: '" + version.source + "'. " + why);
}
Error needs(const NewVersion& version, const std::string& parameter) {
  return invalid_source(version,
                        "The " + parameter + " request parameter must identify the resource that contains the source.");
}

constexpr Statement kRunsAmong{"registry_runs_among",
                               "SELECT run_id FROM tracking.training_runs WHERE run_id = ANY ($1)"};
constexpr Statement kRunRoot{"registry_run_root", "SELECT artifact_uri FROM tracking.training_runs WHERE run_id = $1"};
constexpr Statement kLoggedModel{"registry_logged_model",
                                 "SELECT artifact_location, coalesce(source_run_id, '') FROM tracking.logged_models "
                                 "WHERE model_id = $1 AND lifecycle_stage = 'active'"};
// The version by number, or by alias after an '@'.
constexpr Statement kSourceVersion{"registry_source_version",
                                   "SELECT v.storage_location, coalesce(v.run_id, '') FROM registry.models m "
                                   "JOIN registry.model_versions v USING (model_id) LEFT JOIN registry.model_aliases a "
                                   "ON a.model_id = v.model_id AND a.version = v.version AND a.alias = $3 "
                                   "WHERE m.model_name = $1 AND (v.version = $2 OR a.alias IS NOT NULL)"};
constexpr Statement kModelExists{"registry_model_exists", "SELECT FROM registry.models WHERE model_name = $1"};

task<> check_proxied(db::Transaction& tx, const NewVersion& version) {
  const Rows runs = co_await tx.query(kRunsAmong, Params::of(segments_of(version.source)));
  if (runs.empty()) co_return;
  for (int row = 0; row < runs.size(); ++row)
    if (runs.text(row, 0) == version.run_id) co_return;
  throw needs(version, "run_id");
}

task<> check_local(db::Transaction& tx, const NewVersion& version) {
  const auto path = [](const std::string& uri) {
    if (!uri.starts_with("file:")) return uri;
    return uri.starts_with("file://") ? uri.substr(7) : uri.substr(5);
  };
  if (!version.run_id.empty()) {
    const Rows run = co_await tx.query(kRunRoot, Params::of(version.run_id));
    if (!run.empty()) {
      const std::string root = path(run.text(0, 0)) + "/", source = path(version.source) + "/";
      if (root.starts_with('/') && source.starts_with(root)) co_return;
    }
  }
  throw invalid_source(
      version,
      "To use a local path as a model version source, the run_id request parameter has to be specified "
      "and the local path has to be contained within the artifact directory of the run specified by the "
      "run_id.");
}

task<ResolvedSource> resolve_model(db::Transaction& tx, const NewVersion& version) {
  const std::string path = version.source.substr(std::string("models:").size());
  const std::vector<std::string> parts = segments_of(path);
  if (parts.size() == 1 && parts[0].starts_with("m-")) {
    if (version.logged_model_id != parts[0]) throw needs(version, "model_id");
    const Rows model = co_await tx.query(kLoggedModel, Params::of(parts[0]));
    if (model.empty()) throw not_found("Logged model with ID '" + parts[0] + "' not found.");
    co_return ResolvedSource{model.text(0, 0), model.text(0, 1)};
  }
  const size_t at = parts.size() == 1 ? parts[0].rfind('@') : std::string::npos;
  if (parts.size() != 2 && at == std::string::npos)
    throw invalid_source(version, "A models:/ source is models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID.");
  const std::string name = parts[0].substr(0, at);
  const VersionKey key{name, parts.size() == 2 ? parts[1] : ""};
  const std::string alias = parts.size() == 1 ? parts[0].substr(at + 1) : "";
  const Rows model = co_await tx.query(kModelExists, Params::of(name));
  if (model.empty()) throw model_not_found(name);
  const Rows found = co_await tx.query(kSourceVersion, Params::of(name, key.number(), alias));
  if (found.empty() && !alias.empty()) throw invalid("Registered model alias " + alias + " not found.");
  if (found.empty()) throw version_not_found(key);
  co_return ResolvedSource{found.text(0, 0), found.text(0, 1)};
}

}  // namespace

task<ResolvedSource> resolve_source(db::Transaction& tx, const NewVersion& version) {
  const std::string scheme = scheme_of(version.source);
  if (has_parent_reference(version.source))
    throw invalid_source(
        version,
        "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts "
        "uri, an absolute path must be provided without relative path references present. Please provide "
        "an absolute path.");
  if (scheme == "http" || scheme == "https" || scheme == "ftp" || scheme == "sftp")
    throw invalid(
        "'source' cannot use the '" + scheme + "' scheme: the '" + scheme +
        "' scheme addresses a host other than the tracking server's configured artifact storage, so the server "
        "would connect to the host named in the URI. Upload the files to the server's artifact storage and name "
        "them there.");
  if (scheme == "models") co_return co_await resolve_model(tx, version);
  if (scheme == "runs") {
    const auto segments = segments_of(version.source.substr(5));
    if (segments.empty() || segments[0] != version.run_id) throw needs(version, "run_id");
  } else if (scheme == "mlflow-artifacts") {
    co_await check_proxied(tx, version);
  } else if (scheme.empty() || scheme == "file") {
    co_await check_local(tx, version);
  }
  co_return ResolvedSource{version.source, ""};
}

}  // namespace cairn::registry
