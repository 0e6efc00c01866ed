// The graph in memory: it finds what an exact search finds, joins equal elements, and says what does not fit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "base/testing.h"
#include "graph/memory.h"

namespace cairn::core {
namespace {

float float_l2(const void* a, const void* b, size_t bytes) {
  return l2_squared(static_cast<const float*>(a), static_cast<const float*>(b), bytes / 4);
}

float float_ip(const void* a, const void* b, size_t bytes) {
  return -inner_product(static_cast<const float*>(a), static_cast<const float*>(b), bytes / 4);
}

void copy_floats(const void* payload, float* out, size_t n) { std::memcpy(out, payload, n * sizeof(float)); }

class GraphTest : public testing::Test {
 protected:
  void init(size_t dimensions, CodeMetric metric, bool codes) {
    dimensions_ = dimensions;
    space_.distance = metric == CodeMetric::l2 ? float_l2 : float_ip;
    space_.code_metric = metric;
    space_.to_floats = copy_floats;
    space_.rotation.init(dimensions, 42, &arena_, 192);
    space_.layout.degree = 32;
    space_.layout.chosen_max = 24;
    space_.layout.code_dimensions = codes ? static_cast<uint32_t>(space_.rotation.padded()) : 0;
    space_.layout.edge_bytes = sizeof(Edge) + space_.layout.code_dimensions / 8;
    space_.layout.room = kPageSpace - kLinePointerBytes;
    graph_.init(&space_, 1, &arena_);
  }

  uint32_t bytes() const { return static_cast<uint32_t>(dimensions_ * sizeof(float)); }

  void add(const std::vector<float>& vector, uint16_t row) {
    rows_.push_back(vector);
    ASSERT_TRUE(graph_.add(vector.data(), bytes(), random_level(random_(), 32), {0, row, 1}, SIZE_MAX));
  }

  void add_random(size_t count) {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < count; ++i) {
      std::vector<float> vector(dimensions_);
      for (float& x : vector) x = normal(random_);
      add(vector, static_cast<uint16_t>(i));
    }
  }

  void connect(size_t threads) {
    graph_.put_highest_first();
    std::atomic<size_t> next{1};
    std::vector<std::thread> workers;
    std::vector<std::unique_ptr<MallocArena>> arenas;
    for (size_t i = 0; i < threads; ++i) arenas.push_back(std::make_unique<MallocArena>());
    MemorySource first;
    first.init(&space_, &graph_, 128, &arena_);
    first.insert(0);
    for (size_t i = 0; i < threads; ++i)
      workers.emplace_back([&, i] {
        MemorySource source;
        source.init(&space_, &graph_, 128, arenas[i].get());
        for (size_t k; (k = next++) < graph_.size();) source.insert(k);
      });
    for (std::thread& worker : workers) worker.join();
  }

  // The rows of all nodes read, by their exact distance.
  std::vector<std::pair<float, uint16_t>> search(const std::vector<float>& vector, size_t ef, int batches = 1) {
    MallocArena arena;
    Scratch scratch;
    scratch.init(space_, &arena);
    MemorySource source;
    source.init(&space_, &graph_, 128, &arena);
    Search<MemorySource> search;
    search.init(&source, space_.layout.code_dimensions != 0, true, &arena);
    const Query query = make_query(space_, vector.data(), bytes(), &scratch);
    NodeId entry;
    int level;
    EXPECT_TRUE(source.entry(&entry, &level));
    const Candidate at = descend(&search, query, entry, level, 0);
    search.start(at.id, at.key);
    std::vector<std::pair<float, uint16_t>> found;
    const auto take = [&](NodeId, const Expansion& e) -> void* {
      for (size_t k = 0; k < e.heap_tid_count; ++k) found.emplace_back(e.distance, e.heap_tids[k].block_low);
      for (NodeId next = e.has_overflow() ? e.down : 0; next != 0; next = graph_.overflow(next)->next()) {
        const OverflowNode* overflow = graph_.overflow(next);
        for (size_t k = 0; k < overflow->heap_tid_count; ++k)
          found.emplace_back(e.distance, overflow->heap_tids()[k].block_low);
      }
      return nullptr;
    };
    search.run(query, ef, take);
    for (int i = 1; i < batches && search.more(); ++i) search.go_on(query, ef, take);
    std::sort(found.begin(), found.end());
    return found;
  }

