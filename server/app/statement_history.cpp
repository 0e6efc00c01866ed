#include "app/statement_history.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"

namespace cairn::app {
namespace {

using namespace std::chrono_literals;

constexpr auto kInterval = 15s;
constexpr size_t kSamples = 1440;  // six hours
constexpr size_t kEntries = 40;    // of a sample
constexpr double kLeastMs = 0.1;   // that is worth an entry

constexpr db::Statement kSchema{"history_schema", R"(/* cairn tune */
SELECT quote_ident(n.nspname), string_to_array(e.extversion, '.')::int[] >= '{1,9}'
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements' AND current_setting('pg_stat_statements.max', true) IS NOT NULL)"};

// Without the texts, which PostgreSQL would read from a file; without what functions run, which is in their callers'
// time (known from version 1.9 on). What others' statements took may not be told: NULL.
std::string counters_sql(const std::string& quoted_schema, bool has_toplevel) {
  return R"(/* cairn tune */
SELECT d.datname::text, s.queryid, sum(s.calls)::int8, sum(s.total_exec_time), clock_timestamp()
FROM )" + quoted_schema +
         ".pg_stat_statements(false) s JOIN pg_database d ON d.oid = s.dbid WHERE s.queryid IS NOT NULL" +
         (has_toplevel ? " AND s.toplevel" : "") + " GROUP BY 1, 2";
}

}  // namespace

task<> StatementHistory::keep() {
  for (;;) {
    try {
      co_await look();
    } catch (const Error&) {
      // The database is away, or does not let this role look. Others say so loudly enough.
    }
    co_await sleep_for(kInterval);
  }
}

task<> StatementHistory::look() {
  const db::Rows schema = co_await pool_.query(kSchema);
  if (schema.empty()) co_return;
  const std::string sql = counters_sql(schema.text(0, 0), schema.boolean(0, 1));
  const db::Statement statement{"", sql};
  const db::Rows rows = co_await pool_.query(statement);
  if (!rows.empty()) add(rows);
}

void StatementHistory::add(const db::Rows& rows) {
  Sample sample{rows.timestamp_ms(0, 4), {}, {}};
  std::map<Key, Counters> now;
  for (int i = 0; i < rows.size(); ++i) {
    const Key key{rows.text(i, 0), rows.integer(i, 1)};
    const Counters counters{rows.integer(i, 2), rows.number(i, 3)};
    const auto before = last_.find(key);
    Counters since = counters;  // it is new, or was reset or evicted in between
    if (before != last_.end() && before->second.calls <= counters.calls && before->second.ms <= counters.ms)
      since = {counters.calls - before->second.calls, counters.ms - before->second.ms};
    now[key] = counters;
    if (since.calls == 0) continue;
    Counters& total = sample.totals[key.first];
    total.calls += since.calls;
    total.ms += since.ms;
    if (since.ms >= kLeastMs) sample.entries.push_back({key, since});
  }
  last_ = std::move(now);
  // The first look has nothing to be held against.
  if (!std::exchange(has_last_, true)) return;
  std::ranges::sort(sample.entries, [](const Entry& a, const Entry& b) { return a.counters.ms > b.counters.ms; });
  if (sample.entries.size() > kEntries) sample.entries.resize(kEntries);
  samples_.push_back(std::move(sample));
  if (samples_.size() > kSamples) samples_.pop_front();
}

std::string StatementHistory::as_json(const std::string& database, int64_t after_ms) const {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("interval_s", static_cast<int64_t>(kInterval.count()));
  out.key("samples");
  out.begin_array();
  for (const Sample& sample : samples_) {
    if (sample.at_ms <= after_ms) continue;
    const auto total = sample.totals.find(database);
    out.begin_object();
    out.field("at", sample.at_ms);
    out.field("calls", total == sample.totals.end() ? int64_t{0} : total->second.calls);
    out.field("total_ms", total == sample.totals.end() ? 0.0 : total->second.ms);
    out.key("statements");
    out.begin_array();
    for (const Entry& entry : sample.entries) {
      if (entry.key.first != database) continue;
      out.begin_object();
      out.field("queryid", std::to_string(entry.key.second));  // as a string: JavaScript's numbers are doubles
      out.field("calls", entry.counters.calls);
      out.field("total_ms", entry.counters.ms);
      out.end_object();
    }
    out.end_array();
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

}  // namespace cairn::app
