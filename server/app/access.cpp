#include "app/access.h"

#include <filesystem>
#include <utility>
#include <vector>

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
    "audit_refusals",
    "INSERT INTO audit.events (actor, action, object_type, object_id, details)"
    " SELECT actor, 'refuse', 'route', route, jsonb_build_object('method', method, 'status', status, 'count', count)"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[]) AS r(actor, method, route, status,"
    " count)"};

}  // namespace

void Refusals::add(const http::Refusal& refusal) {
  const bool known = !refusal.pattern.empty();
  ++counts_[{refusal.actor.empty() ? kNobody : refusal.actor, known ? refusal.method : "",
             known ? refusal.pattern : kNoRoute, refusal.status}];
}

task<> Refusals::write() {
  if (counts_.empty()) co_return;
  const auto counts = std::exchange(counts_, {});
  std::vector<std::string> actors, methods, routes;
  std::vector<int32_t> statuses;
  std::vector<int64_t> numbers;
  for (const auto& [key, count] : counts) {
    actors.push_back(std::get<0>(key));
    methods.push_back(std::get<1>(key));
    routes.push_back(std::get<2>(key));
    statuses.push_back(std::get<3>(key));
    numbers.push_back(count);
  }
  bool written = false;
  try {
    const db::Params params = db::Params::of(actors, methods, routes, statuses, numbers);
    co_await pool_.query(kInsert, params);
    written = true;
  } catch (const Error& error) {
    log::warn("refusals are not in the audit yet: {}", error.what());
  }
  if (written) co_return;
  for (const auto& [key, count] : counts) counts_[key] += count;
}

task<> Refusals::keep_writing() {
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
