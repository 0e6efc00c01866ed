// See distance.h. Compiled once for every instruction set (foreach_target includes this file again); the best one is
// chosen when the program is loaded and kept in a table of function pointers, so that a call costs one indirect jump.
#include "kernels/distance.h"

#include <cstring>

#include "kernels/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance.cpp"
// clang-format off: foreach_target comes before highway
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace cairn::core::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;

// The last n elements of an array, fewer than a vector's: in the first lanes, with zeros behind, which change no sum.
// Not a byte beyond the array is read. Where there is no masked load they are copied, which costs some 20 ns more.
template <typename Tag, typename Element>
HWY_INLINE hn::Vec<Tag> load_tail(Tag tag, const Element* p, size_t n) {
  using Lane = hn::TFromD<Tag>;
#if !HWY_MEM_OPS_MIGHT_FAULT
  return hn::MaskedLoad(hn::FirstN(tag, n), tag, reinterpret_cast<const Lane*>(p));
#else
#if HWY_TARGET == HWY_AVX2
  if constexpr (sizeof(Lane) >= 4) return hn::MaskedLoad(hn::FirstN(tag, n), tag, reinterpret_cast<const Lane*>(p));
#endif
  HWY_ALIGN Lane filled[hn::MaxLanes(tag)] = {};
  memcpy(filled, p, n * sizeof(Lane));
  return hn::Load(tag, filled);
#endif
}

// How an array is read.
struct FloatArray {
  using Element = float;
  static HWY_INLINE Floats load(const float* p) { return hn::LoadU(kFloats, p); }
  static HWY_INLINE Floats load_tail(const float* p, size_t n) { return HWY_NAMESPACE::load_tail(kFloats, p, n); }
};

// Highway's emulation of half knows neither infinity nor NaN: without F16C (or NEON) they are converted one by one.
#undef CAIRN_HALF_IN_HARDWARE
#if HWY_ARCH_X86 && (HWY_TARGET > HWY_AVX2 || defined(HWY_DISABLE_F16C))
#define CAIRN_HALF_IN_HARDWARE 0
#elif HWY_ARCH_X86 || HWY_ARCH_ARM
#define CAIRN_HALF_IN_HARDWARE 1
#else
#define CAIRN_HALF_IN_HARDWARE 0
#endif

const hn::Rebind<uint16_t, decltype(kFloats)> kHalves;

HWY_INLINE Floats promote(hn::Vec<decltype(kHalves)> halves) {
#if CAIRN_HALF_IN_HARDWARE
  const hn::Rebind<hwy::float16_t, decltype(kFloats)> tag;
  return hn::PromoteTo(kFloats, hn::BitCast(tag, halves));
#else
  HWY_ALIGN uint16_t bits[hn::MaxLanes(kFloats)];
  HWY_ALIGN float converted[hn::MaxLanes(kFloats)];
  hn::Store(halves, kHalves, bits);
  for (size_t i = 0; i < hn::Lanes(kFloats); i++) converted[i] = half_to_float(bits[i]);
  return hn::Load(kFloats, converted);
#endif
}

struct HalfArray {
  using Element = uint16_t;
  static HWY_INLINE Floats load(const uint16_t* p) { return promote(hn::LoadU(kHalves, p)); }
  static HWY_INLINE Floats load_tail(const uint16_t* p, size_t n) {
    return promote(HWY_NAMESPACE::load_tail(kHalves, p, n));
  }
};

struct L2Squared {
  static HWY_INLINE Floats add(Floats sum, Floats a, Floats b) {
    const Floats difference = hn::Sub(a, b);
    return hn::MulAdd(difference, difference, sum);
  }
};
struct InnerProduct {
  static HWY_INLINE Floats add(Floats sum, Floats a, Floats b) { return hn::MulAdd(a, b, sum); }
};
struct L1 {
  static HWY_INLINE Floats add(Floats sum, Floats a, Floats b) { return hn::Add(sum, hn::AbsDiff(a, b)); }
};

HWY_INLINE float total(Floats sum) { return hn::GetLane(hn::SumOfLanes(kFloats, sum)); }

