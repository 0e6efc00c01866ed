#include "app/app.h"

#include <sys/resource.h>

#include <csignal>
#include <iostream>

#include "app/credentials.h"
#include "app/database.h"
#include "app/page.h"
#include "app/scheduled_jobs.h"
#include "base/log.h"
#include "base/version.h"
#include "embedded/openapi.h"
#include "jobs/api.h"
#include "maintain/api.h"
#include "registry/api.h"
#include "schema/cli.h"
#include "search/api.h"
#include "triage/api.h"

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
  options.rate_limit = config.rate_limit;
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
    const monitor::Gatherer::Page of_postgres = co_await app.monitor->page();
    http::Response response = http::text_response(render_metrics(app) + *of_postgres);
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

// So often that a promotion begins as soon as it is asked for.
constexpr std::chrono::milliseconds kReplicasPoll{200};

task<> watch_replicas(App& app) {
  const auto look = [&app] {
    app.replicas->look();
    return app.replicas->running();
  };
  for (;;) {
    auto looking = offload(look);
    const std::vector<replicas::Running> running = co_await looking;
    app.reads->set_replicas(running, app.pool.options());
    co_await sleep_for(kReplicasPoll);
  }
}

// What replicas may answer: what is asked for most, and reads much.
constexpr std::initializer_list<replicas::ReadRoute> kReadRoutes{
    {"POST", "/api/2.0/mlflow/runs/search"},
    {"POST", "/ajax-api/2.0/mlflow/runs/search"},
    {"GET", "/api/2.0/mlflow/metrics/get-history"},
    {"GET", "/ajax-api/2.0/mlflow/metrics/get-history"},
    {"GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk"},
    {"GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval"},
    {"GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"},
    {"GET", "/api/v1/runs/compare"},
    {"POST", "/get-online-features"},
    {"POST", "/api/v1/collections/{name}/search"},
    {"POST", "/v1/vector_stores/{id}/search"},
};

// The same routes once more, on a replica's pool.
std::shared_ptr<void> make_read_routes(http::Router& router, db::Pool& pool) {
  struct Kept {
    tracking::Tracking tracking;
    features::FeatureStore features;
  };
  search::register_routes(router, pool);
  return std::shared_ptr<Kept>(new Kept{{router, pool}, {router, pool}});
}

// What the tuner has under way takes back what it made as long as PostgreSQL is there.
task<> shut_down(App& app) {
  app.events.stop();
  co_await app.tune_actions->stop(kShutdownGrace);
  co_await app.server->stop(kShutdownGrace);
  co_await app.schedule->stop(kShutdownGrace);
  co_await app.audit.write();
  app.reactor.stop();
}

void run(App& app) {
  app.server->start();
  if (app.cluster != nullptr) app.reactor.spawn("disk", watch_disk(app));
  if (app.replicas != nullptr) app.reactor.spawn("replicas", watch_replicas(app));
  app.reactor.spawn("audit", app.audit.keep_writing());
  if (app.authenticator) app.reactor.spawn("access", app.directory->keep_fresh());
  if (!app.config.tls_certificate.empty()) app.reactor.spawn("certificate", keep_certificate(*app.server, app.config));
  app.reactor.spawn("features", app.features->keep_up());
  app.reactor.spawn("features", app.features->watch_health());
  app.reactor.spawn("statements", app.statement_history.keep());
  app.reactor.spawn("monitor", app.monitor->watch([&app] { return render_metrics(app); }));
  app.reactor.spawn("jobs", app.schedule->keep());
  app.events.start(app.reactor);
  app.reactor.on_signal([&app](int signal) {
    log::info("signal {}: finishing the requests under way; a second one stops at once", signal);
    for (const int again : {SIGINT, SIGTERM}) std::signal(again, SIG_DFL);
    app.reactor.spawn("shutdown", shut_down(app));
  });
  std::cout << "listening on " << address(app) << std::endl;
  app.reactor.run();
}

}  // namespace

App::App(ServerConfig config_in, Reactor& reactor_in, cluster::Cluster* cluster_in, replicas::Replicas* replicas_in,
         const std::string& connection_string)
    : config(std::move(config_in)),
      reactor(reactor_in),
      cluster(cluster_in),
      replicas(replicas_in),
      pool(pool_options(config, connection_string)),
      audit(pool) {
  http::Credentials credentials = load_credentials(config.credentials);
  if (!credentials.empty()) authenticator = std::make_unique<http::Authenticator>(std::move(credentials));
  directory = std::make_unique<access::Directory>(pool, authenticator.get());
  register_routes(router, *this);
  if (replicas != nullptr) reads = std::make_unique<replicas::Reads>(router, pool, kReadRoutes, make_read_routes);
  if (authenticator) guard = std::make_unique<access::ObjectGuard>(router, *directory);
  http::ServerOptions options = server_options(config);
  options.on_refusal = [this](const http::Refusal& refusal) { audit.add(refusal); };
  if (authenticator)  // without, there is nobody to name
    options.on_change = [this](const http::Route& route, const http::Request& request, const http::Response& response) {
      audit.add(route, request, response);
    };
  server = std::make_unique<http::Server>(std::move(options), router, authenticator.get());
}

void register_routes(http::Router& router, App& app) {
  register_own_routes(router, app);
  access::register_routes(router, *app.directory);
  app.tracking = std::make_unique<tracking::Tracking>(router, app.pool);
  registry::register_routes(router, app.pool);
  app.artifacts = std::make_unique<artifacts::LocalArtifactStore>(app.config.artifact_directory());
  artifacts::register_routes(router, app.pool, *app.artifacts);
  jobs::register_routes(router, app.pool);
  app.features = std::make_unique<features::FeatureStore>(router, app.pool);
  search::register_routes(router, app.pool);
  register_page(router);
  app.tune_actions = std::make_unique<TuneActions>(app.config.data_dir, app.config.postgres_bin);
  register_database_routes(router, app);
  register_events(router, app);
  monitor::MonitorOptions options;
  options.connection_string = app.pool.options().connection_string;
  options.webhook = app.config.alert_webhook;
  app.monitor = std::make_unique<monitor::Monitor>(router, app.pool, options);
  triage::register_routes(router, app.pool);
  maintain::register_routes(router, app.pool);
  app.schedule = std::make_unique<maintain::Schedule>(app.pool);
  maintain::add_database_jobs(*app.schedule);
  add_scheduled_jobs(*app.schedule, app.config);
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
  std::unique_ptr<replicas::Replicas> replicas;
  std::string connection_string = config.database_url;
  if (connection_string.empty()) {
    cluster = std::make_unique<cluster::Cluster>(cluster_options(config));
    cluster->start();
    connection_string = cluster->connection_string();
    replicas = std::make_unique<replicas::Replicas>(*cluster);
    replicas->look();
  } else {
    log::info("using the database {}", log::redact_url(connection_string));
  }
  schema::prepare_schema(connection_string, cluster != nullptr || config.migrate);
  Reactor reactor;
  App app(config, reactor, cluster.get(), replicas.get(), connection_string);
  run(app);
  log::info("stopped");
  return 0;
}

}  // namespace cairn::app
