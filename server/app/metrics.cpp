// /metrics: what the process counts, as Prometheus reads it.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "app/app.h"
#include "base/version.h"
#include "db/statement_times.h"

namespace cairn::app {
namespace {

using monitor::Exposition;

const auto kStart = std::chrono::system_clock::now();

void render_pool(Exposition& page, const db::Pool& pool) {
  const db::PoolStatistics statistics = pool.statistics();
  page.gauge("cairn_pool_size", "Connections that the pool keeps.", pool.options().size);
  page.gauge("cairn_pool_max_overflow", "Connections that it may add.", pool.options().max_overflow);
  page.gauge("cairn_pool_open", "Connections open now.", statistics.open);
  page.gauge("cairn_pool_in_use", "Connections lent out now.", statistics.in_use);
  page.gauge("cairn_pool_waiting", "Requests waiting for a connection.", statistics.waiting);
  page.counter("cairn_pool_acquired_total", "Connections lent out.", double(statistics.acquired_total));
  page.counter("cairn_pool_opened_total", "Connections opened.", double(statistics.opened_total));
  page.counter("cairn_pool_connect_errors_total", "Connections that could not be opened.",
               double(statistics.connect_errors_total));
  page.counter("cairn_pool_timeouts_total", "Requests that waited too long.", double(statistics.timeouts_total));
  page.counter("cairn_pool_rejected_total", "Requests refused because too many waited.",
               double(statistics.rejected_total));
}

void render_server(Exposition& page, const http::ServerStatistics& statistics) {
  page.gauge("cairn_http_connections", "Connections open now.", double(statistics.connections_open));
  page.counter("cairn_http_connections_total", "Connections accepted.", double(statistics.connections_total));
  page.gauge("cairn_http_requests_in_flight", "Requests under way.", double(statistics.requests_in_flight));
  page.counter("cairn_http_rejected_total", "Requests and connections refused for load.",
               double(statistics.rejected_total));
  page.family("cairn_http_responses_total", "counter", "Responses by the first digit of their status.");
  for (int digit = 1; digit <= 5; ++digit) {
    page.sample("cairn_http_responses_total", "class=\"" + std::to_string(digit) + "xx\"",
                double(statistics.responses_by_class[digit]));
  }
  page.histogram("cairn_http_request_duration_seconds", "Time from a request's last byte to its response.",
                 http::ServerStatistics::kBounds, statistics.duration_buckets, statistics.duration_sum);
}

// The names that all of Prometheus' own client libraries use.
void render_process(Exposition& page) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) / 1e6; };
  page.counter("process_cpu_seconds_total", "CPU that the server has used, without PostgreSQL's.",
               seconds(used.ru_utime) + seconds(used.ru_stime));
  long size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  page.gauge("process_resident_memory_bytes", "Memory that it holds.",
             double(resident) * double(sysconf(_SC_PAGESIZE)));
  page.gauge("process_start_time_seconds", "When it started.",
             std::chrono::duration<double>(kStart.time_since_epoch()).count());
}

}  // namespace

std::string render_metrics(const App& app) {
  Exposition page;
  page.family("cairn_build_info", "gauge", "The version that runs.");
  page.sample("cairn_build_info", monitor::label_text({{"version", std::string(kVersion)}}), 1);
  if (app.cluster != nullptr) {
    page.gauge("cairn_postgres_ready", "1 while the embedded PostgreSQL takes connections.", app.cluster->ready());
    page.counter("cairn_postgres_restarts_total", "Restarts of the embedded PostgreSQL after it died.",
                 app.cluster->restarts());
  }
  page.gauge("cairn_disk_full", "1 while writes are refused because the disk is full.", app.disk_full);
  render_process(page);
  render_pool(page, app.pool);
  render_server(page, app.server->statistics());
  const db::StatementTimes& times = db::statement_times();
  page.histogram("pg_stat_statements_exec_time", "Milliseconds that this server waited for its statements.",
                 db::StatementTimes::kBoundsMs, times.buckets, times.sum_ms);
  return page.take() + (app.reads ? app.reads->metrics() : "") + app.features->metrics();
}

}  // namespace cairn::app
