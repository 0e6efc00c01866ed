#include "demo/neighbors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

namespace cairn::demo {
namespace {

constexpr size_t kNeighbors = 5;  // as kNearest has it
constexpr int kImagesShown = 5;
constexpr double kGoodShare = 0.95;

struct Neighbor {
  int digit = 0;
  double distance = 0;
};
using Neighbors = std::vector<Neighbor>;

struct Answers {
  std::vector<Neighbors> of_image;
  double median_ms = 0;
};

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// As the type's text has it: [0,0.3125,…].
std::string vector_text(const double* image) { return fmt::format("[{}]", fmt::join(image, image + kPixels, ",")); }

constexpr const char* kCreateSchema = "CREATE SCHEMA similarity";
constexpr const char* kSetSearchPath = "SET search_path = similarity, public";
constexpr const char* kCreateTable =
    "CREATE TABLE images (id bigint PRIMARY KEY, digit integer NOT NULL, image vector(64) NOT NULL)";
constexpr const char* kInsert = R"(
INSERT INTO images (id, digit, image)
SELECT id, digit, image FROM unnest($1::integer[], $2::vector[]) WITH ORDINALITY AS given (digit, image, id))";

int load(Database& database, const Digits& digits) {
  std::vector<int> labels;
  std::vector<std::string> images;
  for (const Examples* examples : {&digits.train, &digits.validation}) {
    labels.insert(labels.end(), examples->digits.begin(), examples->digits.end());
    for (int i = 0; i < examples->size(); ++i) images.push_back('"' + vector_text(examples->image(i)) + '"');
  }
  for (const char* sql : {kCreateSchema, kSetSearchPath, kCreateTable}) database.execute(sql);
  database.execute(kInsert,
                   {fmt::format("{{{}}}", fmt::join(labels, ",")), fmt::format("{{{}}}", fmt::join(images, ","))});
  return static_cast<int>(labels.size());
}

constexpr const char* kCreateIndex = "CREATE INDEX idx_images_image ON images USING hnsw (image vector_l2_ops)";
constexpr const char* kAnalyze = "ANALYZE images";

double build_index(Database& database) {
  const auto start = Clock::now();
  database.execute(kCreateIndex);
  const double build_ms = ms_since(start);
  database.execute(kAnalyze);
  return build_ms;
}

// So few images are searched through so fast that the planner may leave the index aside.
constexpr const char* kByIndex = "SET LOCAL enable_seqscan = off";
constexpr const char* kExactly = "SET LOCAL enable_indexscan = off";
constexpr const char* kNearest = "SELECT digit, image <-> $1 AS distance FROM images ORDER BY image <-> $1 LIMIT 5";

// Whether PostgreSQL asks the index, so that no exact search is taken for it, nor the other way round.
bool plan_has_index(Database& database, const std::string& image) {
  const Database::Rows plan = database.execute(("EXPLAIN " + std::string(kNearest)).c_str(), {image});
  for (int row = 0; row < PQntuples(plan.get()); ++row)
    if (std::string_view(PQgetvalue(plan.get(), row, 0)).find("idx_images_image") != std::string_view::npos)
      return true;
  return false;
}

Answers ask(Database& database, const Examples& test, const char* way) {
  Answers answers;
  std::vector<double> times;
  database.execute("BEGIN");
  database.execute(way);
  require(plan_has_index(database, vector_text(test.image(0))) == (way == kByIndex),
          std::string("PostgreSQL does not keep to ") + way);
  for (int i = 0; i < test.size(); ++i) {
    const std::string image = vector_text(test.image(i));
    const auto start = Clock::now();
    const Database::Rows rows = database.execute(kNearest, {image});
    times.push_back(ms_since(start));
    Neighbors& neighbors = answers.of_image.emplace_back();
    for (int row = 0; row < PQntuples(rows.get()); ++row)
      neighbors.push_back({std::atoi(PQgetvalue(rows.get(), row, 0)), std::atof(PQgetvalue(rows.get(), row, 1))});
    require(neighbors.size() == kNeighbors, fmt::format("{} neighbours instead of {}", neighbors.size(), kNeighbors));
  }
  database.execute("COMMIT");
  std::sort(times.begin(), times.end());
  answers.median_ms = times[times.size() / 2];
  return answers;
}

// By distances, since of images that are equally far either may be named. The pixels are sixteenths, so that the sums
// of their squares are exact whatever the order.
double recall(const Answers& by_index, const Answers& exact) {
  size_t found = 0;
  for (size_t i = 0; i < exact.of_image.size(); ++i) {
    const double farthest = exact.of_image[i].back().distance;
    found += static_cast<size_t>(std::count_if(by_index.of_image[i].begin(), by_index.of_image[i].end(),
                                               [&](const Neighbor& one) { return one.distance <= farthest; }));
  }
  return static_cast<double>(found) / static_cast<double>(exact.of_image.size() * kNeighbors);
}

// What most of them are; of several, what the nearest is.
int vote(const Neighbors& neighbors) {
  std::array<int, kDigits> votes{};
  for (const Neighbor& one : neighbors) ++votes.at(static_cast<size_t>(one.digit));
  const int most = *std::max_element(votes.begin(), votes.end());
  return std::find_if(neighbors.begin(), neighbors.end(),
                      [&](const Neighbor& one) { return votes.at(static_cast<size_t>(one.digit)) == most; })
      ->digit;
}

double accuracy(const Answers& answers, const Examples& test) {
  int right = 0;
  for (int i = 0; i < test.size(); ++i)
    right += vote(answers.of_image[static_cast<size_t>(i)]) == test.digits[static_cast<size_t>(i)] ? 1 : 0;
  return static_cast<double>(right) / test.size();
}

Table show(const Answers& answers, const Examples& test) {
  Table table{{"test_image", "digit", "neighbours", "distances"}, {}};
  for (int i = 0; i < std::min(kImagesShown, test.size()); ++i) {
    std::vector<std::string> digits, distances;
    for (const Neighbor& one : answers.of_image[static_cast<size_t>(i)]) {
      digits.push_back(std::to_string(one.digit));
      distances.push_back(fmt::format("{:.3f}", one.distance));
    }
    table.rows.push_back({std::to_string(i + 1), std::to_string(test.digits[static_cast<size_t>(i)]),
                          fmt::format("{}", fmt::join(digits, " ")), fmt::format("{}", fmt::join(distances, " "))});
  }
  return table;
}

}  // namespace

