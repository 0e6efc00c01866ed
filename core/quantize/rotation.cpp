#include "quantize/rotation.h"

#include <algorithm>
#include <cstring>

#include "kernels/code.h"

namespace cairn::core {
namespace {

// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
uint64_t next_random(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

size_t padded_dimensions(size_t dimensions) { return (dimensions + 63) / 64 * 64; }

void Rotation::init(size_t dimensions, uint64_t seed, Arena* arena, size_t least) noexcept {
  dimensions_ = dimensions;
  padded_ = padded_dimensions(std::max(dimensions, least));
  block_ = 64;
  while (block_ * 2 <= padded_) block_ *= 2;
  signs_ = static_cast<uint8_t*>(arena->allocate(kRounds * padded_ / 8));
  for (size_t i = 0; i < kRounds * padded_ / 8; i += 8) {
    const uint64_t word = next_random(&seed);
    for (size_t j = 0; j < 8; ++j) signs_[i + j] = static_cast<uint8_t>(word >> (8 * j));
  }
}

void Rotation::apply(const float* in, float* out) const noexcept {
  std::memcpy(out, in, dimensions_ * sizeof(float));
  std::memset(out + dimensions_, 0, (padded_ - dimensions_) * sizeof(float));
  for (size_t round = 0; round < kRounds; ++round) {
    flip_signs(out, signs_ + round * padded_ / 8, padded_);
    hadamard(round % 2 == 0 ? out : out + padded_ - block_, block_);
    if (padded_ != block_) kac_step(out, out + padded_ / 2, padded_ / 2);
  }
}

}  // namespace cairn::core
