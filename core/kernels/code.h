// SIMD kernels of the one-bit codes and of the rotation before them. Run-time dispatch by Highway: AVX-512, AVX2, NEON,
// plain. All are thread-safe and noexcept; `n` is a multiple of 64 (padded_dimensions) unless it is said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::core {

struct SignBits {
  float l1;  // sum of |r_i| over the coded coordinates
  float l2;  // sum of r_i^2 over them
};

// Bit i of `bits` (n / 8 bytes, least significant first) is set where r[i] >= 0.
SignBits sign_bits(const float* r, size_t n, uint8_t* bits) noexcept;

// Sum of v[i] where bit i is set, minus the sum where it is not: <v, b> for b in {-1, +1}^n.
float signed_sum(const float* v, const uint8_t* bits, size_t n) noexcept;

struct Quantized {
  float scale;    // v[i] is about scale * out[i]
  int32_t total;  // sum of out[i]
};

// v in signed bytes from -127 to 127.
Quantized quantize_byte(const float* v, size_t n, int8_t* out) noexcept;

constexpr size_t kMaxCodeDimensions = 8192;

// out[k] = sum of q[i] over the bits set in the code at codes + k * stride, for k < count; q is quantize_byte's, n is
// at most kMaxCodeDimensions.
void masked_sums(const uint8_t* codes, size_t stride, size_t count, const int8_t* q, size_t n, int32_t* out) noexcept;

// In-place orthonormal fast Walsh-Hadamard transform; n is a power of two, at least 64.
void hadamard(float* v, size_t n) noexcept;

// v[i] = -v[i] where bit i is set.
void flip_signs(float* v, const uint8_t* bits, size_t n) noexcept;

// (a[i], b[i]) = ((a[i] + b[i]) / sqrt 2, (a[i] - b[i]) / sqrt 2); n is a multiple of 32.
void kac_step(float* a, float* b, size_t n) noexcept;

}  // namespace cairn::core
