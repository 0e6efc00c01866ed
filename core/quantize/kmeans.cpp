#include "quantize/kmeans.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/distance.h"
#include "kernels/nearest.h"

namespace cairn::core {
namespace {

constexpr int kIterations = 10;      // over a part, and again over all
constexpr size_t kPartPerList = 16;  // samples a list while over a part
constexpr size_t kSeedPerList = 8;   // samples a list that k-means++ chooses from
constexpr int kSeedTrials = 4;
constexpr size_t kSeedListsMax = 2048;    // above it the seeds are random samples: k-means++ takes lists^2
constexpr double kChangedEnough = 0.002;  // go on while more than this share of the samples changes lists
constexpr size_t kChunkWork = 1 << 24;    // multiplications between two looks at the interrupt flag: some ms

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {  // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  size_t below(size_t n) { return static_cast<size_t>(unit() * static_cast<double>(n)); }

 private:
  uint64_t state_;
};

// The samples of one stage: every `step`-th. Row: float or uint8_t, `width` of them.
template <class Row>
struct Kmeans {
  const Row* samples;
  size_t count;
  size_t step;
  size_t width;
  size_t lists;
  bool spherical;
  const Workers* workers;
  Row* centroids;
  uint32_t* list_of;  // of each sample; the two below likewise
  uint32_t* nearest;  // the list_of that is being made
  float* distance;
  uint32_t* order;  // samples by list
  uint32_t* begin;  // of each list in order, and the end
  size_t* size;     // of each list

  const Row* sample(size_t i) const { return samples + i * step * width; }
  Row* centroid(size_t list) const { return centroids + list * width; }
  size_t chunk(size_t work_each) const {
    return std::max<size_t>(4, kChunkWork / std::max<size_t>(work_each, 1)) / 4 * 4;
  }
};

template <class Row>
Kmeans<Row> make(const Row* samples, size_t count, const KmeansOptions& o, const Workers& workers, Arena* arena,
                 Row* centroids) {
  Kmeans<Row> k = {};
  k.samples = samples, k.count = count, k.step = 1, k.width = o.dimensions, k.lists = o.lists,
  k.spherical = o.spherical;
  k.workers = &workers, k.centroids = centroids;
  k.list_of = static_cast<uint32_t*>(arena->allocate(count * sizeof(uint32_t)));
  k.nearest = static_cast<uint32_t*>(arena->allocate(count * sizeof(uint32_t)));
  k.distance = static_cast<float*>(arena->allocate(count * sizeof(float)));
  k.order = static_cast<uint32_t*>(arena->allocate(count * sizeof(uint32_t)));
  k.begin = static_cast<uint32_t*>(arena->allocate((o.lists + 1) * sizeof(uint32_t)));
  k.size = static_cast<size_t*>(arena->allocate(o.lists * sizeof(size_t)));
  return k;
}

float distance_between(const float* a, const float* b, size_t width) { return l2_squared(a, b, width); }
float distance_between(const uint8_t* a, const uint8_t* b, size_t width) {
  return static_cast<float>(hamming(a, b, width));
}

// A centroid that no sample stands for: in the box of two samples, or anywhere.
void random_centroid(const Kmeans<float>& k, Random* random, float* centroid) {
  for (size_t i = 0; i < k.width; ++i) {
    const float a = k.count > 0 ? k.sample(random->below(k.count))[i] : 1;
    const float b = k.count > 0 ? k.sample(random->below(k.count))[i] : 0;
    centroid[i] = b + (a - b) * static_cast<float>(random->unit());
  }
}

void random_centroid(const Kmeans<uint8_t>& k, Random* random, uint8_t* centroid) {
  for (size_t i = 0; i < k.width; ++i) centroid[i] = static_cast<uint8_t>(random->next());
}

void normalize(float* centroid, size_t width) {
  const float norm = std::sqrt(inner_product(centroid, centroid, width));
  if (norm > 0)
    for (size_t i = 0; i < width; ++i) centroid[i] /= norm;
}

// What k-means++ chooses from: every `step`-th sample, with the square of the distance to the nearest centroid so far.
template <class Row>
struct Candidates {
  const Kmeans<Row>* k;
  size_t step;
  size_t count;
  float* distance;

  const Row* row(size_t i) const { return k->sample(i * step); }

