#include "am/hnsw/distance.h"

#include <cmath>

#include "kernels/distance.h"

namespace cairn::hnsw {
namespace {

const float* floats(const void* p) { return static_cast<const float*>(p); }
const uint16_t* halves(const void* p) { return static_cast<const uint16_t*>(p); }
const uint8_t* bytes_of(const void* p) { return static_cast<const uint8_t*>(p); }

float float_l2(const void* a, const void* b, size_t bytes) { return core::l2_squared(floats(a), floats(b), bytes / 4); }
float float_ip(const void* a, const void* b, size_t bytes) {
  return -core::inner_product(floats(a), floats(b), bytes / 4);
}
float float_l1(const void* a, const void* b, size_t bytes) { return core::l1(floats(a), floats(b), bytes / 4); }
float half_l2(const void* a, const void* b, size_t bytes) {
  return core::l2_squared_half(halves(a), halves(b), bytes / 2);
}
float half_ip(const void* a, const void* b, size_t bytes) {
  return -core::inner_product_half(halves(a), halves(b), bytes / 2);
}
float half_l1(const void* a, const void* b, size_t bytes) { return core::l1_half(halves(a), halves(b), bytes / 2); }

float bit_hamming(const void* a, const void* b, size_t bytes) {
  return static_cast<float>(core::hamming(bytes_of(a), bytes_of(b), bytes));
}

float bit_jaccard(const void* a, const void* b, size_t bytes) {
  const core::JaccardParts parts = core::jaccard_parts(bytes_of(a), bytes_of(b), bytes);
  if (parts.both == 0) return 1;
  return 1 - static_cast<float>(parts.both) / static_cast<float>(parts.a + parts.b - parts.both);
}

// Walks two sparse vectors side by side; add(x, y) for each index that either has.
template <class Add>
void merge(const void* left, const void* right, Add&& add) {
  const auto* a = static_cast<const SparsePayload*>(left);
  const auto* b = static_cast<const SparsePayload*>(right);
  int32_t i = 0;
  int32_t j = 0;
  while (i < a->count && j < b->count) {
    if (a->indices[i] == b->indices[j])
      add(a->values()[i++], b->values()[j++]);
    else if (a->indices[i] < b->indices[j])
      add(a->values()[i++], 0);
    else
      add(0, b->values()[j++]);
  }
  for (; i < a->count; ++i) add(a->values()[i], 0);
  for (; j < b->count; ++j) add(0, b->values()[j]);
}

float sparse_l2(const void* a, const void* b, size_t) {
  float sum = 0;
  merge(a, b, [&](float x, float y) { sum += (x - y) * (x - y); });
  return sum;
}

float sparse_ip(const void* a, const void* b, size_t) {
  float sum = 0;
  merge(a, b, [&](float x, float y) { sum += x * y; });
  return -sum;
}

float sparse_l1(const void* a, const void* b, size_t) {
  float sum = 0;
  merge(a, b, [&](float x, float y) { sum += std::fabs(x - y); });
  return sum;
}

}  // namespace

core::DistanceFunction distance_function(Element element, Metric metric) {
  const bool dense = element == Element::float32 || element == Element::float16;
  const bool is_float = element == Element::float32;
  switch (metric) {
    case Metric::l2:
      return dense ? (is_float ? float_l2 : half_l2) : element == Element::sparse ? sparse_l2 : nullptr;
    case Metric::cosine:
      return dense ? (is_float ? float_l2 : half_l2) : element == Element::sparse ? sparse_ip : nullptr;
    case Metric::inner_product:
      return dense ? (is_float ? float_ip : half_ip) : element == Element::sparse ? sparse_ip : nullptr;
    case Metric::l1:
      return dense ? (is_float ? float_l1 : half_l1) : element == Element::sparse ? sparse_l1 : nullptr;
    case Metric::hamming:
      return element == Element::bit ? bit_hamming : nullptr;
    case Metric::jaccard:
      return element == Element::bit ? bit_jaccard : nullptr;
  }
  return nullptr;
}

}  // namespace cairn::hnsw
