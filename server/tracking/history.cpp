// Reads a series from its last point, its tail and its chunks (docs/formats/metrics.md), sorts it by (timestamp, step,
// value) as MLflow does, and leaves out exact duplicates. A page token names the last point that was given, so that a
// page stays right while points are added. Histories of several runs are of one snapshot; one run's is read at a time.
#include "tracking/history.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <tuple>

#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"

namespace cairn::tracking {
namespace {

using http::Request;
using http::Response;

constexpr int64_t kMaxPage = 25000;
constexpr size_t kMaxBulkRuns = 100;
constexpr int64_t kMaxInterval = 2500;

// One row of three arrays for the series' head and one for each chunk that may hold points from $3 on.
constexpr db::Statement kSeries{
    "metric_history",
    "WITH series AS (SELECT s.* FROM tracking.metric_series s JOIN tracking.training_runs r ON r.id = s.run "
    "JOIN tracking.keys k USING (key_id) WHERE r.run_id = $1 AND k.name = $2) "
    "SELECT tail_steps || last_step, tail_timestamps || last_timestamp, tail_values || last_value FROM series "
    "UNION ALL "
    "SELECT c.steps, c.timestamps, c.values FROM series s JOIN tracking.metric_chunks c USING (run, key_id) "
    "WHERE c.max_timestamp >= $3"};

struct Point {
  int64_t timestamp;
  int64_t step;
  double value;
  // NaN stands where 0 does, after it.
  auto order() const {
    const bool nan = std::isnan(value);
    return std::tuple(timestamp, step, nan ? 0.0 : value, nan);
  }
  bool operator<(const Point& other) const { return order() < other.order(); }
  bool operator==(const Point& other) const { return order() == other.order(); }
};

std::string page_token(const Point& last) {
  return std::to_string(last.timestamp) + "." + std::to_string(last.step) + "." +
         std::to_string(std::bit_cast<uint64_t>(last.value));
}

Point parse_page_token(const std::string& token) {
  const auto refuse = [&]() -> Error { return invalid("Invalid page token '" + token + "'."); };
  const char* at = token.data();
  const char* end = at + token.size();
  Point point{};
  uint64_t bits = 0;
  auto result = std::from_chars(at, end, point.timestamp);
  if (result.ec != std::errc() || result.ptr == end || *result.ptr != '.') throw refuse();
  result = std::from_chars(result.ptr + 1, end, point.step);
  if (result.ec != std::errc() || result.ptr == end || *result.ptr != '.') throw refuse();
  result = std::from_chars(result.ptr + 1, end, bits);
  if (result.ec != std::errc() || result.ptr != end) throw refuse();
  point.value = std::bit_cast<double>(bits);
  return point;
}

std::vector<Point> read_points(const db::Rows& rows) {
  std::vector<Point> points;
  for (int i = 0; i < rows.size(); ++i) {
    const auto steps = rows.integers(i, 0);
    const auto timestamps = rows.integers(i, 1);
    const auto values = rows.numbers(i, 2);
    for (size_t j = 0; j < steps.size(); ++j) points.push_back({timestamps[j], steps[j], values[j]});
  }
  if (!std::is_sorted(points.begin(), points.end())) std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

void write_point(json::Writer& writer, std::string_view key, const Point& point, const std::string* run_id) {
  writer.begin_object();
  writer.field("key", key);
  writer.field("value", point.value);
  writer.field("timestamp", point.timestamp);
  writer.field("step", point.step);
  if (run_id != nullptr) writer.field("run_id", *run_id);
  writer.end_object();
}

task<Response> get_history(db::Pool& pool, Request& request) {
  std::string run_id, key, token;
  std::optional<int64_t> limit;
  {
    const http::Arguments arguments(request);
    run_id = arguments->string("run_id").value_or("");
    if (run_id.empty()) run_id = arguments->string("run_uuid").value_or("");
    if (run_id.empty()) arguments->required_string("run_id");
    key = arguments->required_string("metric_key");
    token = arguments->string("page_token").value_or("");
    limit = arguments->integer("max_results");
  }
  if (limit && *limit <= 0) {
    throw invalid("Invalid value " + std::to_string(*limit) +
                  " for parameter 'max_results' supplied. It must be a positive integer.");
  }
  std::optional<Point> after;
  if (!token.empty()) after = parse_page_token(token);
  const auto points =
      read_points(co_await pool.query(kSeries, db::Params::of(run_id, key, after ? after->timestamp : INT64_MIN)));
  auto first = after ? std::upper_bound(points.begin(), points.end(), *after) : points.begin();
  const auto left = static_cast<size_t>(points.end() - first);
  const size_t count = limit ? std::min<size_t>(left, std::min(*limit, kMaxPage)) : left;

  Response response;
  response.body.reserve(count * 72 + 64);
  json::Writer writer(response.body);
  writer.begin_object();
  if (count > 0) {
    writer.key("metrics");
    writer.begin_array();
    for (size_t i = 0; i < count; ++i) write_point(writer, key, first[i], nullptr);
    writer.end_array();
  }
  if (count < left) writer.field("next_page_token", page_token(first[count - 1]));
  writer.end_object();
  co_return response;
}

task<Response> get_history_bulk(db::Pool& pool, Request& request) {
  std::vector<std::string> run_ids;
  std::string key;
  int64_t limit = kMaxPage;
  {
    const http::Arguments arguments(request);
    run_ids = arguments->strings("run_id");
    key = arguments->required_string("metric_key");
    limit = std::clamp<int64_t>(arguments->integer("max_results").value_or(kMaxPage), 0, kMaxPage);
  }
  if (run_ids.empty()) throw invalid("GetMetricHistoryBulk request must specify at least one run_id.");
  if (run_ids.size() > kMaxBulkRuns) {
    throw invalid("GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received " +
                  std::to_string(run_ids.size()) + " run_ids.");
  }
  auto body = [&](db::Transaction& tx) -> task<std::string> {
    std::string out;
    json::Writer writer(out);
    writer.begin_object();
    writer.key("metrics");
    writer.begin_array();
    int64_t left = limit;
    for (size_t i = 0; i < run_ids.size() && left > 0; ++i) {
      const auto points = read_points(co_await tx.query(kSeries, db::Params::of(run_ids[i], key, int64_t{INT64_MIN})));
      for (const Point& point : points) {
        if (left-- <= 0) break;
        write_point(writer, key, point, &run_ids[i]);
      }
    }
    writer.end_array();
    writer.end_object();
    co_return out;
  };
  co_return http::json_response(co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body));
}

struct Interval {
  std::vector<std::string> run_ids;
  std::string key;
  int64_t first_step = INT64_MIN, last_step = INT64_MAX;
  size_t max_results = kMaxInterval;  // a run
};

Interval read_interval(const Request& request) {
  const http::Arguments arguments(request);
  Interval interval;
  interval.run_ids = arguments->strings("run_ids");
  if (interval.run_ids.empty()) arguments->required_string("run_ids");
  interval.key = arguments->required_string("metric_key");
  const auto start = arguments->integer("start_step"), end = arguments->integer("end_step");
  if (start.has_value() != end.has_value())
    throw invalid("If either start step or end step are specified, both must be specified.");
  if (start && *start > *end) {
    throw invalid("end_step must be greater than start_step. Found start_step=" + std::to_string(*start) +
                  " and end_step=" + std::to_string(*end) + ".");
  }
  constexpr const char* kMore = " See the API docs for more information about request parameters.";
  if (interval.run_ids.size() > kMaxBulkRuns) {
    throw invalid("GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received " +
                  std::to_string(interval.run_ids.size()) + " run_ids." + kMore);
  }
  const int64_t limit = arguments->integer("max_results").value_or(kMaxInterval);
  if (limit < 1 || limit > kMaxInterval) throw invalid(std::string("max_results must be between 1 and 2500.") + kMore);
  interval.max_results = static_cast<size_t>(limit);
  if (start) interval.first_step = *start, interval.last_step = *end;
  return interval;
}

// The points of the interval by step. Too many are cut into as many pieces of about one length as points are allowed:
// the first of each is taken, and of the last piece the last.
std::vector<Point> sample(std::vector<Point> points, const Interval& interval) {
  std::erase_if(points, [&](const Point& p) { return p.step < interval.first_step || p.step > interval.last_step; });
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.step < b.step; });
  const size_t count = interval.max_results;
  if (points.size() <= count) return points;
  const size_t length = points.size() / count, longer = points.size() % count;
  for (size_t i = 1; i + 1 < count; ++i) points[i] = points[i * length + std::min(i, longer)];
  points[count - 1] = points.back();
  points.resize(count);
  return points;
}

