// Nodes that no edges lead to are found and led to again, and none is lost by that.
#include "graph/reach.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "base/testing.h"
#include "graph/memory.h"

namespace cairn::core {
namespace {

float l2(const void* a, const void* b, size_t bytes) {
  return l2_squared(static_cast<const float*>(a), static_cast<const float*>(b), bytes / 4);
}

TEST(PlaceSet, HoldsPlacesOfAnyWidth) {
  for (const uint32_t places : {1U, 3U, 4U, 52U, 64U}) {
    MallocArena arena;
    PlaceSet set;
    constexpr uint32_t kBlocks = 1000;
    set.init(kBlocks, places, &arena);
    std::mt19937 random(places);
    std::set<NodeId> expected;
    for (int i = 0; i < 500; ++i) {
      const NodeId id = node_id(random() % kBlocks, static_cast<uint16_t>(random() % places + 1));
      EXPECT_EQ(set.insert(id), expected.insert(id).second);
      if (i % 3 == 0) set.erase(id), expected.erase(id);
    }
    std::set<NodeId> found;
    for (uint32_t block = set.next_block(0); block < kBlocks; block = set.next_block(block + 1)) {
      EXPECT_NE(set.of_block(block), 0U);
      for (uint16_t i = 1; i <= places; ++i)
        if (set.contains(node_id(block, i))) found.insert(node_id(block, i));
    }
    EXPECT_EQ(found, expected);
    EXPECT_FALSE(set.insert(node_id(kBlocks, 1)));
    EXPECT_FALSE(set.insert(node_id(5, 0)));
    EXPECT_FALSE(set.insert(node_id(5, 65)));
    set.erase_block(node_block(*expected.begin()));
    EXPECT_EQ(set.of_block(node_block(*expected.begin())), 0U);
  }
}

// The graph in memory with the pages' order.
class TestSource : public MemorySource {
 public:
  void init(const Space* space, MemoryGraph* graph, Arena* arena) {
    MemorySource::init(space, graph, 64, arena);
    graph_ = graph;
  }
  uint32_t block_count() const { return graph_->block_count() + 1; }
  template <class F>
  void each_node(uint32_t block, F&& visit) {
    if (block == 0) return;
    uint8_t* page = graph_->block(block - 1);
    for (uint16_t i = 1; i <= page_item_count(page); ++i) {
      uint32_t length = 0;
      const auto* node = reinterpret_cast<const Node*>(page_item(page, i, &length));
      if (node != nullptr && node_is_sound(graph_->layout(), node, length)) visit(node, node_id(block, i));
    }
  }
  NodeId down(NodeId id) { return graph_->node(id)->down(); }
  bool copy_payload(NodeId id, void* buffer, uint32_t* bytes, int* level) {
    const Node* node = graph_->node(id);
    *bytes = node->payload_bytes;
    *level = node->level;
    std::memcpy(buffer, graph_->payload(node), node->payload_bytes);
    return true;
  }

 private:
  MemoryGraph* graph_ = nullptr;
};

class ReachTest : public testing::TestWithParam<bool> {
 protected:
  static constexpr size_t kDimensions = 16;

  // Rows of two clusters far from each other, in turn.
  void build(size_t count, bool levels = true) {
    space_.distance = l2;
    space_.code_metric = CodeMetric::l2;
    space_.payload_bytes_max = kDimensions * sizeof(float);
    space_.to_floats = [](const void* payload, float* out, size_t n) { std::memcpy(out, payload, n * sizeof(float)); };
    space_.rotation.init(kDimensions, 42, &arena_, 192);
    NodeLayout& layout = space_.layout;
    layout.degree = 16;
    layout.chosen_max = 12;
    layout.code_dimensions = GetParam() ? static_cast<uint32_t>(space_.rotation.padded()) : 0;
    layout.edge_bytes = sizeof(Edge) + layout.code_dimensions / 8;
    layout.room = kPageSpace - kLinePointerBytes;
    graph_.init(&space_, 1, &arena_);
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < count; ++i) {
      float vector[kDimensions];
      for (float& x : vector) x = normal(random) + (i % 2 == 0 ? 0 : 30);
      ASSERT_TRUE(graph_.add(vector, sizeof(vector), levels ? random_level(random(), 64) : 0,
                             {0, static_cast<uint16_t>(i), static_cast<uint16_t>(i % 2 + 1)}, SIZE_MAX));
    }
    graph_.put_highest_first();
    source_.init(&space_, &graph_, &arena_);
    for (size_t i = 0; i < count; ++i) source_.insert(i);
  }

  template <class F>
  void each_node(F&& visit) {
    for (uint32_t block = 1; block < source_.block_count(); ++block)
      source_.each_node(block, [&](const Node*, NodeId id) { visit(graph_.node(id), id); });
  }

  // Takes away the edges of which `cut(from, to)` is true.
  template <class F>
  void cut_edges(F&& cut) {
    const NodeLayout& layout = space_.layout;
    each_node([&](Node* node, NodeId) {
      for (size_t i = node->edge_count; i-- > 0;)
        if (cut(node, graph_.node(layout.edge(node, i)->id())))
          std::memmove(layout.edge(node, i), layout.edge(node, --node->edge_count), layout.edge_bytes);
    });
  }