  double recall(size_t ef) {
    std::normal_distribution<float> normal;
    size_t hits = 0;
    const size_t queries = 50;
    for (size_t q = 0; q < queries; ++q) {
      std::vector<float> query(dimensions_);
      for (float& x : query) x = normal(random_);
      std::vector<float> exact;
      for (const auto& row : rows_) exact.push_back(space_.distance(row.data(), query.data(), bytes()));
      std::nth_element(exact.begin(), exact.begin() + 9, exact.end());
      const auto found = search(query, ef);
      for (size_t i = 0; i < 10 && i < found.size(); ++i) hits += found[i].first <= exact[9];
    }
    return static_cast<double>(hits) / (10.0 * queries);
  }

  size_t dimensions_ = 0;
  MallocArena arena_;
  Space space_{};
  MemoryGraph graph_;
  std::mt19937_64 random_{1};
  std::vector<std::vector<float>> rows_;
};

TEST_F(GraphTest, FindsNeighborsByCodes) {
  init(32, CodeMetric::l2, true);
  add_random(3000);
  connect(2);
  EXPECT_GT(recall(100), 0.97);
}

TEST_F(GraphTest, FindsNeighborsAmongTheDead) {
  init(32, CodeMetric::l2, true);
  add_random(3000);
  connect(2);
  rows_.clear();
  for (size_t i = 0; i < graph_.size(); ++i) {
    Node* node = graph_.node(graph_.top(i));
    while (node->level > 0) node = graph_.node(node->down());
    if (i % 5 != 0) {
      node->heap_tid_count = 0;
    } else {
      const auto* vector = reinterpret_cast<const float*>(space_.layout.payload(node));
      rows_.emplace_back(vector, vector + dimensions_);
    }
  }
  EXPECT_GT(recall(100), 0.97);
}

TEST_F(GraphTest, FindsNeighborsWithoutCodes) {
  init(16, CodeMetric::l2, false);
  add_random(2000);
  connect(2);
  EXPECT_GT(recall(60), 0.97);
}

TEST_F(GraphTest, FindsNeighborsByInnerProduct) {
  init(32, CodeMetric::inner_product, true);
  add_random(2000);
  connect(1);
  EXPECT_GT(recall(150), 0.9);
}

TEST_F(GraphTest, GoesOnUntilEverythingWasRead) {
  init(8, CodeMetric::l2, true);
  add_random(1000);
  connect(1);
  const auto found = search(rows_[5], 40, 1000);
  std::set<uint16_t> rows;
  for (const auto& [distance, row] : found) EXPECT_TRUE(rows.insert(row).second) << row << " twice";
  EXPECT_GE(rows.size(), 995U);
  EXPECT_EQ(found[0].second, 5);
}

TEST_F(GraphTest, EqualElementsShareANode) {
  init(8, CodeMetric::l2, true);
  for (uint16_t i = 0; i < 25; ++i) add(std::vector<float>(8, 1.0F), i);
  add_random(200);
  connect(1);
  const auto found = search(std::vector<float>(8, 1.0F), 40);
  size_t equal = 0;
  for (const auto& [distance, row] : found) equal += distance == 0;
  EXPECT_EQ(equal, 25U);
  size_t nodes = 0;
  for (size_t i = 0; i < graph_.size(); ++i) nodes += graph_.node(graph_.top(i))->level <= kMaxLevel;
  EXPECT_EQ(nodes, 201U);
}

// As nodes of their own they would be each other's nearest, and nothing would lead from them to the others.
TEST_F(GraphTest, ManyEqualElementsHideNoOthers) {
  init(8, CodeMetric::l2, true);
  const std::vector<float> same(8, 1.0F);
  for (uint16_t i = 0; i < 2000; ++i) add(same, i);
  add_random(100);
  connect(2);
  const auto found = search(rows_[2042], 40, 1000);
  std::multiset<uint16_t> rows;
  for (const auto& [distance, row] : found) rows.insert(row);
  for (uint16_t i = 0; i < 2000; ++i) EXPECT_EQ(rows.count(i), i < 100 ? 2U : 1U) << i;
  EXPECT_EQ(found[0].second, 42);
  size_t nodes = 0;
  for (size_t i = 0; i < graph_.size(); ++i) nodes += graph_.node(graph_.top(i))->level <= kMaxLevel;
  EXPECT_LE(nodes, 102U);  // two threads may begin at once
}

// Their squares are infinite, and estimates from them no numbers.
class EnormousElements : public GraphTest, public testing::WithParamInterface<CodeMetric> {};

TEST_P(EnormousElements, HideNoOthers) {
  init(8, GetParam(), true);
  for (uint16_t i = 0; i < 3; ++i) {
    std::vector<float> enormous(8, 0.0F);
    enormous[i] = 1e30F;
    ASSERT_TRUE(graph_.add(enormous.data(), bytes(), 2, {0, static_cast<uint16_t>(1000 + i), 1}, SIZE_MAX));
  }
  add_random(500);
  connect(1);
  EXPECT_GE(search(rows_[5], 100, 1000).size(), 495U);
  // By the inner product they are the nearest of most queries, and each search begins at one of them.
  EXPECT_GT(recall(100), GetParam() == CodeMetric::l2 ? 0.99 : 0.8);
}

INSTANTIATE_TEST_SUITE_P(Metrics, EnormousElements, testing::Values(CodeMetric::l2, CodeMetric::inner_product));

TEST_F(GraphTest, SaysWhatDoesNotFit) {
  init(100, CodeMetric::l2, true);
  const std::vector<float> vector(100, 1.0F);
  size_t added = 0;
  while (graph_.add(vector.data(), bytes(), 0, {0, 1, 1}, 1 << 20)) ++added;
  EXPECT_GT(added, 300U);
  EXPECT_LE(graph_.memory_bytes(), 1U << 20);
  EXPECT_EQ(graph_.size(), added);
}

TEST(RandomLevel, OneInDegreeOrIn64Rises) {
  std::mt19937_64 random(1);
  int counts[3] = {};
  for (int i = 0; i < 1000000; ++i) ++counts[std::min(random_level(random(), 32), 2)];
  EXPECT_NEAR(counts[1], 1000000 / 64, 700);
  EXPECT_NEAR(counts[2], 1000000 / 4096, 80);
  counts[1] = 0;
  for (int i = 0; i < 100000; ++i) ++counts[std::min(random_level(random(), 200), 2)];
  EXPECT_NEAR(counts[1], 100000 / 200, 120);
}

TEST(PageItem, RefusesWhatLeavesThePage) {
  alignas(8) uint8_t page[kPageBytes];
  page_init(page, kNodePage);
  const uint16_t offset = page_add(page, 104);
  ASSERT_EQ(offset, 1);
  uint32_t length;
  ASSERT_NE(page_item(page, 1, &length), nullptr);
  EXPECT_EQ(length, 104U);
  EXPECT_EQ(page_item(page, 2, &length), nullptr);
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const uint32_t pointer = random();
    std::memcpy(page + kPageHeaderBytes, &pointer, sizeof(pointer));
    const uint8_t* item = page_item(page, 1, &length);
    if (item != nullptr) {
      EXPECT_LE(item + length, page + kPageBytes - sizeof(PageTail));
    }
  }
}

}  // namespace
}  // namespace cairn::core
