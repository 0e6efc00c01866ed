// What the server does about access while it runs: refusals go into the audit, and a certificate that was renewed is
// taken without a restart.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "base/config.h"
#include "base/task.h"
#include "db/pool.h"
#include "http/server.h"

namespace cairn::app {

// Each second's refusals become one row of audit.events for each caller, route and status, with their number: whoever
// guesses passwords does not fill the disk. On the reactor's thread.
class Refusals {
 public:
  explicit Refusals(db::Pool& pool) : pool_(pool) {}
  void add(const http::Refusal& refusal);
  // What has come since the last time.
  task<> write();
  task<> keep_writing();

 private:
  db::Pool& pool_;
  // actor, method, route, status
  std::map<std::tuple<std::string, std::string, std::string, int>, int64_t> counts_;
};

// Looks every few seconds whether the files of the certificate have changed.
task<> keep_certificate(http::Server& server, ServerConfig config);

}  // namespace cairn::app
