#include "tuner/catalog/index_size.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

TEST(IndexSize, EqualKeysAreStoredOnce) {
  Table table{.name = {"public", "t"}, .rows = 1e6};
  table.columns = {{.name = "few", .type = "text", .has_statistics = true, .distinct = 10, .width = 8},
                   {.name = "all", .type = "int8", .has_statistics = true, .distinct = 1e6, .width = 8},
                   {.name = "score", .type = "float8", .has_statistics = true, .distinct = 10, .width = 8},
                   {.name = "unknown", .type = "text"}};
  const auto share = [&](const std::string& column) {
    return deduplicated_share({.table = table.name, .keys = {{.text = column}}}, table);
  };
  EXPECT_NEAR(share("few"), 0.3, 0.05);
  EXPECT_EQ(share("all"), 1);
  EXPECT_EQ(share("score"), 1);
  EXPECT_EQ(share("unknown"), 1);
  EXPECT_EQ(deduplicated_share({.table = table.name, .keys = {{.text = "few"}}, .include = {"all"}}, table), 1);
}

// Beside the sizes that such indexes over 20,000 rows had.
TEST(IndexSize, R08_WhatHypopgDoesNotKnowIsEstimatedFromStatistics) {
  Table table{.name = {"public", "t"}, .rows = 20'000};
  table.columns = {{.name = "tags", .type = "_text", .width = 92, .elements = 6},
                   {.name = "doc", .type = "jsonb", .width = 169},
                   {.name = "words", .type = "tsvector", .width = 415},
                   {.name = "line", .type = "text", .width = 66},
                   {.name = "span", .type = "int4range", .width = 14},
                   {.name = "place", .type = "vector", .modifier = 128, .width = 520},
                   {.name = "wide", .type = "vector", .modifier = 768, .width = 18}};
  Catalog catalog{.has_neighbour_codes = true};
  const auto near = [&](const std::string& method, const IndexKey& key, double measured) {
    const EstimatedSize size = estimated_size({.table = table.name, .method = method, .keys = {key}}, table, catalog);
    EXPECT_GT(static_cast<double>(size.bytes), measured / 2) << method << " " << key.text;
    EXPECT_LT(static_cast<double>(size.bytes), measured * 2) << method << " " << key.text;
    EXPECT_NE(size.how.find("20000 rows"), std::string::npos);
  };
  near("gin", {.text = "tags"}, 991'232);
  near("gin", {.text = "doc"}, 5'505'024);
  near("gin", {.text = "doc", .operator_class = "jsonb_path_ops"}, 3'645'440);
  near("gin", {.text = "words"}, 4'472'832);
  near("gin", {.text = "line", .operator_class = "gin_trgm_ops"}, 6'111'232);
  near("gist", {.text = "span"}, 1'253'376);
  near("hash", {.text = "line"}, 1'064'960);
  near("hnsw", {.text = "place"}, 41'664'512);
  near("ivfflat", {.text = "place"}, 12'992'512);
  near("hnsw", {.text = "wide"}, 20'000.0 * 8192);
  catalog.has_neighbour_codes = false;  // pgvector's: 790 and 3,900 bytes a row
  near("hnsw", {.text = "place"}, 20'000.0 * 790);
  near("hnsw", {.text = "wide"}, 20'000.0 * 3'900);
}

}  // namespace
}  // namespace cairn::tuner
