// The database that a command works on.
#pragma once

#include <memory>
#include <string>

#include "base/config.h"
#include "cluster/cluster.h"
#include "replicas/api.h"

namespace cairn::app {

cluster::ClusterOptions cluster_options(const ServerConfig& config);

// For the time of one command: database_url; else the embedded database, through the server that runs on the data
// directory, or started here and stopped again.
class CommandDatabase {
 public:
  explicit CommandDatabase(const ServerConfig& config);
  const std::string& connection_string() const { return connection_string_; }
  // Of the embedded database only.
  const std::string& superuser_connection_string() const { return superuser_connection_string_; }
  // Null when someone else runs the database.
  const cluster::Cluster* cluster() const { return cluster_.get(); }
  // Those of that cluster, for which its commits may wait.
  replicas::Replicas* replicas() const { return replicas_.get(); }

 private:
  std::unique_ptr<cluster::Cluster> cluster_;
  std::unique_ptr<replicas::Replicas> replicas_;
  std::string connection_string_;
  std::string superuser_connection_string_;
};

}  // namespace cairn::app
