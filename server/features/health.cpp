#include "features/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "db/transaction.h"
#include "features/values.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using db::Transaction;

constexpr int64_t kSampleRows = 20'000;  // of a view
constexpr int kBins = 10;                // between and beside nine deciles
constexpr double kLeastShare = 1e-4;

constexpr Statement kViews{
    "health_of_feature_views",
    "SELECT v.view_id::int8, v.name, count(l.view_id), max(l.event_time), coalesce(avg((l.event_time < now() -"
    " v.ttl)::int) FILTER (WHERE v.ttl > '0' AND l.view_id IS NOT NULL), 0)::float8"
    " FROM features.feature_views v LEFT JOIN features.latest l USING (view_id) GROUP BY v.view_id ORDER BY v.name"};

// $1: view, $2: percent of the pages. The same pages each time, so that a baseline's two statements see one sample.
std::string from_values(bool sampled) {
  return fmt::format(
      " FROM (SELECT doubles, integers, texts FROM features.latest{} WHERE view_id = $1 AND $2::float8 > 0) l"
      " CROSS JOIN features.view_features f LEFT JOIN features.health_baselines b USING (feature_id)"
      " CROSS JOIN LATERAL (SELECT CASE f.slots WHEN 'doubles' THEN nullif(l.doubles[f.slot], 'NaN')"
      " WHEN 'integers' THEN l.integers[f.slot]::float8 END, CASE f.slots WHEN 'doubles' THEN l.doubles[f.slot] IS NULL"
      " WHEN 'integers' THEN l.integers[f.slot] IS NULL ELSE l.texts[f.slot] IS NULL END) x (number, missing)"
      " WHERE f.view_id = $1 AND NOT f.removed",
      sampled ? " TABLESAMPLE SYSTEM ($2::float8) REPEATABLE (1)" : "");
}

// Twenty parts with as many values each: the distribution as a page draws it.
constexpr const char* kQuantilesSql =
    "percentile_disc(ARRAY(SELECT q / 20.0::float8 FROM generate_series(0, 20) q)) WITHIN GROUP (ORDER BY x.number)";

std::string features_sql(bool sampled) {
  std::string bins;
  for (int bin = 0; bin < kBins; ++bin)
    bins += fmt::format("{}count(*) FILTER (WHERE width_bucket(x.number, b.edges) = {})", bin == 0 ? "" : ", ", bin);
  return "SELECT f.feature_id::text, f.name, f.value_type, avg(x.missing::int)::float8, min(x.number), max(x.number),"
         " avg(x.number), b.saved_at, b.null_rate, coalesce(b.shares, '{}'), ARRAY[" +
         bins + "], cardinality(coalesce(b.edges, '{}'))::int8, " + std::string(kQuantilesSql) + from_values(sampled) +
         " GROUP BY f.feature_id, b.feature_id ORDER BY f.ordinal";
}

std::string save_edges_sql(bool sampled) {
  return "INSERT INTO features.health_baselines (feature_id, null_rate, edges) SELECT feature_id, null_rate,"
         " ARRAY(SELECT DISTINCT e FROM unnest(deciles) e WHERE e IS NOT NULL ORDER BY e) FROM (SELECT f.feature_id,"
         " avg(x.missing::int)::float8 AS null_rate, percentile_disc(ARRAY[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, "
         "0.9])"
         " WITHIN GROUP (ORDER BY x.number) AS deciles" +
         from_values(sampled) +
         " GROUP BY f.feature_id) s ON CONFLICT (feature_id) DO UPDATE SET saved_at = now(),"
         " null_rate = excluded.null_rate, edges = excluded.edges, shares = '{}'";
}

const std::string kFeaturesSql[] = {features_sql(false), features_sql(true)};
const std::string kSaveEdgesSql[] = {save_edges_sql(false), save_edges_sql(true)};
const Statement kFeatures[] = {{"health_of_features", kFeaturesSql[0]},
                               {"health_of_sampled_features", kFeaturesSql[1]}};
const Statement kSaveEdges[] = {{"save_feature_edges", kSaveEdgesSql[0]},
                                {"save_sampled_feature_edges", kSaveEdgesSql[1]}};
constexpr Statement kSaveShares{"save_feature_shares",
                                "UPDATE features.health_baselines SET shares = $2 WHERE feature_id = $1::uuid"};

std::optional<double> optional_number(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return rows.number(row, column);
}

std::optional<int64_t> optional_time(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return rows.timestamp_us(row, column);
}

FeatureHealth feature_of(const Rows& rows, int i) {
  FeatureHealth feature;
  feature.id = rows.text(i, 0);
  feature.name = rows.text(i, 1);
  feature.type = rows.text(i, 2);
  feature.null_rate = rows.number(i, 3);
  feature.min = optional_number(rows, i, 4);
  feature.max = optional_number(rows, i, 5);
  feature.mean = optional_number(rows, i, 6);
  feature.baseline_us = optional_time(rows, i, 7);
  feature.baseline_null_rate = optional_number(rows, i, 8);
  std::vector<int64_t> bins = rows.integers(i, 10);
  bins.resize(rows.integer(i, 11) == 0 ? 0 : static_cast<size_t>(rows.integer(i, 11) + 1));
  double total = 0;
  for (const int64_t count : bins) total += static_cast<double>(count);
  for (const int64_t count : bins)
    if (total > 0) feature.shares.push_back(static_cast<double>(count) / total);
  for (const std::optional<double>& value : rows.optional_numbers(i, 12))
    if (value) feature.quantiles.push_back(*value);
  const std::vector<double> expected = rows.numbers(i, 9);
  if (!expected.empty() && expected.size() == feature.shares.size())
    feature.psi = population_stability_index(expected, feature.shares);
  return feature;
}

