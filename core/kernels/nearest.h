// The nearest of many centroids for many vectors: what k-means and the build of an IVFFlat index spend their time on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::core {

// nearest[i] is the number of the centroid that is nearest (Euclid) to the vector at x + i * stride, distance[i] the
// square of the distance. A centroid is n floats, one after another; n is a multiple of 16. At least one centroid;
// thread-safe.
void nearest_centroids(const float* x, size_t stride, size_t count, const float* centroids, size_t lists, size_t n,
                       uint32_t* nearest, float* distance) noexcept;

}  // namespace cairn::core
