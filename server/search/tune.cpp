#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "db/transaction.h"
#include "search/index.h"

namespace cairn::search {
namespace {

using db::Params;
using db::Statement;

using Clock = std::chrono::steady_clock;

constexpr int kNearest = 10;

// {0}: the chunks' table.
constexpr const char* kSample =
    "SELECT array_agg(chunk_id) FROM (SELECT chunk_id FROM {0} WHERE embedding IS NOT NULL ORDER BY random()"
    " LIMIT $1) s";

// The distances of the nearest to each of the chunks $1, itself left out. {1}: the metric's operator.
constexpr const char* kNearestTo =
    "SELECT ARRAY(SELECT (c.embedding {1} q.embedding)::float8 FROM {0} c WHERE c.chunk_id <> q.chunk_id"
    " AND c.embedding IS NOT NULL ORDER BY c.embedding {1} q.embedding LIMIT 10)"
    " FROM {0} q WHERE q.chunk_id = ANY($1) ORDER BY q.chunk_id";

constexpr Statement kExactly{"search_tune_exactly",
                             "SELECT set_config('enable_indexscan', 'off', true), set_config('jit', 'off', true)"};
// Only the index, whatever the planner thinks of it: it is what is judged.
constexpr Statement kByIndex{"search_tune_by_index",
                             "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),"
                             " set_config('hnsw.iterative_scan', 'off', true), set_config($1, $2, true),"
                             " set_config('jit', 'off', true)"};

struct Measured {
  std::vector<std::vector<double>> distances;
  double ms_mean = 0;
};

task<Measured> measure(db::Pool& pool, db::Query settings, const std::string& sql, const std::vector<int64_t>& ids) {
  const Statement search{"", sql};
  auto body = [&](db::Transaction& transaction) -> task<Measured> {
    std::vector<db::Query> first;
    first.push_back(settings);
    co_await transaction.run(std::move(first));
    const auto begun = Clock::now();
    const db::Rows rows = co_await transaction.query(search, Params::of(ids));
    Measured measured;
    measured.ms_mean = std::chrono::duration<double, std::milli>(Clock::now() - begun).count() / double(ids.size());
    for (int row = 0; row < rows.size(); ++row) measured.distances.push_back(rows.numbers(row, 0));
    co_return measured;
  };
  co_return co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
}

// Which part of the nearest was found; one as near as the last of them counts.
double recall_of(const Measured& found, const Measured& exact) {
  int64_t right = 0, all = 0;
  for (size_t i = 0; i < exact.distances.size() && i < found.distances.size(); ++i) {
    if (exact.distances[i].empty()) continue;
    const double last = exact.distances[i].back();
    const double bound = last + 1e-6 * std::max(1.0, std::abs(last));
    all += int64_t(exact.distances[i].size());
    right += std::ranges::count_if(found.distances[i], [&](double distance) { return distance <= bound; });
  }
  return all == 0 ? 1 : double(right) / double(all);
}

constexpr Statement kHas{
    "search_tune_has",
    "SELECT a.amname::text, coalesce((SELECT option_value::bigint FROM pg_options_to_table(i.reloptions)"
    " WHERE option_name = 'lists'), 100) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
    " JOIN pg_am a ON a.oid = i.relam WHERE x.indrelid = to_regclass($1) AND x.indisvalid"
    " AND a.amname IN ('hnsw', 'ivfflat') LIMIT 1"};

constexpr Statement kSet{"search_tune_set",
                         "UPDATE search.collections SET ef_search = $2, probes = $3 WHERE collection_id = $1"};

std::vector<int> settings_of(const std::string& kind, int64_t lists) {
  if (kind == "hnsw") return {10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 1000};
  std::vector<int> probes;
  for (int64_t next = 1; next < lists; next += std::max<int64_t>(1, next / 2)) probes.push_back(int(next));
  probes.push_back(int(lists));
  return probes;
}

}  // namespace

task<TuneReport> tune_index(db::Pool& pool, std::string name, double recall, int sample, Say say) {
  if (!(recall > 0 && recall <= 1)) throw invalid("the recall that is wanted is more than 0 and at most 1");
  if (sample < 1 || sample > 10000) throw invalid("a sample has 1 to 10000 searches");
  const Collection collection = co_await require_collection(pool, name);
  TuneReport report;
  report.wanted = recall;
  const db::Rows has = co_await pool.query(kHas, Params::of(collection.chunks_table()));
  if (has.empty()) {
    report.reached = true;
    co_return report;
  }
  const bool hnsw = has.text(0, 0) == "hnsw";
  report.setting = hnsw ? "hnsw.ef_search" : "ivfflat.probes";
  const std::string sample_sql = fmt::format(kSample, collection.chunks_table());
  const Statement sampled{"", sample_sql};
  const db::Rows ids_row = co_await pool.query(sampled, Params::of(int64_t{sample}));
  const std::vector<int64_t> ids = ids_row.integers(0, 0);
  report.sample = int64_t(ids.size());
  if (ids.empty()) throw invalid("the collection '" + name + "' has no vectors yet");
  const std::string sql = fmt::format(kNearestTo, collection.chunks_table(), collection.distance());
  if (say) say(fmt::format("{} exact searches", ids.size()));
  const db::Query exactly{kExactly, {}};
  const Measured exact = co_await measure(pool, exactly, sql, ids);
  report.exact_ms_mean = exact.ms_mean;
  for (const int setting : settings_of(has.text(0, 0), has.integer(0, 1))) {
    const db::Query by_index{kByIndex, Params::of(report.setting, std::to_string(setting))};
    const Measured found = co_await measure(pool, by_index, sql, ids);
    const TuneStep step{setting, recall_of(found, exact), found.ms_mean};
    report.steps.push_back(step);
    if (say) say(fmt::format("{} = {}: recall {:.3f}", report.setting, setting, step.recall));
    report.reached = step.recall >= recall;
    if (report.reached) break;
  }
  const int64_t chosen = report.steps.back().setting;
  const std::optional<int64_t> none;
  const std::optional<int64_t> some = chosen;
  co_await pool.query(kSet, Params::of(int64_t{collection.id}, hnsw ? some : none, hnsw ? none : some));
  co_return report;
}

std::string as_json(const TuneReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  if (!report.setting.empty()) out.field("setting", report.setting);
  out.field("wanted", report.wanted);
  out.field("reached", report.reached);
  if (!report.steps.empty()) {
    out.field("chosen", report.steps.back().setting);
    out.field("recall", report.steps.back().recall);
    out.field("sample", report.sample);
    out.field("exact_ms_mean", report.exact_ms_mean);
  }
  out.key("steps");
  out.begin_array();
  for (const TuneStep& step : report.steps) {
    out.begin_object();
    out.field("setting", step.setting);
    out.field("recall", step.recall);
    out.field("latency_ms_mean", step.latency_ms_mean);
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

}  // namespace cairn::search
