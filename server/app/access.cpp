#include "app/access.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "access/api.h"
#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"

namespace cairn::app {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kWritePause{1};
constexpr std::chrono::seconds kLookPause{2};
constexpr const char* kNobody = "(nobody known)";
constexpr const char* kNoRoute = "(no route)";

// An absent file has the time of none.
std::pair<fs::file_time_type, fs::file_time_type> times_of(const ServerConfig& config) {
  std::error_code ignored;
  return {fs::last_write_time(config.tls_certificate, ignored), fs::last_write_time(config.tls_key, ignored)};
}

constexpr db::Statement kInsert{
    "audit_trail",
    "INSERT INTO audit.events (actor, action, object_type, object_id, details)"
    " SELECT actor, action, type, id, jsonb_strip_nulls(jsonb_build_object('method', nullif(method, ''), 'route',"
    " nullif(route, ''), 'status', nullif(status, 0), 'count', count))"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::bigint[])"
    " AS r(actor, action, type, id, method, route, status, count)"};

}  // namespace

void AuditTrail::add(const http::Refusal& refusal) {
  const bool known = !refusal.pattern.empty();
  ++counts_[{refusal.actor.empty() ? kNobody : refusal.actor, "refuse", "route", known ? refusal.pattern : kNoRoute,
             known ? refusal.method : "", "", refusal.status}];
}

void AuditTrail::add(const http::Route& route, const http::Request& request, const http::Response& response) {
  if (access::writes_own_events(route.pattern)) return;
  const auto [type, id] = access::changed_object(route, request, response);
  ++counts_[{request.user, "change", type, id, request.method, route.pattern}];
}

task<> AuditTrail::write() {
  if (counts_.empty()) co_return;
  const auto counts = std::exchange(counts_, {});
  std::vector<std::string> actors, actions, types, ids, methods, routes;
  std::vector<int32_t> statuses;
  std::vector<int64_t> numbers;
  for (const auto& [row, count] : counts) {
    actors.push_back(row.actor);
    actions.push_back(row.action);
    types.push_back(row.object_type);
    ids.push_back(row.object_id);
    methods.push_back(row.method);
    routes.push_back(row.route);
    statuses.push_back(row.status);
    numbers.push_back(count);
  }
  bool written = false;
  try {
    const db::Params params = db::Params::of(actors, actions, types, ids, methods, routes, statuses, numbers);
    co_await pool_.query(kInsert, params);
    written = true;
  } catch (const Error& error) {
    log::warn("refusals and changes are not in the audit yet: {}", error.what());
  }
  if (written) co_return;
  for (const auto& [row, count] : counts) counts_[row] += count;
}

task<> AuditTrail::keep_writing() {
  for (;; co_await sleep_for(kWritePause)) co_await write();
}

task<> keep_certificate(http::Server& server, ServerConfig config) {
  auto loaded = times_of(config);
  for (;;) {
    co_await sleep_for(kLookPause);
    const auto now = times_of(config);
    if (now == loaded) continue;
    try {
      server.reload_tls();
      log::info("the TLS certificate {} was read again", config.tls_certificate);
    } catch (const Error& error) {
      // Of two files one may not be there yet.
      log::warn("the TLS certificate has changed but cannot be used, the one before stays: {}", error.what());
      continue;
    }
    loaded = now;
  }
}

}  // namespace cairn::app
