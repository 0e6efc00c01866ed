// What the tuner's commands share while one runs: its database, and where the tuner keeps what it remembers of it.
#pragma once

#include <string>

#include "app/database.h"
#include "base/log.h"
#include "db/pooler.h"
#include "tuner/profile/state_files.h"

namespace cairn::app {

class TuneDatabase {
 public:
  explicit TuneDatabase(const ServerConfig& config) : config_(config), database_(only_warnings(config)) {
    if (!config.database_url.empty()) db::require_session(config.database_url, "cairn tune");
  }

  const ServerConfig& config() const { return config_; }
  const std::string& connection_string() const { return database_.connection_string(); }
  // `given`, or this database's own.
  std::string state_directory(const std::string& given) const {
    return given.empty() ? tuner::state_directory(config_.data_dir, config_.database_url) : given;
  }

 private:
  // A command's output is its own.
  static const ServerConfig& only_warnings(const ServerConfig& config) {
    log::configure(log::Format::kText, "warn");
    return config;
  }

  ServerConfig config_;
  CommandDatabase database_;
};

}  // namespace cairn::app
