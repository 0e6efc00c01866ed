// Distances between arrays of float, of IEEE half (its bits in uint16_t) and of bits, by the widest SIMD that the
// machine has. Sums are in fp32, in an order that depends on the machine: results differ in the last bits between
// machines. Arrays may have any alignment and may be the same; n may be 0. Nothing allocates or fails.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::core {

float l2_squared(const float* a, const float* b, size_t n) noexcept;
float inner_product(const float* a, const float* b, size_t n) noexcept;
float l1(const float* a, const float* b, size_t n) noexcept;

struct CosineParts {
  float dot;
  float norm_a;  // squares of the norms
  float norm_b;
};
CosineParts cosine_parts(const float* a, const float* b, size_t n) noexcept;

// The square of the length, in fp64: exact enough to divide by.
double squared_norm(const float* a, size_t n) noexcept;
double squared_norm_half(const uint16_t* a, size_t n) noexcept;

float l2_squared_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept;
float inner_product_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept;
float l1_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept;
CosineParts cosine_parts_half(const uint16_t* a, const uint16_t* b, size_t n) noexcept;

void half_to_float(const uint16_t* from, float* to, size_t n) noexcept;
// Rounds to the nearest, ties to even; what is too large becomes infinity; a NaN stays one.
void float_to_half(const float* from, uint16_t* to, size_t n) noexcept;

uint64_t hamming(const uint8_t* a, const uint8_t* b, size_t bytes) noexcept;

struct JaccardParts {
  uint64_t both;  // bits set in both, in a, in b
  uint64_t a;
  uint64_t b;
};
JaccardParts jaccard_parts(const uint8_t* a, const uint8_t* b, size_t bytes) noexcept;

// For tests: take the best of these targets (bits of Highway's) from now on.
void choose_distance_targets(int64_t targets) noexcept;

}  // namespace cairn::core