task<Response> get_history_interval(db::Pool& pool, Request& request) {
  const Interval interval = read_interval(request);
  auto body = [&](db::Transaction& transaction) -> task<std::string> {
    std::string out;
    json::Writer writer(out);
    writer.begin_object();
    bool any = false;
    for (const std::string& run_id : interval.run_ids) {
      const db::Rows rows = co_await transaction.query(kSeries, db::Params::of(run_id, interval.key, INT64_MIN));
      for (const Point& point : sample(read_points(rows), interval)) {
        if (!any) {
          writer.key("metrics");
          writer.begin_array();
        }
        any = true;
        write_point(writer, interval.key, point, &run_id);
      }
    }
    if (any) writer.end_array();
    writer.end_object();
    co_return out;
  };
  co_return http::json_response(co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body));
}

}  // namespace

void register_history_routes(http::Router& router, db::Pool& pool) {
  http::add_mlflow_route(router, "GET", "/mlflow/metrics/get-history",
                         [&pool](Request& request) { return get_history(pool, request); });
  router.add("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
             [&pool](Request& request) { return get_history_bulk(pool, request); });
  http::add_mlflow_route(router, "GET", "/mlflow/metrics/get-history-bulk-interval",
                         [&pool](Request& request) { return get_history_interval(pool, request); });
}

}  // namespace cairn::tracking
