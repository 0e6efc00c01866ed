// k-means for the lists of an IVFFlat index: k-means++ seeds (Arthur and Vassilvitskii, SODA 2007), then Lloyd's
// iterations, first over a part of the samples, which is as good while the centroids still move far, then over all. A
// list that is left empty takes half of the largest. The result depends on the seed and the samples only, not on the
// number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/arena.h"
#include "base/parallel.h"

namespace cairn::core {

struct KmeansOptions {
  size_t dimensions;       // floats of a sample, a multiple of 16 (pad with zeros); for bits: bytes
  size_t lists;            // at least 1
  bool spherical = false;  // samples have length 1, and so will the centroids
  uint64_t seed = 1;
};

// What the two functions below allocate, in bytes.
size_t kmeans_memory(size_t samples, const KmeansOptions& options);

// Fills `lists` times `dimensions` floats of `centroids`. With fewer samples than lists the rest are random: in the
// samples' range.
void kmeans(const float* samples, size_t count, const KmeansOptions& options, const Workers& workers, Arena* arena,
            float* centroids);

// The same for bits and the Hamming distance: a centroid's bit is that of most of its samples.
void kmeans_bits(const uint8_t* samples, size_t count, const KmeansOptions& options, const Workers& workers,
                 Arena* arena, uint8_t* centroids);

}  // namespace cairn::core
