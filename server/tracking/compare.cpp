// Compares runs as they were at one moment: all of them are read on one repeatable-read snapshot.
#include "tracking/compare.h"

#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/run_json.h"

namespace cairn::tracking {
namespace {

constexpr size_t kMostRuns = 100;

constexpr db::Statement kIds{
    "compare_ids",
    "SELECT r.run_id, r.id FROM tracking.training_runs r WHERE r.run_id = ANY((SELECT $1::text[])::text[])"};

// In the order in which they were asked for.
task<std::vector<RunView>> read_runs(db::Transaction& transaction, const std::vector<std::string>& run_ids) {
  const db::Rows rows = co_await transaction.query(kIds, db::Params::of(run_ids));
  std::unordered_map<std::string, int64_t> found;
  for (int i = 0; i < rows.size(); ++i) found.emplace(rows.text(i, 0), rows.integer(i, 1));
  std::vector<int64_t> ids;
  for (const std::string& run_id : run_ids) {
    const auto id = found.find(run_id);
    if (id == found.end()) throw not_found("Run with id=" + run_id + " not found");
    ids.push_back(id->second);
  }
  co_return co_await load_runs(transaction, ids);
}

// By key: one value for each run as JSON text, null where it has none.
using Table = std::map<std::string, std::vector<std::string>>;

// [{"key":…, "differs":…, "values":[…]}]
void write_table(json::Writer& writer, const char* name, const Table& table) {
  writer.key(name);
  writer.begin_array();
  for (const auto& [key, values] : table) {
    writer.begin_object();
    writer.field("key", key);
    writer.field("differs", std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) != values.end());
    writer.key("values");
    writer.begin_array();
    for (const std::string& value : values) writer.raw(value);
    writer.end_array();
    writer.end_object();
  }
  writer.end_array();
}

void write_comparison(json::Writer& writer, const std::vector<RunView>& runs) {
  Table params, metrics;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto place = [&](Table& table, const std::string& key) -> std::string& {
      return table.try_emplace(key, runs.size(), "null").first->second[i];
    };
    for (const auto& [key, value] : runs[i].params) place(params, key) = json::quote(value);
    for (const MetricView& metric : runs[i].metrics) {
      std::string& text = place(metrics, metric.key);
      text.clear();
      json::Writer(text).number(metric.value);
    }
  }
  writer.begin_object();
  writer.key("runs");
  writer.begin_array();
  for (const RunView& run : runs) write_run_info(writer, run);
  writer.end_array();
  write_table(writer, "params", params);
  write_table(writer, "metrics", metrics);
  writer.end_object();
}

task<http::Response> compare(db::Pool& pool, http::Request& request) {
  std::vector<std::string> run_ids;
  {
    const http::Arguments arguments(request);
    run_ids = arguments->strings("run_id");
  }
  if (run_ids.empty()) throw invalid("Nothing to compare: give run_id once for each run, as in ?run_id=a&run_id=b.");
  if (run_ids.size() > kMostRuns)
    throw invalid("At most " + std::to_string(kMostRuns) + " runs can be compared; got " +
                  std::to_string(run_ids.size()) + ".");
  auto body = [&](db::Transaction& transaction) { return read_runs(transaction, run_ids); };
  const std::vector<RunView> runs = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  std::string out;
  json::Writer writer(out);
  write_comparison(writer, runs);
  co_return http::json_response(std::move(out));
}

}  // namespace

void register_compare_route(http::Router& router, db::Pool& pool) {
  router.add("GET", "/api/v1/runs/compare", [&pool](http::Request& request) { return compare(pool, request); });
}

}  // namespace cairn::tracking
