#include "demo/features.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

namespace cairn::demo {
namespace {

constexpr int kSide = 8;
constexpr int kQuestions = 50;
constexpr int kAsked = 20;
constexpr int kShown = 3;
constexpr std::array<const char*, 4> kNames = {"ink", "center_x", "center_y", "spread"};
using Values = std::array<double, 4>;

constexpr const char* kDeclaration = R"({
  "entities": [{"name": "image", "join_key": "image_id", "value_type": "int64"}],
  "feature_views": [{"name": "image_stats", "entities": ["image"], "features": [
    {"name": "ink", "value_type": "double"}, {"name": "center_x", "value_type": "double"},
    {"name": "center_y", "value_type": "double"}, {"name": "spread", "value_type": "double"}]}],
  "feature_services": [{"name": "digits", "features": ["image_stats"]}]})";
constexpr const char* kWritten = "2026-01-02T00:00:00Z";
constexpr const char* kBefore = "2026-01-01T00:00:00Z";

// How much ink, where its center of mass is, and how far from there it lies.
Values values_of(const double* image) {
  double ink = 0, x = 0, y = 0, square = 0;
  for (int i = 0; i < kPixels; ++i) {
    ink += image[i];
    x += image[i] * (i % kSide);
    y += image[i] * (i / kSide);
  }
  x /= ink, y /= ink;
  for (int i = 0; i < kPixels; ++i) square += image[i] * (std::pow(i % kSide - x, 2) + std::pow(i / kSide - y, 2));
  return {ink, x, y, std::sqrt(square / ink)};
}

std::vector<Values> all_values(const Digits& digits) {
  std::vector<Values> all;
  for (const Examples* examples : {&digits.train, &digits.validation, &digits.test})
    for (int i = 0; i < examples->size(); ++i) all.push_back(values_of(examples->image(i)));
  return all;
}

// {"image_id": […], "ink": […], …}, and both times.
std::string frame(const std::vector<Values>& all) {
  std::string text = "{";
  std::vector<std::string> ids, times(all.size(), fmt::format("\"{}\"", kWritten));
  for (size_t i = 0; i < all.size(); ++i) ids.push_back(std::to_string(i + 1));
  for (size_t feature = 0; feature < kNames.size(); ++feature) {
    std::vector<double> values;
    for (const Values& one : all) values.push_back(one.at(feature));
    text += fmt::format(R"("{}":[{}],)", kNames.at(feature), fmt::join(values, ","));
  }
  return text + fmt::format(R"("image_id":[{}],"event_timestamp":[{}],"created":[{}]}})", fmt::join(ids, ","),
                            fmt::join(times, ","), fmt::join(times, ","));
}

void check(const std::string& answer, const std::vector<Values>& all, int first) {
  const json::Document document(answer);
  const auto results = document.root()["results"];
  for (size_t feature = 0; feature < kNames.size(); ++feature)
    for (int i = 0; i < kAsked; ++i)
      require(double(results.at(feature + 1)["values"].at(static_cast<size_t>(i))) ==
                  all.at(static_cast<size_t>(first + i)).at(feature),
              fmt::format("{} of image {} is not what was written", kNames.at(feature), first + i + 1));
}

}  // namespace

void keep_features(Client& client, const Digits& digits, Step& step) {
  const std::vector<Values> all = all_values(digits);
  client.post("/api/v1/features/apply", kDeclaration);
  client.post("/write-to-online-store", fmt::format(R"({{"feature_view_name":"image_stats","df":{}}})", frame(all)));
  std::vector<double> times;
  for (int question = 0; question < kQuestions; ++question) {
    const int first = question * kAsked;
    std::vector<int> ids;
    for (int i = 0; i < kAsked; ++i) ids.push_back(first + i + 1);
    const auto start = std::chrono::steady_clock::now();
    const std::string answer = client.post(
        "/get-online-features",
        fmt::format(R"({{"feature_service":"digits","entities":{{"image_id":[{}]}}}})", fmt::join(ids, ",")));
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    check(answer, all, first);
  }
  const json::Document past(client.post(
      "/api/v1/features/historical",
      fmt::format(R"({{"feature_service":"digits","entities":{{"image_id":[1],"event_timestamp":["{}"]}}}})",
                  kBefore)));
  require(std::string_view(past.root()["results"].at(2)["statuses"].at(0)) == "NOT_FOUND",
          "a value is given for a time before it was known");
  std::ranges::sort(times);
  const double median_ms = times[times.size() / 2];
  step.figure("entities", all.size());
  step.figure("features", kNames.size());
  step.figure("read_ms", median_ms);
  step.summary =
      fmt::format("{} features of {} images written; read back exactly, {} images in {:.2f} ms; none before their time",
                  kNames.size(), with_commas(static_cast<int64_t>(all.size())), kAsked, median_ms);
  step.table = Table{{"image", "ink", "center_x", "center_y", "spread"}, {}};
  for (size_t i = 0; i < kShown; ++i) {
    auto& row = step.table->rows.emplace_back();
    row.emplace_back(std::to_string(i + 1));
    for (const double value : all[i]) row.emplace_back(fmt::format("{:.3f}", value));
  }
}

}  // namespace cairn::demo
