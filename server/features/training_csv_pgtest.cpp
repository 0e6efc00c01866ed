// The text of a training set's values beside PostgreSQL's own.
#include "features/training_csv.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "features/testing.h"

namespace cairn::features {
namespace {

using TrainingCsvTest = FeaturesTest;

std::vector<double> hard_numbers() {
  using Limits = std::numeric_limits<double>;
  std::vector<double> numbers{0.0,
                              -0.0,
                              Limits::infinity(),
                              -Limits::infinity(),
                              Limits::quiet_NaN(),
                              Limits::denorm_min(),
                              Limits::min(),
                              Limits::max(),
                              0.1,
                              -2.5,
                              100};
  for (int exponent = -30; exponent <= 60; ++exponent) numbers.push_back(std::pow(10.0, exponent));
  for (int exponent = -1074; exponent <= 1023; ++exponent) numbers.push_back(std::ldexp(1.0, exponent));
  for (size_t i = 0, all = numbers.size(); i < all; ++i) {
    numbers.push_back(std::nextafter(numbers[i], Limits::infinity()));
    numbers.push_back(-std::nextafter(numbers[i], -Limits::infinity()));
  }
  std::mt19937_64 random(20260204);
  const auto below = [&random](uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random); };
  for (int i = 0; i < 20000; ++i) {
    numbers.push_back(std::bit_cast<double>(random()));
    numbers.push_back(static_cast<double>(random() >> below(60)));
    numbers.push_back(static_cast<double>(below(1'000'000'000)) / 1000);
    // Few digits and many noughts: here lie the decimals that are in the middle of two doubles.
    numbers.push_back(static_cast<double>(below(1u << below(31))) * std::pow(10.0, static_cast<double>(below(24))));
    const uint64_t five_to_the_23rd = 11920928955078125;
    numbers.push_back(
        std::ldexp(static_cast<double>(five_to_the_23rd * (2 * below(8) + 1)), static_cast<int>(below(60))));
  }
  return numbers;
}

TEST_F(TrainingCsvTest, R09_NumbersAreWrittenAsPostgresqlWritesThem) {
  const std::vector<double> numbers = hard_numbers();
  const db::Statement as_text{
      "", "SELECT array_agg(x::text ORDER BY n) FROM unnest($1::float8[]) WITH ORDINALITY u (x, n)"};
  const std::vector<std::string> expected =
      reactor_.block_on(pool_->query(as_text, db::Params::of(numbers))).texts(0, 0);
  ASSERT_EQ(expected.size(), numbers.size());
  int different = 0;
  for (size_t i = 0; i < numbers.size() && different < 10; ++i) {
    std::string written;
    append_float8(written, numbers[i]);
    EXPECT_EQ(written, expected[i]) << (different += written != expected[i]);
  }
}

// Whether all of a row's values leave the database or those alone that are asked for.
TEST_F(TrainingCsvTest, R09_SomeOfManyFeaturesComeInTheOrderThatTheyAreAskedFor) {
  ASSERT_EQ(apply(R"({"entities": [{"name": "driver", "join_key": "driver_id", "value_type": "int64"}],
      "feature_views": [{"name": "wide", "entities": ["driver"], "features": [
        {"name": "a", "value_type": "double"}, {"name": "s", "value_type": "string"}, {"name": "b", "value_type": "double"},
        {"name": "c", "value_type": "double"}, {"name": "t", "value_type": "string"}, {"name": "u", "value_type": "string"},
        {"name": "d", "value_type": "double"}, {"name": "i", "value_type": "int64"}, {"name": "e", "value_type": "double"}]}]})")
                .status,
            200);
  ASSERT_EQ(write("wide", R"({"driver_id": [1, 2], "a": [1.5, null], "b": [null, 1e300], "c": [3, 30], "d": [4, 40],
      "e": ["NaN", -0.0], "s": ["", "x"], "t": ["one\ntwo", null], "u": [",", "u"], "i": [null, 9007199254740993],
      "event_timestamp": ["2026-01-01T00:00:00", "2026-01-01T00:00:00"],
      "created": ["2026-01-01T00:00:00", "2026-01-01T00:00:00"]})")
                .status,
            200);
  const auto made = [&](const std::string& features) {
    return post("/api/v1/features/training-sets",
                R"({"query": "SELECT g AS driver_id, timestamptz '2026-01-02 00:00+00' AS event_timestamp FROM)"
                R"( generate_series(1, 3) g", "features": [)" +
                    features + "]}")
        .body;
  };
  EXPECT_EQ(made(R"("wide:e", "wide:s", "wide:b")"),
            "driver_id,event_timestamp,e,s,b\n1,2026-01-02 00:00:00+00,NaN,\"\",\n"
            "2,2026-01-02 00:00:00+00,-0,x,1e+300\n3,2026-01-02 00:00:00+00,,,\n");
  EXPECT_EQ(made(R"("wide:i", "wide:u", "wide:t", "wide:e", "wide:d", "wide:c", "wide:b", "wide:a")"),
            "driver_id,event_timestamp,i,u,t,e,d,c,b,a\n1,2026-01-02 00:00:00+00,,\",\",\"one\ntwo\",NaN,4,3,,1.5\n"
            "2,2026-01-02 00:00:00+00,9007199254740993,u,,-0,40,30,1e+300,\n3,2026-01-02 00:00:00+00,,,,,,,,\n");
}

}  // namespace
}  // namespace cairn::features
