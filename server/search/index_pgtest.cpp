// The vector index over enough vectors that one is wanted.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/reactor.h"
#include "schema/testing.h"
#include "search/index.h"
#include "search/query.h"

namespace cairn::search {
namespace {

class IndexTest : public testing::Test {
 protected:
  IndexTest() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 3;
    pool_ = std::make_unique<db::Pool>(options);
    database_.execute("SELECT search.create_collection('c', dimension => 8)");
  }

  // Random vectors, each a document.
  void fill(int count) {
    database_.execute(
        fmt::format("SELECT setseed(0.5);"
                    "WITH d AS (INSERT INTO search.documents (collection_id, source, content, content_hash)"
                    " SELECT 1, gen_random_uuid(), 'text', '' FROM generate_series(1, {}) RETURNING document_id)"
                    "INSERT INTO search.chunks_1 (document_id, ordinal, title, content, metadata, hash, embedding)"
                    " SELECT document_id, 0, '', 'text', jsonb_build_object('n', document_id % 1000), '',"
                    " ARRAY(SELECT random() FROM generate_series(1, 8) WHERE document_id > 0)::vector FROM d",
                    count));
  }
  std::string value(const std::string& sql) {
    const std::string text = "SELECT (" + sql + ")::text";
    const db::Statement statement{"", text};
    return reactor_.block_on(pool_->query(statement)).text(0, 0);
  }
  std::string indexes() {
    return value(
        "SELECT coalesce(string_agg(a.amname || ' ' || coalesce(i.reloptions::text, ''), ';'), '') FROM pg_index x"
        " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam"
        " WHERE x.indrelid = 'search.chunks_1'::regclass AND a.amname IN ('hnsw', 'ivfflat')");
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  std::unique_ptr<db::Pool> pool_;
};

TEST(IndexPlan, R15_FollowsTheNumberOfRows) {
  EXPECT_EQ(index_plan("auto", 9999).kind, "none");
  EXPECT_EQ(index_plan("auto", 10000).kind, "hnsw");
  EXPECT_EQ(index_plan("none", 1000000).kind, "none");
  EXPECT_EQ(index_plan("ivfflat", 9999).kind, "none");
  EXPECT_EQ(index_plan("ivfflat", 99999).lists, 100);
  EXPECT_EQ(index_plan("ivfflat", 500000).lists, 500);
}

TEST_F(IndexTest, R19_IsMadeWhenItPaysAndDroppedForABulkLoad) {
  fill(2000);
  IndexReport report = reactor_.block_on(care_for_index(*pool_, "c", {}));
  EXPECT_FALSE(report.built);
  EXPECT_EQ(report.plan.kind, "none");
  EXPECT_FALSE(reactor_.block_on(drop_index(*pool_, "c")));
  fill(8000);
  std::vector<std::string> said;
  report = reactor_.block_on(care_for_index(*pool_, "c", [&](const std::string& line) { said.push_back(line); }));
  EXPECT_TRUE(report.built);
  EXPECT_EQ(report.vectors, 10000);
  EXPECT_EQ(indexes(), "hnsw ");
  EXPECT_FALSE(said.empty());
  EXPECT_EQ(value("SELECT count(*) FROM pg_stats WHERE tablename = 'chunks_1' AND attname = 'metadata'"), "1");
  EXPECT_FALSE(reactor_.block_on(care_for_index(*pool_, "c", {})).built);

  // Its thoroughness is chosen by what it finds.
  const TuneReport tuned = reactor_.block_on(tune_index(*pool_, "c", 0.95, 50, {}));
  EXPECT_EQ(tuned.setting, "hnsw.ef_search");
  ASSERT_TRUE(tuned.reached);
  EXPECT_GE(tuned.steps.back().recall, 0.95);
  EXPECT_EQ(value("SELECT ef_search FROM search.collections"), std::to_string(tuned.steps.back().setting));

  // Few rows let through by a filter: all of them are found, whatever the index gives first.
  Collection collection = reactor_.block_on(require_collection(*pool_, "c"));
  SearchRequest request;
  request.vector = std::vector<float>(8, 0.5F);
  request.filter = R"({"type": "eq", "key": "n", "value": 7})";
  EXPECT_EQ(reactor_.block_on(search(*pool_, collection, request)).hits.size(), 10u);

  // Another kind takes its place; one that a failed build left goes.
  database_.execute("UPDATE search.collections SET index_kind = 'ivfflat'");
  report = reactor_.block_on(care_for_index(*pool_, "c", {}));
  EXPECT_TRUE(report.built && report.dropped);
  EXPECT_EQ(indexes(), "ivfflat {lists=100}");
  const TuneReport probes = reactor_.block_on(tune_index(*pool_, "c", 0.9, 20, {}));
  EXPECT_EQ(probes.setting, "ivfflat.probes");
  EXPECT_TRUE(probes.reached);
  database_.execute(
      "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
      "'search.idx_chunks_1_embedding_ivfflat_100'::regclass");
  EXPECT_TRUE(reactor_.block_on(care_for_index(*pool_, "c", {})).built);
  EXPECT_EQ(indexes(), "ivfflat {lists=100}");
  EXPECT_TRUE(reactor_.block_on(drop_index(*pool_, "c")));
  EXPECT_EQ(indexes(), "");
}

}  // namespace
}  // namespace cairn::search