// Four sums, so that four additions are under way at once (each takes four cycles).
template <typename Array, typename Step>
HWY_INLINE float accumulate(const typename Array::Element* a, const typename Array::Element* b, size_t n) {
  const size_t lanes = hn::Lanes(kFloats);
  Floats sum0 = hn::Zero(kFloats);
  Floats sum1 = hn::Zero(kFloats);
  Floats sum2 = hn::Zero(kFloats);
  Floats sum3 = hn::Zero(kFloats);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = Step::add(sum0, Array::load(a + i), Array::load(b + i));
    sum1 = Step::add(sum1, Array::load(a + i + lanes), Array::load(b + i + lanes));
    sum2 = Step::add(sum2, Array::load(a + i + 2 * lanes), Array::load(b + i + 2 * lanes));
    sum3 = Step::add(sum3, Array::load(a + i + 3 * lanes), Array::load(b + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) sum0 = Step::add(sum0, Array::load(a + i), Array::load(b + i));
  if (i < n) sum1 = Step::add(sum1, Array::load_tail(a + i, n - i), Array::load_tail(b + i, n - i));
  return total(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

// Three sums at once already keep the adders busy with two of each.
template <typename Array>
HWY_INLINE CosineParts accumulate_cosine(const typename Array::Element* a, const typename Array::Element* b, size_t n) {
  const size_t lanes = hn::Lanes(kFloats);
  Floats dot0 = hn::Zero(kFloats), dot1 = dot0;
  Floats norm_a0 = dot0, norm_a1 = dot0;
  Floats norm_b0 = dot0, norm_b1 = dot0;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const Floats a0 = Array::load(a + i), b0 = Array::load(b + i);
    const Floats a1 = Array::load(a + i + lanes), b1 = Array::load(b + i + lanes);
    dot0 = hn::MulAdd(a0, b0, dot0);
    norm_a0 = hn::MulAdd(a0, a0, norm_a0);
    norm_b0 = hn::MulAdd(b0, b0, norm_b0);
    dot1 = hn::MulAdd(a1, b1, dot1);
    norm_a1 = hn::MulAdd(a1, a1, norm_a1);
    norm_b1 = hn::MulAdd(b1, b1, norm_b1);
  }
  for (; i < n; i += lanes) {
    const bool whole = i + lanes <= n;
    const Floats a0 = whole ? Array::load(a + i) : Array::load_tail(a + i, n - i);
    const Floats b0 = whole ? Array::load(b + i) : Array::load_tail(b + i, n - i);
    dot0 = hn::MulAdd(a0, b0, dot0);
    norm_a0 = hn::MulAdd(a0, a0, norm_a0);
    norm_b0 = hn::MulAdd(b0, b0, norm_b0);
  }
  return {total(hn::Add(dot0, dot1)), total(hn::Add(norm_a0, norm_a1)), total(hn::Add(norm_b0, norm_b1))};
}

template <typename Array>
HWY_INLINE double accumulate_squared_norm(const typename Array::Element* a, size_t n) {
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> doubles;
  const hn::Half<decltype(kFloats)> half;
  const size_t lanes = hn::Lanes(kFloats);
  auto low = hn::Zero(doubles), high = low;
  for (size_t i = 0; i < n; i += lanes) {
    const Floats x = i + lanes <= n ? Array::load(a + i) : Array::load_tail(a + i, n - i);
    const auto x0 = hn::PromoteTo(doubles, hn::LowerHalf(half, x));
    low = hn::MulAdd(x0, x0, low);
#if HWY_TARGET != HWY_SCALAR
    const auto x1 = hn::PromoteTo(doubles, hn::UpperHalf(half, x));
    high = hn::MulAdd(x1, x1, high);
#endif
  }
  return hn::GetLane(hn::SumOfLanes(doubles, hn::Add(low, high)));
#else
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    const double x = hn::GetLane(Array::load_tail(a + i, 1));
    sum += x * x;
  }
  return sum;
#endif
}

double SquaredNormFloat(const float* a, size_t n) { return accumulate_squared_norm<FloatArray>(a, n); }
double SquaredNormHalf(const uint16_t* a, size_t n) { return accumulate_squared_norm<HalfArray>(a, n); }

float L2SquaredFloat(const float* a, const float* b, size_t n) { return accumulate<FloatArray, L2Squared>(a, b, n); }
float InnerProductFloat(const float* a, const float* b, size_t n) {
  return accumulate<FloatArray, InnerProduct>(a, b, n);
}
float L1Float(const float* a, const float* b, size_t n) { return accumulate<FloatArray, L1>(a, b, n); }
CosineParts CosineFloat(const float* a, const float* b, size_t n) { return accumulate_cosine<FloatArray>(a, b, n); }
float L2SquaredHalf(const uint16_t* a, const uint16_t* b, size_t n) {
  return accumulate<HalfArray, L2Squared>(a, b, n);
}
float InnerProductHalf(const uint16_t* a, const uint16_t* b, size_t n) {
  return accumulate<HalfArray, InnerProduct>(a, b, n);
}
float L1Half(const uint16_t* a, const uint16_t* b, size_t n) { return accumulate<HalfArray, L1>(a, b, n); }
CosineParts CosineHalf(const uint16_t* a, const uint16_t* b, size_t n) { return accumulate_cosine<HalfArray>(a, b, n); }

void HalfToFloat(const uint16_t* from, float* to, size_t n) {
  const size_t lanes = hn::Lanes(kFloats);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(HalfArray::load(from + i), kFloats, to + i);
  for (; i < n; i++) to[i] = half_to_float(from[i]);
}

void FloatToHalf(const float* from, uint16_t* to, size_t n) {
  size_t i = 0;
#if CAIRN_HALF_IN_HARDWARE
  const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
  const size_t lanes = hn::Lanes(kFloats);
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::DemoteTo(halves, hn::LoadU(kFloats, from + i)), halves, reinterpret_cast<hwy::float16_t*>(to + i));
  }