  // With a chance that grows with the distance.
  size_t choose(Random* random, double sum) const {
    double left = random->unit() * sum;
    size_t chosen = random->below(count);  // where all that is left are copies of centroids
    for (size_t i = 0; i < count && sum > 0 && left >= 0; ++i) {
      if (!(distance[i] > 0) || !std::isfinite(distance[i])) continue;
      chosen = i;
      left -= distance[i];
    }
    return chosen;
  }

  // The sum of the distances if `centroid` were added; kept in `distance` when `keep`.
  double add(const Row* centroid, bool keep) const {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      if (i % 1024 == 0) check_interrupts(*k->workers);
      const float nearer = std::min(distance[i], distance_between(row(i), centroid, k->width));
      if (keep) distance[i] = nearer;
      sum += std::isfinite(nearer) ? nearer : 0;
    }
    return sum;
  }
};

// The first centroids: samples. Greedy k-means++: of a few that were chosen, the one that brings most.
template <class Row>
void seed_centroids(const Kmeans<Row>& k, Random* random) {
  const size_t lists = std::min(k.lists, k.count);
  const size_t step = std::max<size_t>(1, k.count / (kSeedPerList * lists));
  const Candidates<Row> candidates{&k, step, k.count / step, k.distance};
  std::fill(k.distance, k.distance + candidates.count, std::numeric_limits<float>::infinity());
  size_t chosen = random->below(candidates.count);
  for (size_t list = 0; list < lists; ++list) {
    if (lists > kSeedListsMax) chosen = list * candidates.count / lists;
    std::memcpy(k.centroid(list), candidates.row(chosen), k.width * sizeof(Row));
    if (lists > kSeedListsMax || list + 1 == lists) continue;
    const double sum = candidates.add(k.centroid(list), true);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kSeedTrials; ++i) {
      const size_t trial = candidates.choose(random, sum);
      const double left = candidates.add(candidates.row(trial), false);
      if (left >= best) continue;
      best = left;
      chosen = trial;
    }
  }
}

void assign_range(const Kmeans<float>& k, size_t begin, size_t end) {
  nearest_centroids(k.sample(begin), k.step * k.width, end - begin, k.centroids, k.lists, k.width, k.nearest + begin,
                    k.distance + begin);
}

void assign_range(const Kmeans<uint8_t>& k, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    uint64_t best = std::numeric_limits<uint64_t>::max();
    for (size_t list = 0; list < k.lists; ++list) {
      const uint64_t distance = hamming(k.sample(i), k.centroid(list), k.width);
      if (distance >= best) continue;
      best = distance;
      k.nearest[i] = static_cast<uint32_t>(list);
    }
  }
}

// Returns how many samples changed lists; fills order, begin and size.
template <class Row>
size_t assign(const Kmeans<Row>& k) {
  parallel_for(
      *k.workers, k.count, k.chunk(k.lists * k.width),
      [](void* context, size_t begin, size_t end) {
        assign_range(*static_cast<const Kmeans<Row>*>(context), begin, end);
      },
      const_cast<Kmeans<Row>*>(&k));
  size_t changed = 0;
  std::fill(k.size, k.size + k.lists, 0);
  for (size_t i = 0; i < k.count; ++i) {
    changed += k.list_of[i] != k.nearest[i];
    k.list_of[i] = k.nearest[i];
    ++k.size[k.list_of[i]];
  }
  uint32_t sum = 0;
  for (size_t list = 0; list < k.lists; ++list) {
    k.begin[list] = sum;
    sum += static_cast<uint32_t>(k.size[list]);
  }
  for (size_t i = 0; i < k.count; ++i) k.order[k.begin[k.list_of[i]]++] = static_cast<uint32_t>(i);
  for (size_t list = k.lists; list > 0; --list) k.begin[list] = k.begin[list - 1];
  k.begin[0] = 0;
  return changed;
}

// `list` is not empty in both.
void mean_of_list(const Kmeans<float>& k, size_t list) {
  float* centroid = k.centroid(list);
  std::memset(centroid, 0, k.width * sizeof(float));
  const float share = 1.0f / static_cast<float>(k.size[list]);
  for (size_t i = k.begin[list]; i < k.begin[list + 1]; ++i) {
    const float* sample = k.sample(k.order[i]);
    for (size_t j = 0; j < k.width; ++j) centroid[j] += sample[j] * share;
  }
  if (k.spherical) normalize(centroid, k.width);
}

