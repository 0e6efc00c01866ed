// /metrics: what the process counts, as Prometheus reads it.
#include <cstdio>
#include <sstream>

#include "app/app.h"
#include "base/version.h"

namespace cairn::app {
namespace {

class Page {
 public:
  void gauge(const char* name, const char* help, double value) { metric(name, "gauge", help, value); }
  void counter(const char* name, const char* help, double value) { metric(name, "counter", help, value); }
  void family(const char* name, const char* type, const char* help) {
    out_ << "# HELP " << name << " " << help << "\n# TYPE " << name << " " << type << "\n";
  }
  void sample(const std::string& name_and_labels, double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    out_ << name_and_labels << " " << text << "\n";
  }
  std::string take() { return out_.str(); }

 private:
  void metric(const char* name, const char* type, const char* help, double value) {
    family(name, type, help);
    sample(name, value);
  }
  std::ostringstream out_;
};

void render_pool(Page& page, const db::Pool& pool) {
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

void render_server(Page& page, const http::ServerStatistics& statistics) {
  page.gauge("cairn_http_connections", "Connections open now.", double(statistics.connections_open));
  page.counter("cairn_http_connections_total", "Connections accepted.", double(statistics.connections_total));
  page.gauge("cairn_http_requests_in_flight", "Requests under way.", double(statistics.requests_in_flight));
  page.counter("cairn_http_rejected_total", "Requests and connections refused for load.",
               double(statistics.rejected_total));
  page.family("cairn_http_responses_total", "counter", "Responses by the first digit of their status.");
  for (int digit = 1; digit <= 5; ++digit) {
    page.sample("cairn_http_responses_total{class=\"" + std::to_string(digit) + "xx\"}",
                double(statistics.responses_by_class[digit]));
  }
  page.family("cairn_http_request_duration_seconds", "histogram", "Time from a request's last byte to its response.");
  size_t bucket = 0;
  for (const double bound : http::ServerStatistics::kBounds) {
    char label[16];
    std::snprintf(label, sizeof label, "%g", bound);
    page.sample(std::string("cairn_http_request_duration_seconds_bucket{le=\"") + label + "\"}",
                double(statistics.duration_buckets[bucket++]));
  }
  page.sample("cairn_http_request_duration_seconds_bucket{le=\"+Inf\"}", double(statistics.duration_buckets[bucket]));
  page.sample("cairn_http_request_duration_seconds_sum", statistics.duration_sum);
  page.sample("cairn_http_request_duration_seconds_count", double(statistics.duration_buckets[bucket]));
}

}  // namespace

std::string render_metrics(const App& app) {
  Page page;
  page.family("cairn_build_info", "gauge", "The version that runs.");
  page.sample("cairn_build_info{version=\"" + std::string(kVersion) + "\"}", 1);
  if (app.cluster != nullptr) {
    page.gauge("cairn_postgres_ready", "1 while the embedded PostgreSQL takes connections.", app.cluster->ready());
    page.counter("cairn_postgres_restarts_total", "Restarts of the embedded PostgreSQL after it died.",
                 app.cluster->restarts());
  }
  page.gauge("cairn_disk_full", "1 while writes are refused because the disk is full.", app.disk_full);
  render_pool(page, app.pool);
  render_server(page, app.server->statistics());
  return page.take();
}

}  // namespace cairn::app
