#include "kernels/code.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/code.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cairn::core::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Lanes of the mask for floats i, i + 1, ...: a vector may be shorter than a byte has bits.
template <class D>
HWY_INLINE hn::Mask<D> load_bits(D d, const uint8_t* bits, size_t i) {
  if constexpr (hn::MaxLanes(D()) >= 8) {
    return hn::LoadMaskBits(d, bits + i / 8);
  } else {
    const uint8_t shifted[8] = {static_cast<uint8_t>(bits[i / 8] >> (i % 8))};
    return hn::LoadMaskBits(d, shifted);
  }
}

SignBits SignBitsOf(const float* HWY_RESTRICT r, size_t n, uint8_t* HWY_RESTRICT bits) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  auto l1 = hn::Zero(d);
  auto l2 = hn::Zero(d);
  for (size_t i = 0; i < n; i += 64) {
    uint64_t word = 0;
    for (size_t j = 0; j < 64; j += lanes) {
      const auto v = hn::LoadU(d, r + i + j);
      l1 = hn::Add(l1, hn::Abs(v));
      l2 = hn::MulAdd(v, v, l2);
      uint8_t part[8] = {};
      hn::StoreMaskBits(d, hn::Ge(v, hn::Zero(d)), part);
      uint64_t lane_bits = 0;
      hwy::CopyBytes<8>(part, &lane_bits);
      word |= lane_bits << j;
    }
    hwy::CopyBytes<8>(&word, bits + i / 8);
  }
  return {hn::GetLane(hn::SumOfLanes(d, l1)), hn::GetLane(hn::SumOfLanes(d, l2))};
}

float SignedSum(const float* HWY_RESTRICT v, const uint8_t* HWY_RESTRICT bits, size_t n) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  auto set = hn::Zero(d);
  auto all = hn::Zero(d);
  for (size_t i = 0; i < n; i += lanes) {
    const auto x = hn::LoadU(d, v + i);
    all = hn::Add(all, x);
    set = hn::Add(set, hn::IfThenElseZero(load_bits(d, bits, i), x));
  }
  return 2 * hn::GetLane(hn::SumOfLanes(d, set)) - hn::GetLane(hn::SumOfLanes(d, all));
}

Quantized QuantizeByte(const float* HWY_RESTRICT v, size_t n, int8_t* HWY_RESTRICT out) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t lanes = hn::Lanes(d);
  auto largest = hn::Zero(d);
  for (size_t i = 0; i < n; i += lanes) largest = hn::Max(largest, hn::Abs(hn::LoadU(d, v + i)));
  const float limit = hn::GetLane(hn::MaxOfLanes(d, largest));
  const float scale = limit > 0 ? limit / 127 : 1;
  const auto inverse = hn::Set(d, 1 / scale);
  auto total = hn::Zero(di);
  for (size_t i = 0; i < n; i += lanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, v + i), inverse));
    total = hn::Add(total, rounded);
    hn::StoreU(hn::DemoteTo(d8, rounded), d8, out + i);
  }
  return {scale, hn::GetLane(hn::SumOfLanes(di, total))};
}

#if HWY_TARGET != HWY_SCALAR
// Sums of neighbouring bytes.
template <class D16, class V8>
HWY_INLINE hn::Vec<D16> add_pairs(D16 d16, V8 v) {
#if HWY_TARGET == HWY_AVX3
  (void)d16;
  return hn::Vec<D16>{_mm512_maddubs_epi16(_mm512_set1_epi8(1), v.raw)};
#elif HWY_TARGET == HWY_AVX2
  (void)d16;
  return hn::Vec<D16>{_mm256_maddubs_epi16(_mm256_set1_epi8(1), v.raw)};
#else
  const auto wide = hn::BitCast(d16, v);
  return hn::Add(hn::ShiftRight<8>(wide), hn::ShiftRight<8>(hn::ShiftLeft<8>(wide)));
#endif
}
#endif

void MaskedSums(const uint8_t* HWY_RESTRICT codes, size_t stride, size_t count, const int8_t* HWY_RESTRICT q, size_t n,
                int32_t* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t k = 0; k < count; ++k) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; ++i)
      if ((codes[k * stride + i / 8] >> (i % 8) & 1) != 0) sum += q[i];
    out[k] = sum;
  }