bool vector_available(Database& database) {
  return PQntuples(database.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").get()) > 0;
}

void find_neighbors(Database& database, const Digits& digits, Step& step) {
  const int images = load(database, digits);
  const double build_ms = build_index(database);
  const Answers by_index = ask(database, digits.test, kByIndex);
  const Answers exact = ask(database, digits.test, kExactly);
  const double found = recall(by_index, exact);
  const double right = accuracy(by_index, digits.test);
  step.figure("images", images);
  step.figure("questions", digits.test.size());
  step.figure("build_ms", build_ms);
  step.figure("recall", found);
  step.figure("index_ms", by_index.median_ms);
  step.figure("exact_ms", exact.median_ms);
  step.figure("accuracy", right);
  require(found >= kGoodShare, fmt::format("the index finds only {:.2f} % of the nearest images", 100 * found));
  require(right >= kGoodShare, fmt::format("the nearest images' digits are right for only {:.2f} %", 100 * right));
  step.summary = fmt::format(
      "{} images in an HNSW index, built in {:.0f} ms; the {} nearest of {} test images: recall {:.2f} %, {:.2f} ms "
      "each "
      "(exactly: {:.2f} ms); their majority is right for {:.2f} %",
      with_commas(images), build_ms, kNeighbors, digits.test.size(), 100 * found, by_index.median_ms, exact.median_ms,
      100 * right);
  step.table = show(by_index, digits.test);
}

}  // namespace cairn::demo
