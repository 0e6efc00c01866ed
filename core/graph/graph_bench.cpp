// Builds the graph in memory over a raw data set (bench/vector_sets.py) and prints recall and time a query for a sweep
// of ef:
//   graph_bench DIR l2|ip [m [ef_construction [threads]]]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/testing.h"
#include "graph/memory.h"

namespace cairn::core {
namespace {

template <class T>
std::vector<T> load(const std::string& path, int32_t* rows, int32_t* columns) {
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(rows), 4).read(reinterpret_cast<char*>(columns), 4);
  std::vector<T> values(static_cast<size_t>(*rows) * *columns);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!in) std::fprintf(stderr, "cannot read %s\n", path.c_str()), std::exit(1);
  return values;
}

float l2(const void* a, const void* b, size_t bytes) {
  return l2_squared(static_cast<const float*>(a), static_cast<const float*>(b), bytes / 4);
}
float ip(const void* a, const void* b, size_t bytes) {
  return -inner_product(static_cast<const float*>(a), static_cast<const float*>(b), bytes / 4);
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// size: the steps of one measurement in their order
int run(int argc, char** argv) {
  const std::string dir = argv[1];
  const bool is_l2 = std::string(argv[2]) == "l2";
  const uint32_t m = argc > 3 ? std::atoi(argv[3]) : 16;
  const uint32_t ef_construction = argc > 4 ? std::atoi(argv[4]) : 64;
  const int threads = argc > 5 ? std::atoi(argv[5]) : 2;
  int32_t n, d, query_count, unused, k;
  const auto base = load<float>(dir + "/base.f32", &n, &d);
  const auto queries = load<float>(dir + "/queries.f32", &query_count, &unused);
  const auto truth = load<int32_t>(dir + "/neighbours.i32", &unused, &k);

  MallocArena arena;
  Space space{};
  space.distance = is_l2 ? l2 : ip;
  space.code_metric = is_l2 ? CodeMetric::l2 : CodeMetric::inner_product;
  space.rotation.init(d, 42, &arena, 192);
  space.to_floats = [](const void* p, float* out, size_t dims) { std::memcpy(out, p, dims * 4); };
  NodeLayout& layout = space.layout;
  layout.degree = 2 * m;
  layout.chosen_max = layout.degree * 3 / 4;
  layout.code_dimensions = std::min<uint32_t>(space.rotation.padded(), (8100 / layout.degree - 16) * 8 / 64 * 64);
  layout.edge_bytes = 16 + layout.code_dimensions / 8;
  layout.room = kPageSpace - kLinePointerBytes;

  double start = seconds();
  MemoryGraph graph;
  graph.init(&space, 1, &arena);
  std::mt19937_64 random(1);
  for (int32_t i = 0; i < n; ++i)
    graph.add(&base[static_cast<size_t>(i) * d], d * 4, random_level(random(), layout.degree),
              {static_cast<uint16_t>(i >> 16), static_cast<uint16_t>(i), 1}, SIZE_MAX);
  graph.put_highest_first();
  std::atomic<size_t> next{1};
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    auto* source = new MemorySource;
    source->init(&space, &graph, ef_construction, &arena);
    if (t == 0) source->insert(0);
    workers.emplace_back([&, source] {
      for (size_t i; (i = next++) < graph.size();) source->insert(i);
    });
  }
  for (auto& w : workers) w.join();
  std::printf("%s n=%d d=%d code=%u node=%u bytes, %.1f MiB, build %.2f s (%d threads, m=%u ef_construction=%u)\n",
              argv[1], n, d, layout.code_dimensions, layout.node_bytes(d * 4), graph.block_count() * 8192.0 / (1 << 20),
              seconds() - start, threads, m, ef_construction);
  size_t edges = 0, dominated = 0, orphans = 0;
  std::vector<uint32_t> indegree(n);
  for (size_t i = 0; i < graph.size(); ++i) {
    NodeId id = graph.top(i);
    const Node* node = graph.node(id);
    while (node->level > 0) node = graph.node(node_id(node->down_block, node->down_offset));
    edges += node->edge_count;
    for (size_t e = 0; e < node->edge_count; ++e) {
      dominated += layout.edge(node, e)->flags() != 0;
      const Node* to = graph.node(layout.edge(node, e)->id());
      ++indegree[to->heap_tids[0].block_high << 16 | to->heap_tids[0].block_low];
    }
  }
  for (uint32_t x : indegree) orphans += x == 0;
  std::printf("edges a node %.1f, dominated %.1f, without incoming edge %zu\n", double(edges) / n,
              double(dominated) / n, orphans);

  MemorySource source;
  source.init(&space, &graph, ef_construction, &arena);
  Search<MemorySource> search;
  search.init(&source, true, false, &arena);
  Scratch scratch;
  scratch.init(space, &arena);
  for (size_t ef : {10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400}) {
    size_t found = 0, hops = 0;
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
      found = hops = 0;
      std::vector<std::pair<float, int32_t>> results;
      start = seconds();
      for (int32_t q = 0; q < query_count; ++q) {
        const Query query = make_query(space, &queries[static_cast<size_t>(q) * d], d * 4, &scratch);
        NodeId entry;
        int level;
        source.entry(&entry, &level);
        const Candidate at = descend(&search, query, entry, level, 0);
        results.clear();
        search.start(at.id, at.key);
        search.run(query, ef, [&](NodeId, const Expansion& e) -> void* {
          results.push_back({e.distance, e.heap_tids[0].block_high << 16 | e.heap_tids[0].block_low});
          return nullptr;
        });
        hops += results.size();
        std::partial_sort(results.begin(), results.begin() + std::min<size_t>(10, results.size()), results.end());
        for (size_t i = 0; i < 10 && i < results.size(); ++i)
          for (int j = 0; j < 10; ++j) found += truth[static_cast<size_t>(q) * k + j] == results[i].second;
      }
      best = std::min(best, seconds() - start);
    }
    std::printf("ef %3zu recall@10 %.4f  %.1f us a query, %.1f nodes\n", ef, found / 10.0 / query_count,
                best / query_count * 1e6, double(hops) / query_count);
  }
  return 0;
}

}  // namespace
}  // namespace cairn::core

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "graph_bench DIR l2|ip [m [ef_construction [threads]]]\n"), 2;
  return cairn::core::run(argc, argv);
}