#else
  const hn::CappedTag<int8_t, 64> d8;
  const hn::Repartition<int16_t, decltype(d8)> d16;
  const hn::Repartition<int32_t, decltype(d8)> d32;
  const size_t lanes = hn::Lanes(d8);
  for (size_t k = 0; k < count; ++k) {
    const uint8_t* code = codes + k * stride;
    // Pairs are at most 2 * 127 a step, and there are at most kMaxCodeDimensions / 64 steps: 16 bits are enough.
    auto pairs = hn::Zero(d16);
    for (size_t i = 0; i < n; i += lanes) {
      const auto kept = hn::IfThenElseZero(hn::LoadMaskBits(d8, code + i / 8), hn::LoadU(d8, q + i));
      pairs = hn::Add(pairs, add_pairs(d16, kept));
    }
    const auto low = hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(d32, pairs)));
    const auto high = hn::ShiftRight<16>(hn::BitCast(d32, pairs));
    out[k] = hn::GetLane(hn::SumOfLanes(d32, hn::Add(low, high)));
  }
#endif
}

void Hadamard(float* HWY_RESTRICT v, size_t n) {
  size_t h = 1;
#if HWY_TARGET != HWY_SCALAR
  // Strides 1 and 2 inside a vector of four, 4 and 8 by vectors of four.
  const hn::FixedTag<float, 4> d4;
  for (size_t i = 0; i < n; i += 4) {
    const auto x = hn::LoadU(d4, v + i);
    const auto swapped = hn::Shuffle2301(x);
    const auto a = hn::OddEven(hn::Sub(swapped, x), hn::Add(swapped, x));
    const auto far = hn::Shuffle1032(a);
    hn::StoreU(hn::ConcatUpperLower(d4, hn::Sub(far, a), hn::Add(far, a)), d4, v + i);
  }
  for (h = 4; h < 16; h *= 2)
    for (size_t i = 0; i < n; i += 2 * h)
      for (size_t j = i; j < i + h; j += 4) {
        const auto a = hn::LoadU(d4, v + j);
        const auto b = hn::LoadU(d4, v + j + h);
        hn::StoreU(hn::Add(a, b), d4, v + j);
        hn::StoreU(hn::Sub(a, b), d4, v + j + h);
      }
#endif
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  for (; h < n; h *= 2)
    for (size_t i = 0; i < n; i += 2 * h)
      for (size_t j = i; j < i + h; j += lanes) {
        const auto a = hn::LoadU(d, v + j);
        const auto b = hn::LoadU(d, v + j + h);
        hn::StoreU(hn::Add(a, b), d, v + j);
        hn::StoreU(hn::Sub(a, b), d, v + j + h);
      }
  const auto scale = hn::Set(d, 1.0f / std::sqrt(static_cast<float>(n)));
  for (size_t i = 0; i < n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, v + i), scale), d, v + i);
}

void FlipSigns(float* HWY_RESTRICT v, const uint8_t* HWY_RESTRICT bits, size_t n) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; i += lanes) {
    const auto x = hn::LoadU(d, v + i);
    hn::StoreU(hn::IfThenElse(load_bits(d, bits, i), hn::Neg(x), x), d, v + i);
  }
}

void KacStep(float* HWY_RESTRICT a, float* HWY_RESTRICT b, size_t n) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  const auto scale = hn::Set(d, 0.70710678f);
  for (size_t i = 0; i < n; i += lanes) {
    const auto x = hn::LoadU(d, a + i);
    const auto y = hn::LoadU(d, b + i);
    hn::StoreU(hn::Mul(hn::Add(x, y), scale), d, a + i);
    hn::StoreU(hn::Mul(hn::Sub(x, y), scale), d, b + i);
  }
}

}  // namespace cairn::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cairn::core {

HWY_EXPORT(SignBitsOf);
HWY_EXPORT(SignedSum);
HWY_EXPORT(QuantizeByte);
HWY_EXPORT(MaskedSums);
HWY_EXPORT(Hadamard);
HWY_EXPORT(FlipSigns);
HWY_EXPORT(KacStep);

SignBits sign_bits(const float* r, size_t n, uint8_t* bits) noexcept {
  return HWY_DYNAMIC_DISPATCH(SignBitsOf)(r, n, bits);
}

float signed_sum(const float* v, const uint8_t* bits, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SignedSum)(v, bits, n);
}

Quantized quantize_byte(const float* v, size_t n, int8_t* out) noexcept {
  return HWY_DYNAMIC_DISPATCH(QuantizeByte)(v, n, out);
}

void masked_sums(const uint8_t* codes, size_t stride, size_t count, const int8_t* q, size_t n, int32_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(MaskedSums)(codes, stride, count, q, n, out);
}

void hadamard(float* v, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(Hadamard)(v, n); }

void flip_signs(float* v, const uint8_t* bits, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(FlipSigns)(v, bits, n); }

void kac_step(float* a, float* b, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(KacStep)(a, b, n); }

}  // namespace cairn::core
#endif