void mean_of_list(const Kmeans<uint8_t>& k, size_t list) {
  uint8_t* centroid = k.centroid(list);
  for (size_t j = 0; j < k.width; ++j) {
    uint32_t set[8] = {};
    for (size_t i = k.begin[list]; i < k.begin[list + 1]; ++i)
      for (int bit = 0; bit < 8; ++bit) set[bit] += (k.sample(k.order[i])[j] >> bit) & 1;
    centroid[j] = 0;
    for (int bit = 0; bit < 8; ++bit) centroid[j] |= static_cast<uint8_t>((2 * set[bit] > k.size[list]) << bit);
  }
}

template <class Row>
void update(const Kmeans<Row>& k) {
  parallel_for(
      *k.workers, k.lists, k.chunk(k.count / k.lists * k.width * 8),
      [](void* context, size_t begin, size_t end) {
        const auto* self = static_cast<const Kmeans<Row>*>(context);
        for (size_t list = begin; list < end; ++list)
          if (self->size[list] > 0) mean_of_list(*self, list);
      },
      const_cast<Kmeans<Row>*>(&k));
}

// Two centroids a little to either side of `from`: the next assignment divides its samples.
void split(float* from, float* to, size_t width, Random*) {
  for (size_t i = 0; i < width; ++i) {
    const float sign = i % 2 == 0 ? 1.0f / 1024 : -1.0f / 1024;
    to[i] = from[i] * (1 - sign);
    from[i] *= 1 + sign;
  }
}

void split(uint8_t* from, uint8_t* to, size_t width, Random* random) {
  std::memcpy(to, from, width);
  to[random->below(width)] ^= static_cast<uint8_t>(1 << random->below(8));
}

template <class Row>
void fill_empty_lists(const Kmeans<Row>& k, Random* random) {
  for (size_t list = 0; list < k.lists; ++list) {
    if (k.size[list] > 0) continue;
    const size_t largest = static_cast<size_t>(std::max_element(k.size, k.size + k.lists) - k.size);
    split(k.centroid(largest), k.centroid(list), k.width, random);
    k.size[list] = k.size[largest] / 2;
    k.size[largest] -= k.size[list];
  }
}

// Lloyd's iterations over every `step`-th sample.
template <class Row>
void iterate(Kmeans<Row> k, size_t step, Random* random) {
  k.count /= step;
  k.step = step;
  std::fill(k.list_of, k.list_of + k.count, std::numeric_limits<uint32_t>::max());
  for (int i = 0; i < kIterations; ++i) {
    const size_t changed = assign(k);
    update(k);
    fill_empty_lists(k, random);
    if (static_cast<double>(changed) <= kChangedEnough * static_cast<double>(k.count)) break;
  }
}

template <class Row>
void run(const Kmeans<Row>& k, uint64_t seed) {
  Random random(seed);
  if (k.count > 0) seed_centroids(k, &random);
  for (size_t list = std::min(k.count, k.lists); list < k.lists; ++list) random_centroid(k, &random, k.centroid(list));
  // A few samples are their own centroids.
  if (k.count <= k.lists) return;
  const size_t step = k.count / (kPartPerList * k.lists);
  if (step > 1) iterate(k, step, &random);
  iterate(k, 1, &random);
}

}  // namespace

size_t kmeans_memory(size_t samples, const KmeansOptions& options) {
  return samples * (3 * sizeof(uint32_t) + sizeof(float)) + (options.lists + 1) * (sizeof(uint32_t) + sizeof(size_t)) +
         6 * 64;
}

void kmeans(const float* samples, size_t count, const KmeansOptions& options, const Workers& workers, Arena* arena,
            float* centroids) {
  run(make(samples, count, options, workers, arena, centroids), options.seed);
  if (options.spherical)
    for (size_t list = 0; list < options.lists; ++list)
      normalize(centroids + list * options.dimensions, options.dimensions);
}

void kmeans_bits(const uint8_t* samples, size_t count, const KmeansOptions& options, const Workers& workers,
                 Arena* arena, uint8_t* centroids) {
  run(make(samples, count, options, workers, arena, centroids), options.seed);
}

}  // namespace cairn::core
