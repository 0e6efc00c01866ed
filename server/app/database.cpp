#include "app/database.h"

#include <algorithm>

#include "base/error.h"

namespace cairn::app {
namespace {

// For psql, backups, migrations and what looks after the database.
constexpr int kOtherConnections = 40;
constexpr int kFewestConnections = 100;

}  // namespace

cluster::ClusterOptions cluster_options(const ServerConfig& config) {
  cluster::ClusterOptions options;
  options.data_dir = config.data_dir;
  options.binary_dir = config.postgres_bin;
  options.tcp_port = config.postgres_port;
  options.max_connections = std::max(kFewestConnections, config.pool_size + config.max_overflow + kOtherConnections);
  return options;
}

CommandDatabase::CommandDatabase(const ServerConfig& config) : connection_string_(config.database_url) {
  if (!connection_string_.empty()) return;
  if (const auto pid = cluster::running_server(config.data_dir)) {
    const auto running = cluster::running_connection_string(config.data_dir);
    if (!running) {
      throw Error(ErrorCode::kTemporarilyUnavailable, "the server on " + config.data_dir + " (process " +
                                                          std::to_string(*pid) +
                                                          ") is starting or stopping: try again in a moment");
    }
    connection_string_ = *running;
    superuser_connection_string_ = cluster::running_connection_string(config.data_dir, "postgres").value_or("");
    return;
  }
  cluster_ = std::make_unique<cluster::Cluster>(cluster_options(config));
  cluster_->start();
  replicas_ = std::make_unique<replicas::Replicas>(*cluster_);
  replicas_->look();
  connection_string_ = cluster_->connection_string();
  superuser_connection_string_ = cluster_->superuser_connection_string();
}

}  // namespace cairn::app