#endif
  for (; i < n; i++) to[i] = float_to_half(from[i]);
}

const hn::ScalableTag<uint64_t> kWords;
using Words = hn::Vec<decltype(kWords)>;

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE Words load_words_tail(const uint8_t* p, size_t n) {
  uint64_t word = 0;
  memcpy(&word, p, n);
  return hn::Set(kWords, word);
}
HWY_INLINE Words load_words(const uint8_t* p) { return load_words_tail(p, sizeof(uint64_t)); }
#else
const hn::Repartition<uint8_t, decltype(kWords)> kBytes;
HWY_INLINE Words load_words(const uint8_t* p) { return hn::BitCast(kWords, hn::LoadU(kBytes, p)); }
HWY_INLINE Words load_words_tail(const uint8_t* p, size_t n) { return hn::BitCast(kWords, load_tail(kBytes, p, n)); }
#endif
HWY_INLINE uint64_t total_words(Words sum) { return hn::GetLane(hn::SumOfLanes(kWords, sum)); }

uint64_t Hamming(const uint8_t* a, const uint8_t* b, size_t bytes) {
  const size_t width = hn::Lanes(kWords) * sizeof(uint64_t);
  Words sum0 = hn::Zero(kWords), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  const auto differing = [&](size_t at)
                             HWY_ATTR { return hn::PopulationCount(hn::Xor(load_words(a + at), load_words(b + at))); };
  for (; i + 4 * width <= bytes; i += 4 * width) {
    sum0 = hn::Add(sum0, differing(i));
    sum1 = hn::Add(sum1, differing(i + width));
    sum2 = hn::Add(sum2, differing(i + 2 * width));
    sum3 = hn::Add(sum3, differing(i + 3 * width));
  }
  for (; i + width <= bytes; i += width) sum0 = hn::Add(sum0, differing(i));
  if (i < bytes) {
    const Words tail = hn::Xor(load_words_tail(a + i, bytes - i), load_words_tail(b + i, bytes - i));
    sum1 = hn::Add(sum1, hn::PopulationCount(tail));
  }
  return total_words(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

JaccardParts Jaccard(const uint8_t* a, const uint8_t* b, size_t bytes) {
  const size_t width = hn::Lanes(kWords) * sizeof(uint64_t);
  Words both = hn::Zero(kWords), in_a = both, in_b = both;
  for (size_t i = 0; i < bytes; i += width) {
    const bool whole = i + width <= bytes;
    const Words wa = whole ? load_words(a + i) : load_words_tail(a + i, bytes - i);
    const Words wb = whole ? load_words(b + i) : load_words_tail(b + i, bytes - i);
    both = hn::Add(both, hn::PopulationCount(hn::And(wa, wb)));
    in_a = hn::Add(in_a, hn::PopulationCount(wa));
    in_b = hn::Add(in_b, hn::PopulationCount(wb));
  }
  return {total_words(both), total_words(in_a), total_words(in_b)};
}

}  // namespace cairn::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cairn::core {
namespace {

HWY_EXPORT(L2SquaredFloat);
HWY_EXPORT(InnerProductFloat);
HWY_EXPORT(L1Float);
HWY_EXPORT(CosineFloat);
HWY_EXPORT(L2SquaredHalf);
HWY_EXPORT(InnerProductHalf);
HWY_EXPORT(L1Half);
HWY_EXPORT(CosineHalf);
HWY_EXPORT(SquaredNormFloat);
HWY_EXPORT(SquaredNormHalf);
HWY_EXPORT(HalfToFloat);
HWY_EXPORT(FloatToHalf);
HWY_EXPORT(Hamming);
HWY_EXPORT(Jaccard);

// The functions of this machine; never changed but by tests.
struct Kernels {
  float (*l2_squared)(const float*, const float*, size_t);
  float (*inner_product)(const float*, const float*, size_t);
  float (*l1)(const float*, const float*, size_t);
  CosineParts (*cosine_parts)(const float*, const float*, size_t);
  float (*l2_squared_half)(const uint16_t*, const uint16_t*, size_t);
  float (*inner_product_half)(const uint16_t*, const uint16_t*, size_t);
  float (*l1_half)(const uint16_t*, const uint16_t*, size_t);
  CosineParts (*cosine_parts_half)(const uint16_t*, const uint16_t*, size_t);
  double (*squared_norm)(const float*, size_t);
  double (*squared_norm_half)(const uint16_t*, size_t);
  void (*half_to_float)(const uint16_t*, float*, size_t);
  void (*float_to_half)(const float*, uint16_t*, size_t);
  uint64_t (*hamming)(const uint8_t*, const uint8_t*, size_t);
  JaccardParts (*jaccard_parts)(const uint8_t*, const uint8_t*, size_t);
};

Kernels choose(int64_t targets) {
  hwy::GetChosenTarget().Update(targets);
  const size_t at = hwy::GetChosenTarget().GetIndex();
  return {
      HWY_DISPATCH_TABLE(L2SquaredFloat)[at],   HWY_DISPATCH_TABLE(InnerProductFloat)[at],
      HWY_DISPATCH_TABLE(L1Float)[at],          HWY_DISPATCH_TABLE(CosineFloat)[at],
      HWY_DISPATCH_TABLE(L2SquaredHalf)[at],    HWY_DISPATCH_TABLE(InnerProductHalf)[at],
      HWY_DISPATCH_TABLE(L1Half)[at],           HWY_DISPATCH_TABLE(CosineHalf)[at],
      HWY_DISPATCH_TABLE(SquaredNormFloat)[at], HWY_DISPATCH_TABLE(SquaredNormHalf)[at],
      HWY_DISPATCH_TABLE(HalfToFloat)[at],      HWY_DISPATCH_TABLE(FloatToHalf)[at],
      HWY_DISPATCH_TABLE(Hamming)[at],          HWY_DISPATCH_TABLE(Jaccard)[at],
  };
}

Kernels kernels = choose(hwy::SupportedTargets());

}  // namespace

float l2_squared(const float* a, const float* b, size_t n) noexcept { return kernels.l2_squared(a, b, n); }
float inner_product(const float* a, const float* b, size_t n) noexcept { return kernels.inner_product(a, b, n); }
float l1(const float* a, const float* b, size_t n) noexcept { return kernels.l1(a, b, n); }
CosineParts cosine_parts(const float* a, const float* b, size_t n) noexcept { return kernels.cosine_parts(a, b, n); }
float l2_squared_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept {
  return kernels.l2_squared_half(a, b, n);
}
float inner_product_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept {
  return kernels.inner_product_half(a, b, n);
}
float l1_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept { return kernels.l1_half(a, b, n); }
CosineParts cosine_parts_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept {
  return kernels.cosine_parts_half(a, b, n);
}
double squared_norm(const float* a, size_t n) noexcept { return kernels.squared_norm(a, n); }
double squared_norm_half(const uint16_t* a, size_t n) noexcept { return kernels.squared_norm_half(a, n); }
void half_to_float(const uint16_t* from, float* to, size_t n) noexcept { kernels.half_to_float(from, to, n); }
void float_to_half(const float* from, uint16_t* to, size_t n) noexcept { kernels.float_to_half(from, to, n); }
uint64_t hamming(const uint8_t* a, const uint8_t* b, size_t bytes) noexcept { return kernels.hamming(a, b, bytes); }
JaccardParts jaccard_parts(const uint8_t* a, const uint8_t* b, size_t bytes) noexcept {
  return kernels.jaccard_parts(a, b, bytes);
}

void choose_distance_targets(int64_t targets) noexcept { kernels = choose(targets); }

}  // namespace cairn::core
#endif
