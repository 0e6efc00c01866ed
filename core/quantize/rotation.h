// A random rotation that is made from a seed: the codes of an index are taken in the rotated space, where no coordinate
// counts more than another (RaBitQ, SIGMOD 2024, section 3.1.2). Rounds of random signs and a fast Walsh-Hadamard
// transform in place of a dense matrix: O(d log d), nothing to store. Dimensions are padded with zeros to a multiple of
// 64, not to a power of two: the transform then runs over the first and the last power-of-two block in turn, and a Kac
// step mixes the halves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/arena.h"

namespace cairn::core {

class Rotation {
 public:
  // The same arguments give the same rotation, on every machine. Thread-safe once made. `least`: into a space of at
  // least so many dimensions: more bits a code than the vector has coordinates, for estimates that are better.
  void init(size_t dimensions, uint64_t seed, Arena* arena, size_t least = 0) noexcept;

  size_t dimensions() const { return dimensions_; }
  size_t padded() const { return padded_; }

  // out[0 .. padded) = P in[0 .. dimensions); lengths and inner products are kept.
  void apply(const float* in, float* out) const noexcept;

 private:
  static constexpr size_t kRounds = 4;
  size_t dimensions_ = 0;
  size_t padded_ = 0;
  size_t block_ = 0;          // the largest power of two <= padded_
  uint8_t* signs_ = nullptr;  // kRounds times padded_ bits
};

size_t padded_dimensions(size_t dimensions);

}  // namespace cairn::core
