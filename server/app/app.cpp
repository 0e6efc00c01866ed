#include "app/app.h"

#include <sys/resource.h>

#include <csignal>
#include <iostream>

#include "app/credentials.h"
#include "app/database.h"
#include "base/log.h"
#include "base/version.h"
#include "embedded/openapi.h"
#include "jobs/api.h"
#include "registry/api.h"
#include "schema/cli.h"

namespace cairn::app {
namespace {

constexpr std::chrono::seconds kShutdownGrace{10};

http::ServerOptions server_options(const ServerConfig& config) {
  http::ServerOptions options;
  options.host = config.host;
  options.port = uint16_t(config.port);
  options.tls_certificate = config.tls_certificate;
  options.tls_key = config.tls_key;
  options.insecure = config.insecure;
  return options;
}

db::PoolOptions pool_options(const ServerConfig& config, const std::string& connection_string) {
  db::PoolOptions options;
  options.connection_string = connection_string;
  options.size = config.pool_size;
  options.max_overflow = config.max_overflow;
  options.timeout = std::chrono::milliseconds(int64_t(config.pool_timeout_s * 1000));
  return options;
}

constexpr db::Statement kAlive{"health", "SELECT 1"};

// Says whether requests that need the database would be served, too.
task<http::Response> health(App& app) {
  co_await app.pool.query(kAlive);
  co_return http::text_response("OK");
}

void register_own_routes(http::Router& router, App& app) {
  const http::RouteOptions open{.open = true};
  router.add(
      "GET", "/health", [&app](http::Request&) { return health(app); }, open);
  router.add(
      "GET", "/version",
      [](http::Request&) -> task<http::Response> { co_return http::text_response(std::string(kVersion)); }, open);
  const auto metrics = [&app](http::Request&) -> task<http::Response> {
    http::Response response = http::text_response(render_metrics(app));
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    co_return response;
  };
  router.add("GET", "/api/v1/openapi.json", [](http::Request&) -> task<http::Response> {
    co_return http::json_response(std::string(embedded_openapi("openapi.json")));
  });
  router.add("GET", "/metrics", metrics, {.always = true});
}

std::string address(const App& app) {
  const std::string& host = app.config.host;
  return (app.config.tls_certificate.empty() ? "http://" : "https://") +
         (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(app.server->port());
}

// So often that a disk hardly fills up between two looks.
constexpr std::chrono::milliseconds kDiskPoll{100};

task<> watch_disk(App& app) {
  const auto look = [&app] { return app.cluster->has_room(); };
  for (;;) {
    auto looking = offload(look);
    app.disk_full = !co_await looking;
    app.pool.set_read_only(app.disk_full);
    co_await sleep_for(kDiskPoll);
  }
}

task<> shut_down(App& app) {
  co_await app.server->stop(kShutdownGrace);
  app.reactor.stop();
}

void run(App& app) {
  app.server->start();
  if (app.cluster != nullptr) app.reactor.spawn("disk", watch_disk(app));
  app.reactor.on_signal([&app](int signal) {
    log::info("signal {}: finishing the requests under way; a second one stops at once", signal);
    for (const int again : {SIGINT, SIGTERM}) std::signal(again, SIG_DFL);
    app.reactor.spawn("shutdown", shut_down(app));
  });
  std::cout << "listening on " << address(app) << std::endl;
  app.reactor.run();
}

}  // namespace

App::App(ServerConfig config_in, Reactor& reactor_in, cluster::Cluster* cluster_in,
         const std::string& connection_string)
    : config(std::move(config_in)),
      reactor(reactor_in),
      cluster(cluster_in),
      pool(pool_options(config, connection_string)) {
  http::Credentials credentials = load_credentials(config.credentials);
  if (!credentials.empty()) authenticator = std::make_unique<http::Authenticator>(std::move(credentials));
  register_routes(router, *this);
  server = std::make_unique<http::Server>(server_options(config), router, authenticator.get());
}

void register_routes(http::Router& router, App& app) {
  register_own_routes(router, app);
  app.tracking = std::make_unique<tracking::Tracking>(router, app.pool);
  registry::register_routes(router, app.pool);
  app.artifacts = std::make_unique<artifacts::LocalArtifactStore>(app.config.artifact_directory());
  artifacts::register_routes(router, app.pool, *app.artifacts);
  jobs::register_routes(router, app.pool);
}

// A connection is a file, and the usual soft limit of 1024 is far below what the server may hold.
void allow_many_files() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int serve(const ServerConfig& config) {
  std::signal(SIGPIPE, SIG_IGN);
  allow_many_files();
  log::configure(config.log_format == "json" ? log::Format::kJson : log::Format::kText, config.log_level);
  log::info("cairn {} starts", kVersion);
  std::unique_ptr<cluster::Cluster> cluster;
  std::string connection_string = config.database_url;
  if (connection_string.empty()) {
    cluster = std::make_unique<cluster::Cluster>(cluster_options(config));
    cluster->start();
    connection_string = cluster->connection_string();
  } else {
    log::info("using the database {}", log::redact_url(connection_string));
  }
  schema::prepare_schema(connection_string, cluster != nullptr || config.migrate);
  Reactor reactor;
  App app(config, reactor, cluster.get(), connection_string);
  run(app);
  log::info("stopped");
  return 0;
}

}  // namespace cairn::app
