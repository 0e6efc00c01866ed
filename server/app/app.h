// The server put together: the only place that knows every module.
//
// Order of life: PostgreSQL, reactor, pool, modules, HTTP server; torn down the other way round, so that no request
// finds what it needs already gone. All but `cluster` belongs to the reactor's thread.
#pragma once

#include <memory>
#include <string>

#include "access/api.h"
#include "app/access.h"
#include "app/events.h"
#include "app/statement_history.h"
#include "app/tune_actions.h"
#include "artifacts/api.h"
#include "base/config.h"
#include "base/reactor.h"
#include "cluster/cluster.h"
#include "db/pool.h"
#include "features/api.h"
#include "http/auth.h"
#include "http/router.h"
#include "http/server.h"
#include "maintain/schedule.h"
#include "monitor/api.h"
#include "replicas/api.h"
#include "tracking/api.h"

namespace cairn::app {

struct App {
  ServerConfig config;
  Reactor& reactor;
  // Null when the database is someone else's (database_url).
  cluster::Cluster* cluster;
  // Null with it.
  replicas::Replicas* replicas;
  db::Pool pool;
  http::Router router;
  std::unique_ptr<tracking::Tracking> tracking;
  std::unique_ptr<features::FeatureStore> features;
  std::unique_ptr<artifacts::ArtifactStore> artifacts;
  StatementHistory statement_history{pool};
  std::unique_ptr<TuneActions> tune_actions;
  Events events;
  std::unique_ptr<monitor::Monitor> monitor;
  std::unique_ptr<maintain::Schedule> schedule;
  // Null when there are no credentials.
  std::unique_ptr<http::Authenticator> authenticator;
  std::unique_ptr<access::Directory> directory;
  std::unique_ptr<access::ObjectGuard> guard;  // null when there are none, too
  std::unique_ptr<replicas::Reads> reads;
  AuditTrail audit;
  std::unique_ptr<http::Server> server;
  // Writes are refused, because the embedded database's disk is full.
  bool disk_full = false;

  App(ServerConfig config, Reactor& reactor, cluster::Cluster* cluster, replicas::Replicas* replicas,
      const std::string& connection_string);
};

// Adds every module's routes. A module gives one function for it.
void register_routes(http::Router& router, App& app);

// Runs the server until SIGINT or SIGTERM. Returns the exit code; throws Error when it cannot start.
int serve(const ServerConfig& config);

// What the process counts, in Prometheus' format.
std::string render_metrics(const App& app);

}  // namespace cairn::app