// Whether a sample is looked at: an index of the statements.
size_t sampled(const ViewHealth& view) { return view.entities > kSampleRows ? 1 : 0; }

Params sample_of(const ViewHealth& view) {
  return Params::of(view.id, 100 * double(kSampleRows) / double(std::max(view.entities, kSampleRows)));
}

std::vector<ViewHealth> views_of(const Rows& rows) {
  std::vector<ViewHealth> views;
  for (int i = 0; i < rows.size(); ++i)
    views.push_back(
        {rows.integer(i, 0), rows.text(i, 1), rows.integer(i, 2), optional_time(rows, i, 3), rows.number(i, 4), {}});
  return views;
}

std::optional<double> freshness_s(const ViewHealth& view, int64_t now_us) {
  if (!view.newest_us) return std::nullopt;
  return static_cast<double>(now_us - *view.newest_us) / 1e6;
}

// As Prometheus reads a label's value.
std::string label(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text;
}

}  // namespace

double population_stability_index(const std::vector<double>& expected, const std::vector<double>& actual) {
  double index = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double q = std::max(expected[i], kLeastShare), p = std::max(actual[i], kLeastShare);
    index += (p - q) * std::log(p / q);
  }
  return index;
}

task<std::vector<ViewHealth>> read_health(db::Pool& pool) {
  std::vector<ViewHealth> views = views_of(co_await pool.query(kViews));
  for (ViewHealth& view : views) {
    const Rows rows = co_await pool.query(kFeatures[sampled(view)], sample_of(view));
    for (int i = 0; i < rows.size(); ++i) view.features.push_back(feature_of(rows, i));
  }
  co_return views;
}

task<int64_t> save_baselines(db::Pool& pool) {
  auto body = [](Transaction& transaction) -> task<int64_t> {
    const std::vector<ViewHealth> views = views_of(co_await transaction.query(kViews));
    int64_t saved = 0;
    for (const ViewHealth& view : views) {
      const Rows edges = co_await transaction.query(kSaveEdges[sampled(view)], sample_of(view));
      saved += edges.affected();
      const Rows rows = co_await transaction.query(kFeatures[sampled(view)], sample_of(view));
      for (int i = 0; i < rows.size(); ++i) {
        const FeatureHealth feature = feature_of(rows, i);
        co_await transaction.query(kSaveShares, Params::of(feature.id, feature.shares));
      }
    }
    co_return saved;
  };
  co_return co_await db::with_transaction(pool, db::Isolation::kRepeatableRead, body);
}

std::string health_json(const std::vector<ViewHealth>& views, int64_t now_us) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.key("feature_views");
  out.begin_array();
  for (const ViewHealth& view : views) {
    out.begin_object();
    out.field("name", view.name);
    out.field("entities", view.entities);
    out.field("freshness_s", freshness_s(view, now_us));
    out.field("stale_rate", view.stale_rate);
    out.key("features");
    out.begin_array();
    for (const FeatureHealth& feature : view.features) {
      out.begin_object();
      out.field("name", feature.name);
      out.field("value_type", feature.type);
      out.field("null_rate", feature.null_rate);
      out.field("min", feature.min);
      out.field("max", feature.max);
      out.field("mean", feature.mean);
      if (!feature.quantiles.empty()) {
        out.key("quantiles");
        out.begin_array();
        for (const double value : feature.quantiles) out.number(value);
        out.end_array();
      }
      out.field("psi", feature.psi);
      out.field("baseline_null_rate", feature.baseline_null_rate);
      if (feature.baseline_us) out.field("baseline_saved_at", shown_time(*feature.baseline_us));
      out.end_object();
    }
    out.end_array();
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text;
}

std::string health_metrics(const std::vector<ViewHealth>& views, int64_t now_us) {
  std::string text;
  const auto family = [&](const char* name, const char* help) {
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", name, help);
  };
  const auto of_views = [&](const char* name, const char* help, auto value) {
    family(name, help);
    for (const ViewHealth& view : views)
      if (const std::optional<double> number = value(view))
        text += fmt::format("{}{{feature_view=\"{}\"}} {}\n", name, label(view.name), *number);
  };
  const auto of_features = [&](const char* name, const char* help, auto value) {
    family(name, help);
    for (const ViewHealth& view : views)
      for (const FeatureHealth& feature : view.features)
        if (const std::optional<double> number = value(feature))
          text += fmt::format("{}{{feature_view=\"{}\",feature=\"{}\"}} {}\n", name, label(view.name),
                              label(feature.name), *number);
  };
  using Number = std::optional<double>;
  of_views("cairn_feature_entities", "Entities that have values.",
           [](const ViewHealth& v) { return Number(double(v.entities)); });
  of_views("cairn_feature_freshness_seconds", "Age of the newest event.",
           [&](const ViewHealth& v) { return freshness_s(v, now_us); });
  of_views("cairn_feature_stale_ratio", "Share of entities whose values are older than the ttl.",
           [](const ViewHealth& v) { return Number(v.stale_rate); });
  of_features("cairn_feature_null_ratio", "Share of entities without a value.",
              [](const FeatureHealth& f) { return Number(f.null_rate); });
  of_features("cairn_feature_min", "The least value.", [](const FeatureHealth& f) { return f.min; });
  of_features("cairn_feature_max", "The greatest value.", [](const FeatureHealth& f) { return f.max; });
  of_features("cairn_feature_mean", "The mean value.", [](const FeatureHealth& f) { return f.mean; });
  of_features("cairn_feature_drift_psi", "Population stability index against the baseline.",
              [](const FeatureHealth& f) { return f.psi; });
  return text;
}

}  // namespace cairn::features
