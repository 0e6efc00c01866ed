// What the server does about access while it runs: refusals and changes go into the audit, and a certificate that was
// renewed is taken without a restart.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/config.h"
#include "base/task.h"
#include "db/pool.h"
#include "http/server.h"

namespace cairn::app {

// Each second's refusals become one row of audit.events for each caller, route and status, with their number: whoever
// guesses passwords does not fill the disk. So do changes, for each caller, route and object, but for those that write
// a row of their own that says more. On the reactor's thread.
class AuditTrail {
 public:
  explicit AuditTrail(db::Pool& pool) : pool_(pool) {}
  void add(const http::Refusal& refusal);
  // Of a request that was answered without an error.
  void add(const http::Route& route, const http::Request& request, const http::Response& response);
  // What has come since the last time.
  task<> write();
  task<> keep_writing();

 private:
  // A row but for its number.
  struct Row {
    std::string actor, action, object_type, object_id, method, route;
    int status = 0;
    auto operator<=>(const Row&) const = default;
  };
  db::Pool& pool_;
  std::map<Row, int64_t> counts_;
};

// Looks every few seconds whether the files of the certificate have changed.
task<> keep_certificate(http::Server& server, ServerConfig config);

}  // namespace cairn::app
