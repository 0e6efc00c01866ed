// The offline embedder's model in the database: when it is made, and that everybody finds the same.
#include "search/local_embedder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/reactor.h"
#include "db/transaction.h"
#include "schema/testing.h"

namespace cairn::search {
namespace {

class LocalEmbedderTest : public testing::Test {
 protected:
  LocalEmbedderTest() {
    sql("INSERT INTO search.collections (name) VALUES ('notes')");
    sql("SELECT search.create_chunks(c) FROM search.collections c");
    settings_.kind = "local";
    settings_.collection_id = int32_t(sql("SELECT collection_id FROM search.collections").integer(0, 0));
  }
  db::Rows sql(const std::string& text) { return reactor_.block_on(pool_.query({"", text})); }
  void add_chunks(int from, int to) {
    sql(
        fmt::format("INSERT INTO search.chunks_{} (chunk_id, document_id, ordinal, title, content, metadata, hash)"
                    " SELECT i, i, 0, 'note', 'the number ' || i % 7 || ' is odd', '{{}}', sha256(i::text::bytea)"
                    " FROM generate_series({}, {}) i",
                    settings_.collection_id, from, to));
  }
  db::PoolOptions pool_options() const {
    db::PoolOptions options;
    options.connection_string = database_.url();
    return options;
  }
  bool train() { return reactor_.block_on(train_local_embedder(pool_, settings_.collection_id)); }
  std::unique_ptr<Embedder> embedder() { return reactor_.block_on(make_embedder(pool_, settings_)); }
  std::vector<float> embed(const std::string& text) {
    const std::unique_ptr<Embedder> made = embedder();
    return reactor_.block_on(made->embed({text})).at(0);
  }

  schema::MigratedDatabase database_;
  Reactor reactor_;
  db::Pool pool_{pool_options()};
  EmbedderSettings settings_;
};

TEST_F(LocalEmbedderTest, answers_before_it_was_trained) {
  EXPECT_EQ(embedder()->name(), "local:untrained");
  EXPECT_EQ(embed("a note").size(), size_t(kLsaDimension));
  EXPECT_FALSE(train()) << "there is nothing to learn from";
}

TEST_F(LocalEmbedderTest, is_trained_once_and_again_when_the_collection_has_grown) {
  add_chunks(1, 20);
  const std::vector<float> before = embed("a number");
  EXPECT_TRUE(train());
  const std::string name = embedder()->name();
  EXPECT_TRUE(name.starts_with(fmt::format("local:{}:20:", settings_.collection_id))) << name;
  EXPECT_NE(embed("a number"), before);
  EXPECT_FALSE(train());
  add_chunks(21, 79);
  EXPECT_FALSE(train());
  add_chunks(80, 80);
  EXPECT_TRUE(train());
  EXPECT_NE(embedder()->name(), name);
}

TEST_F(LocalEmbedderTest, is_the_same_for_a_server_that_reads_it_from_the_database) {
  add_chunks(1, 50);
  ASSERT_TRUE(train());
  const std::vector<float> here = embed("seven is odd");
  std::vector<float> there;
  std::thread other([&] {
    Reactor reactor;
    db::Pool pool(pool_options());
    const std::unique_ptr<Embedder> made = reactor.block_on(make_embedder(pool, settings_));
    there = reactor.block_on(made->embed({"seven is odd"})).at(0);
  });
  other.join();
  EXPECT_EQ(here, there);
}

TEST_F(LocalEmbedderTest, refuses_what_it_does_not_take) {
  settings_.dimension = 100;
  EXPECT_THROW(embedder(), Error);
  settings_.dimension = kLsaDimension;
  EXPECT_NO_THROW(embedder());
  settings_.model = "big";
  EXPECT_THROW(embedder(), Error);
  settings_.kind = "remote";
  EXPECT_THROW(embedder(), Error);
}

}  // namespace
}  // namespace cairn::search
