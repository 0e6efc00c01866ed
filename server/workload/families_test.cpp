#include "workload/families.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cairn::workload {
namespace {

namespace fs = std::filesystem;

std::vector<std::pair<int64_t, size_t>> schedule(const std::vector<Family>& families, int64_t seed, int count) {
  Arrivals arrivals(families, 50, seed);
  std::vector<std::pair<int64_t, size_t>> drawn;
  for (int i = 0; i < count; ++i) {
    const Arrival arrival = arrivals.next();
    drawn.emplace_back(arrival.at.count(), arrival.family);
  }
  return drawn;
}

TEST(Arrivals, R22_AreTheSameForASeedAndOthersForAnother) {
  const auto families = families_of_mix("mixed");
  EXPECT_EQ(schedule(families, 1, 1000), schedule(families, 1, 1000));
  EXPECT_NE(schedule(families, 1, 1000), schedule(families, 2, 1000));
}

TEST(Arrivals, R22_ComeAtTheRateAndAtRandom) {
  const auto drawn = schedule(families_of_mix("dashboard"), 1, 100000);
  const double mean = static_cast<double>(drawn.back().first) / static_cast<double>(drawn.size());
  EXPECT_NEAR(mean, 1e9 / 50, 1e9 / 50 * 0.02);
  // Of an exponential distribution a share of 1 - 1/e is below the mean.
  int below = 0;
  for (size_t i = 1; i < drawn.size(); ++i) {
    EXPECT_GE(drawn[i].first, drawn[i - 1].first);
    below += static_cast<double>(drawn[i].first - drawn[i - 1].first) < 1e9 / 50;
  }
  EXPECT_NEAR(below / 1e5, 0.632, 0.01);
}

TEST(Arrivals, R22_ChooseFamiliesByWeight) {
  const std::vector<Family> families = {{.name = "a", .sql = "", .params = {}, .weight = 3},
                                        {.name = "b", .sql = "", .params = {}, .weight = 0},
                                        {.name = "c", .sql = "", .params = {}, .weight = 1}};
  std::array<int, 3> counts{};
  for (const auto& [at, family] : schedule(families, 5, 20000)) ++counts[family];
  EXPECT_NEAR(counts[0], 15000, 300);
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[2], 5000, 300);
}

// The text gives its program's value where the load has a placeholder.
TEST(Families, R22_AreTheStatementsOfText002) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"dashboard", "002_40_workload_dashboard"},
      {"training-runs", "002_41_workload_runs"},
      {"model-stats", "002_42_workload_model_statistics"},
      {"deployment-status", "002_43_workload_active_deployments"}};
  for (const auto& [name, file] : texts) {
    const std::string path = CAIRN_SOURCE_DIR "/test/scenario/sql_of_the_texts/" + file + ".sql";
    std::string text = families_of_files({path}).at(0).sql;
    text = text.substr(text.find("SELECT"));
    if (const size_t literal = text.find("'fraud-exp-001'"); literal != std::string::npos)
      text.replace(literal, 15, "$1");
    EXPECT_EQ(families_of_mix(name).at(0).sql, text) << name;
  }
}

class Files : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::vector<std::string> names(const std::vector<std::string>& paths) const {
    std::vector<std::string> found;
    for (const Family& family : families_of_files(paths)) found.push_back(family.name);
    return found;
  }
  std::string refusal(const std::string& path) const {
    try {
      families_of_files({path});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  testing_support::TemporaryDirectory temporary_;
  const fs::path folder_ = temporary_.path();
};

using Names = std::vector<std::string>;

TEST_F(Files, R22_EachStatementIsAFamily) {
  const std::string one = write("one.sql", "-- a comment; with a semicolon\nSELECT 1;\n");
  const std::string many = write("many.sql", "SELECT ';' AS a; SELECT $x$ ; $x$; /* ; */ SELECT 3");
  EXPECT_EQ(names({one, many}), (Names{"one", "many#1", "many#2", "many#3"}));
  EXPECT_EQ(families_of_files({many})[1].sql, "SELECT $x$ ; $x$");
}

TEST_F(Files, R22_OfADirectoryByNameAndNothingElseInIt) {
  write("q/b.sql", "SELECT 1");
  write("q/a.sql", "SELECT 1");
  write("q/notes.txt", "no SQL");
  EXPECT_EQ(names({(folder_ / "q").string()}), (Names{"a", "b"}));
}

TEST_F(Files, R22_OfTheSameNameAreToldApart) {
  const std::string first = write("x/q.sql", "SELECT 1"), second = write("y/q.sql", "SELECT 2");
  EXPECT_EQ(names({first, second}), (Names{"q", second}));
  EXPECT_EQ(names({first, first, second, second}).size(), 3u);
}

TEST_F(Files, R22_AFamilysStatementCanBeReplacedAndKeepsItsParameters) {
  std::vector<Family> families = families_of_mix("mixed");
  replace_statement(families, "training-runs", write("new.sql", "SELECT 7 WHERE $1 <> '';\n"));
  const auto changed = std::find_if(families.begin(), families.end(),
                                    [](const Family& family) { return family.sql == "SELECT 7 WHERE $1 <> ''"; });
  ASSERT_NE(changed, families.end());
  EXPECT_TRUE(changed->params);
  EXPECT_THROW(replace_statement(families, "gone", write("new.sql", "SELECT 1")), Error);
  EXPECT_THROW(replace_statement(families, "dashboard", write("two.sql", "SELECT 1; SELECT 2")), Error);
}

TEST_F(Files, R22_WhatCannotBeRunIsRefusedByName) {
  EXPECT_NE(refusal(write("empty.sql", "-- nothing\n")).find("empty.sql holds no statement"), std::string::npos);
  EXPECT_NE(refusal(write("copy.sql", "SELECT 1; COPY t FROM stdin")).find("copy.sql holds COPY"), std::string::npos);
  EXPECT_NE(refusal(write("open.sql", "SELECT 'x")).find("open.sql is not SQL"), std::string::npos);
  EXPECT_NE(refusal(write("nul.sql", std::string("SELECT 1\0;", 10))).find("NUL"), std::string::npos);
  EXPECT_NE(refusal((folder_ / "gone.sql").string()).find("gone.sql"), std::string::npos);
  fs::create_directories(folder_ / "bare");
  EXPECT_NE(refusal((folder_ / "bare").string()).find("bare holds no .sql file"), std::string::npos);
}

}  // namespace
}  // namespace cairn::workload
