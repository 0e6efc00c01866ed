#include "monitor/alerts.h"

#include <fmt/format.h>

#include <cmath>

namespace cairn::monitor {
namespace {

// What is kept for a day, as queries.
constexpr std::pair<const char*, const char*> kFigures[] = {
    {"connections", "sum(pg_connections)"},
    {"connections_active", "sum(pg_connections{state=\"active\"})"},
    {"connections_idle_in_transaction", "sum(pg_connections{state=~\"idle in transaction.*\"})"},
    {"waiting_for_lock", "pg_stat_activity_waiting_for_lock"},
    {"locks", "sum(pg_locks_count)"},
    {"longest_transaction_s", "max(pg_stat_activity_max_tx_duration)"},
    {"transactions_per_second",
     "sum(rate(pg_stat_database_xact_commit[5m])) + sum(rate(pg_stat_database_xact_rollback[5m]))"},
    {"rollbacks_per_second", "sum(rate(pg_stat_database_xact_rollback[5m]))"},
    {"rows_written_per_second",
     "sum(rate(pg_stat_database_tup_inserted[5m])) + sum(rate(pg_stat_database_tup_updated[5m])) +"
     " sum(rate(pg_stat_database_tup_deleted[5m]))"},
    {"deadlocks_per_second", "rate(pg_deadlocks[5m])"},
    {"cache_hit_ratio", "pg_cache_hit_ratio"},
    {"blocks_read_per_second", "sum(rate(pg_stat_database_blks_read[5m]))"},
    {"temp_bytes_per_second", "sum(rate(pg_stat_database_temp_bytes[5m]))"},
    {"wal_bytes_per_second", "rate(pg_wal_position_bytes[5m])"},
    {"database_size_bytes", "pg_database_size"},
    {"dead_rows", "sum(pg_stat_user_tables_n_dead_tup)"},
    {"slow_queries", "pg_slow_queries"},
    {"statement_p50_ms", "histogram_quantile(0.5, sum by (le) (rate(pg_stat_statements_exec_time_bucket[5m])))"},
    {"statement_p95_ms", "histogram_quantile(0.95, sum by (le) (rate(pg_stat_statements_exec_time_bucket[5m])))"},
    {"statement_p99_ms", "histogram_quantile(0.99, sum by (le) (rate(pg_stat_statements_exec_time_bucket[5m])))"},
    {"requests_per_second", "sum(rate(cairn_http_responses_total[5m]))"},
    {"request_p99_s", "histogram_quantile(0.99, sum by (le) (rate(cairn_http_request_duration_seconds_bucket[5m])))"},
    {"pool_in_use", "cairn_pool_in_use"},
    {"pool_waiting", "cairn_pool_waiting"},
    {"replication_lag_s", "pg_replication_lag_seconds"},
};

}  // namespace

std::string expand(const std::string& text, const LabelMap& labels, double value) {
  std::string result;
  size_t at = 0;
  for (size_t open; (open = text.find("{{ ", at)) != std::string::npos;) {
    const size_t close = text.find(" }}", open);
    if (close == std::string::npos) break;
    const std::string inside = text.substr(open + 3, close - open - 3);
    result += text.substr(at, open - at);
    if (inside.starts_with("$labels.")) {
      const auto label = labels.find(inside.substr(8));
      if (label != labels.end()) result += label->second;
    } else {
      result += fmt::format("{:.4g}", value);
    }
    at = close + 3;
  }
  return result + text.substr(at);
}

std::string Alert::description() const { return expand(rule->description, labels, value); }

AlertBook::AlertBook(double scale) : scale_(scale) {
  for (const Rule& rule : rules()) {
    if (rule.needs_prometheus) continue;
    watched_.push_back({&rule, Query(rule.expr, scale), {}});
    watched_.back().query.ask_for(store_);
  }
  for (const auto& [name, expr] : kFigures) {
    figure_queries_.emplace_back(name, Query(expr, scale));
    figure_queries_.back().second.ask_for(store_);
  }
}

AlertBook::Change AlertBook::look(const std::vector<Sample>& samples, double now) {
  if (!first_look_) first_look_ = now;
  last_look_ = now;
  store_.add(samples, now);
  Change change;
  for (Watched& watched : watched_) look(watched, now, change);
  return change;
}

void AlertBook::look(Watched& watched, double now, Change& change) {
  std::map<LabelMap, Watched::State> states;
  const double lasting = static_cast<double>(watched.rule->lasting.count()) * scale_;
  for (Element& element : watched.query.evaluate(store_, now)) {
    element.labels.erase("__name__");
    const auto known = watched.states.find(element.labels);
    Watched::State state = known == watched.states.end()
                               ? Watched::State{{watched.rule, element.labels, element.value, now}, false}
                               : known->second;
    state.alert.value = element.value;
    if (!state.firing && now - state.alert.since >= lasting) {
      state.firing = true;
      change.started.push_back(state.alert);
    }
    states.insert_or_assign(element.labels, std::move(state));
  }
  for (auto& [labels, state] : watched.states) {
    if (!state.firing || states.contains(labels)) continue;
    // What another process saw fire is not over because this one has not looked for long enough to tell.
    if (state.alert.since < *first_look_ && now - *first_look_ <= watched.query.range())
      states.emplace(labels, state);
    else
      change.ended.push_back(state.alert);
  }
  watched.states = std::move(states);
}

bool AlertBook::resume(const std::string& alert, const LabelMap& labels, double since) {
  for (Watched& watched : watched_) {
    if (watched.rule->alert != alert) continue;
    watched.states.insert_or_assign(labels, Watched::State{{watched.rule, labels, 0, since}, true});
    return true;
  }
  return false;
}

std::vector<std::pair<std::string, double>> AlertBook::figures() const {
  std::vector<std::pair<std::string, double>> figures;
  for (const auto& [name, query] : figure_queries_) {
    const Vector values = query.evaluate(store_, last_look_);
    if (!values.empty() && std::isfinite(values[0].value)) figures.emplace_back(name, values[0].value);
  }
  return figures;
}

}  // namespace cairn::monitor
