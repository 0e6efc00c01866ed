// Health beside figures that are known: values are 1 to n.
#include <cmath>

#include "features/health.h"
#include "features/testing.h"

namespace cairn::features {
namespace {

class HealthTest : public FeaturesTest {
 protected:
  // Drivers 1 to n; `value` is SQL over n.
  void fill(int count, const std::string& value) {
    database_.execute(
        fmt::format("INSERT INTO features.latest SELECT view_id, n::text, timestamptz '2026-01-01 00:00:00+00', now(), "
                    "ARRAY[{}]::float8[],"
                    " ARRAY[n, n % 2]::int8[], ARRAY[NULL, CASE WHEN n % 4 = 0 THEN 'x' END] FROM "
                    "features.feature_views, generate_series(1, {}) n"
                    " WHERE name = 'stats' ON CONFLICT (view_id, entity_key) DO UPDATE SET doubles = excluded.doubles",
                    value, count));
  }
  const FeatureHealth& feature(const std::vector<ViewHealth>& views, const std::string& name) {
    const auto view = std::ranges::find(views, "stats", &ViewHealth::name);
    return *std::ranges::find(view->features, name, &FeatureHealth::name);
  }
  std::vector<ViewHealth> health() { return reactor_.block_on(read_health(*pool_)); }
};

TEST(Health, TheIndexIsWhatItsFormulaSays) {
  EXPECT_DOUBLE_EQ(population_stability_index({0.5, 0.5}, {0.5, 0.5}), 0);
  EXPECT_NEAR(population_stability_index({0.5, 0.5}, {0.75, 0.25}), 0.25 * std::log(1.5) - 0.25 * std::log(0.5), 1e-12);
  EXPECT_GT(population_stability_index({1, 0}, {0, 1}), 10);
}

TEST_F(HealthTest, R09_FreshnessNullsRangesAndDriftOfEachFeature) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  EXPECT_TRUE(std::ranges::all_of(health(),
                                  [](const ViewHealth& view) { return view.entities == 0 && view.features.empty(); }));
  fill(1000, "CASE WHEN n > 100 THEN n END");
  auto views = health();
  EXPECT_EQ(feature(views, "conv_rate").null_rate, 0.1);
  EXPECT_EQ(feature(views, "conv_rate").min, 101);
  EXPECT_EQ(feature(views, "conv_rate").max, 1000);
  EXPECT_EQ(feature(views, "conv_rate").mean, 550.5);
  EXPECT_EQ(feature(views, "active").mean, 0.5);
  EXPECT_EQ(feature(views, "note").null_rate, 0.75);
  EXPECT_FALSE(feature(views, "conv_rate").psi);
  EXPECT_EQ(post("/api/v1/features/health/baseline", "{}").body, R"({"features":5})");
  views = health();
  EXPECT_NEAR(*feature(views, "conv_rate").psi, 0, 1e-12);
  EXPECT_NEAR(*feature(views, "active").psi, 0, 1e-12);
  EXPECT_FALSE(feature(views, "note").psi);
  EXPECT_EQ(feature(views, "note").baseline_null_rate, 0.75);
  // Half of the values moved beyond the greatest: deciles 1 to 5 of ten are empty, and the last one has six tenths.
  fill(1000, "CASE WHEN n > 550 THEN n WHEN n > 100 THEN 5000 + n END");
  views = health();
  const double expected = 5 * (1e-4 - 0.1) * std::log(1e-4 / 0.1) + 0.5 * std::log(6.0);
  EXPECT_NEAR(*feature(views, "conv_rate").psi, expected, 0.05);
  EXPECT_GT(*feature(views, "conv_rate").psi, kDrifted);
  fill(1000, "CASE WHEN n > 100 THEN 'NaN'::float8 END");
  EXPECT_FALSE(feature(health(), "conv_rate").psi);
  fill(1000, "NULL");
  EXPECT_EQ(feature(health(), "conv_rate").null_rate, 1);
}

TEST_F(HealthTest, VeryManyEntitiesAreSampled) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  fill(60'000, "n");
  reactor_.block_on(save_baselines(*pool_));
  const auto views = health();
  EXPECT_NEAR(*feature(views, "conv_rate").psi, 0, 1e-12);
  EXPECT_NEAR(*feature(views, "conv_rate").mean, 30'000, 15'000);
  EXPECT_EQ(std::ranges::find(views, "stats", &ViewHealth::name)->entities, 60'000);
}

TEST_F(HealthTest, MetricsAreWhatPrometheusReads) {
  ASSERT_EQ(apply(kDrivers).status, 200);
  fill(10, "n");
  const int64_t new_year_us = 1'767'225'600'000'000;
  const std::string text = health_metrics(health(), new_year_us + 90'000'000);
  for (const char* line : {"# TYPE cairn_feature_freshness_seconds gauge\n",
                           "cairn_feature_freshness_seconds{feature_view=\"stats\"} 90\n",
                           "cairn_feature_max{feature_view=\"stats\",feature=\"conv_rate\"} 10\n",
                           "cairn_feature_entities{feature_view=\"in_city\"} 0\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << " in\n" << text;
  EXPECT_EQ(text.find("drift_psi{"), std::string::npos);
  const std::string json = health_json(health(), new_year_us + 90'000'000);
  EXPECT_NE(json.find(R"({"name":"stats","entities":10,"freshness_s":90.0,"stale_rate":0.0,)"), std::string::npos)
      << json;
}

}  // namespace
}  // namespace cairn::features