  // Edges within the cluster until no node of level 0 has room; to none of which `spared` is true.
  template <class F>
  void fill_up(F&& spared) {
    const NodeLayout& layout = space_.layout;
    each_node([&](Node* node, NodeId id) {
      each_node([&](Node* other, NodeId other_id) {
        if (node->edge_count == layout.degree || id == other_id || spared(other)) return;
        if (node->level != 0 || other->level != 0 || cluster(node) != cluster(other)) return;
        for (size_t i = 0; i < node->edge_count; ++i)
          if (layout.edge(node, i)->id() == other_id) return;
        Edge* edge = layout.edge(node, node->edge_count++);
        edge->set(other_id, l2(graph_.payload(node), graph_.payload(other), kDimensions * sizeof(float)), 0);
        edge->factors = {};
      });
    });
  }

  static int cluster(const Node* node) { return node->heap_tids[0].offset; }

  size_t count_lost() {
    Reach<TestSource> reach;
    init(&reach);
    reach.survey();
    size_t lost = 0;
    reach.each_lost([&](NodeId) { ++lost; });
    return lost;
  }

  size_t attach() {
    Reach<TestSource> reach;
    init(&reach);
    reach.survey();
    return reach.attach_lost();
  }

  void init(Reach<TestSource>* reach) {
    reach->init(&space_, &source_, places_of_page(space_.layout, 64), 64, &arena_);
  }

  int cluster_of_entry() {
    NodeId entry;
    int level;
    EXPECT_TRUE(source_.entry(&entry, &level));
    return cluster(graph_.node(entry));
  }

  MallocArena arena_;
  Space space_{};
  MemoryGraph graph_;
  TestSource source_;
};

constexpr size_t kRows = 600;

TEST_P(ReachTest, LeavesAWholeGraphAlone) {
  build(kRows);
  EXPECT_EQ(count_lost(), 0U);
  EXPECT_EQ(attach(), 0U);
}

TEST_P(ReachTest, AttachesAClusterByAFewOfItsNodes) {
  build(kRows);
  cut_edges([](const Node* from, const Node* to) { return cluster(from) != cluster(to); });
  size_t nodes = 0;
  each_node([&](const Node* node, NodeId) { nodes += cluster(node) != cluster_of_entry(); });
  EXPECT_GE(nodes, kRows / 2);
  EXPECT_EQ(count_lost(), nodes);
  EXPECT_EQ(attach(), nodes);
  EXPECT_EQ(count_lost(), 0U);
  size_t edges = 0;
  cut_edges([&](const Node* from, const Node* to) {
    edges += cluster(from) != cluster(to);
    return false;
  });
  EXPECT_GT(edges, 0U);
  EXPECT_LE(edges, 60U);
}

// That edges lead out of a cluster is no use to who searches for it.
TEST_P(ReachTest, AttachesAClusterThatLeadsOut) {
  build(kRows);
  const int own = cluster_of_entry();
  cut_edges([&](const Node* from, const Node* to) { return cluster(from) == own && cluster(to) != own; });
  EXPECT_GT(count_lost(), 0U);
  EXPECT_GT(attach(), 0U);
  EXPECT_EQ(count_lost(), 0U);
}

TEST_P(ReachTest, AttachesNodesThatFullOnesTurnedAway) {
  build(kRows);
  const auto lonely = [](const Node* node) { return node->level == 0 && node->heap_tids[0].block_low % 6 < 2; };
  cut_edges([&](const Node*, const Node* to) { return lonely(to); });
  fill_up(lonely);
  EXPECT_GE(count_lost(), kRows / 3 - 1);
  EXPECT_GT(attach(), 0U);
  EXPECT_EQ(count_lost(), 0U);
}

// All ways to a cluster go through the node of the other one that is farthest from it.
TEST_P(ReachTest, AttachesWhatASearchDoesNotFind) {
  build(kRows, false);
  const NodeLayout& layout = space_.layout;
  const int own = cluster_of_entry();
  cut_edges([&](const Node* from, const Node* to) { return cluster(from) == own && cluster(to) != own; });
  const float there[kDimensions] = {30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30};
  Node* farthest = nullptr;
  std::vector<NodeId> others;
  each_node([&](Node* node, NodeId id) {
    const auto distance = [&](const Node* from) { return l2(graph_.payload(from), there, sizeof(there)); };
    if (cluster(node) != own)
      others.push_back(id);
    else if (farthest == nullptr || distance(node) > distance(farthest))
      farthest = node;
  });
  farthest->edge_count = static_cast<uint16_t>(std::min<size_t>(farthest->edge_count + 1, layout.degree));
  Edge* way = layout.edge(farthest, farthest->edge_count - 1U);
  way->set(others[0], l2(graph_.payload(farthest), graph_.payload(graph_.node(others[0])), sizeof(there)), 0);
  way->factors = {};
  EXPECT_EQ(count_lost(), 0U);
  size_t attached = 0;
  for (int pass = 0; pass < 2; ++pass) {
    Reach<TestSource> reach;
    init(&reach);
    reach.survey();
    const size_t before = attached;
    for (const NodeId id : others) attached += reach.attach_hidden(id);
    if (pass == 0) {
      EXPECT_GT(attached, before);
    } else {
      EXPECT_EQ(attached, before);
    }
  }
  EXPECT_LT(attached, others.size() / 2);
  EXPECT_EQ(count_lost(), 0U);
}

TEST_P(ReachTest, AttachesOnTheLevelsAbove) {
  build(kRows * 4);
  cut_edges([](const Node* from, const Node*) { return from->level > 0; });
  EXPECT_GT(count_lost(), 10U);
  EXPECT_GT(attach(), 10U);
  EXPECT_EQ(count_lost(), 0U);
}

TEST_P(ReachTest, DoesNothingToAnEmptyGraph) {
  build(0);
  EXPECT_EQ(count_lost(), 0U);
  EXPECT_EQ(attach(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Layouts, ReachTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Codes" : "NoCodes"; });

}  // namespace
}  // namespace cairn::core
